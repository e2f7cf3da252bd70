//! SHA-256 where the format uses it: footer, tensor digests, root.
//!
//! A digest inside a file shows corruption, not authorship. The root pins the
//! whole content for somebody who got it by another way.

use crate::error::{Code, Error, Result};
use alloc::format;
use alloc::string::String;
use sha2::Digest as _;

/// A SHA-256 digest.
pub type Digest = [u8; 32];
/// Length in bytes of a digest, and of the footer.
pub const DIGEST_BYTES: u64 = 32;

/// SHA-256 over bytes that come piece by piece.
#[derive(Clone, Default)]
pub struct Sha256(sha2::Sha256);

impl core::fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Sha256")
    }
}

impl Sha256 {
    /// A hasher that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Hashes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all bytes so far.
    pub fn finish(self) -> Digest {
        self.0.finalize().into()
    }
}

/// SHA-256 of `bytes`.
pub fn sha256(bytes: &[u8]) -> Digest {
    sha2::Sha256::digest(bytes).into()
}

/// The refusal of a tensor whose bytes have another digest, which is given in
/// hexadecimal.
pub fn tensor_differs(name: &str, expected: &Digest, found: &str) -> Error {
    let message = "the bytes are not the ones that were written";
    differs(Code::IntegrityTensor, message, expected, found).tensor(name)
}

/// The refusal of a file whose footed bytes have another digest than the footer says.
pub fn footer_differs(expected: &Digest, found: &str) -> Error {
    let message = "the file was changed after it was written: its checksum differs";
    differs(Code::IntegrityFooter, message, expected, found)
}

fn differs(code: Code, message: &str, expected: &Digest, found: &str) -> Error {
    Error::new(code, message)
        .expected(format!("SHA-256 {}", hex(expected)))
        .found(found)
}

/// Lower-case hexadecimal.
pub fn hex(digest: &Digest) -> String {
    let mut out = String::with_capacity(64);
    for byte in digest {
        for nibble in [byte >> 4, byte & 15] {
            out.push(char::from_digit(nibble.into(), 16).unwrap_or('0'));
        }
    }
    out
}

/// Reads 64 lower-case hexadecimal digits.
///
/// # Errors
/// `tensor.digest` for anything else.
pub fn parse_hex(text: &str) -> Result<Digest> {
    let error = || {
        Error::new(Code::TensorDigest, "malformed SHA-256 digest")
            .expected("64 lower-case hexadecimal digits")
            .found(format!("'{text}'"))
    };
    let nibble = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    if text.len() != 64 {
        return Err(error());
    }
    let mut out = [0; 32];
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        match pair {
            [high, low] => {
                *byte = nibble(*high)
                    .zip(nibble(*low))
                    .map(|(h, l)| h << 4 | l)
                    .ok_or_else(error)?
            }
            _ => return Err(error()),
        }
    }
    Ok(out)
}

/// The root digest: SHA-256 of the header's JSON text, without its trailing
/// spaces, with the 64 digits at `value` read as zeros (spec, "Root").
pub fn root(json: &[u8], value: core::ops::Range<usize>) -> Digest {
    let mut hasher = Sha256::new();
    hasher.update(json.get(..value.start).unwrap_or(json));
    hasher.update(&[b'0'; 64]);
    hasher.update(json.get(value.end..).unwrap_or_default());
    hasher.finish()
}
