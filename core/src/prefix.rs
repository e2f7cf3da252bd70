//! The 24 bytes that every file starts with (spec, "Prefix").

use crate::error::{Code, Error, Result};
use crate::limits::Limits;
use crate::sniff;
use alloc::format;

/// The first eight bytes of every file.
pub const MAGIC: [u8; 8] = *b"DTLEGION";
/// The format version that this crate reads and writes.
pub const VERSION: u32 = 1;
/// Length of the prefix in bytes.
pub const PREFIX_BYTES: u64 = 24;

/// What the flag bits say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// Bit 0: the blob is compressed with Zstandard.
    pub compressed: bool,
    /// Bit 1: a SHA-256 footer of 32 bytes ends the file.
    pub checksum: bool,
}

impl Flags {
    const COMPRESSED: u32 = 1;
    const CHECKSUM: u32 = 1 << 1;
    const ENCRYPTED: u32 = 1 << 2;

    fn parse(bits: u32) -> Result<Self> {
        if bits & Self::ENCRYPTED != 0 {
            return Err(Error::new(
                Code::PrefixEncrypted,
                "the file is encrypted, which no version supports yet",
            )
            .found(format!("flags {bits:#010x}")));
        }
        if bits & !(Self::COMPRESSED | Self::CHECKSUM) != 0 {
            return Err(Error::new(
                Code::PrefixFlags,
                "the file uses features of a newer version of the format",
            )
            .expected("flag bits 0 and 1 only")
            .found(format!("flags {bits:#010x}")));
        }
        Ok(Self {
            compressed: bits & Self::COMPRESSED != 0,
            checksum: bits & Self::CHECKSUM != 0,
        })
    }

    const fn bits(self) -> u32 {
        ((self.compressed as u32) * Self::COMPRESSED) | ((self.checksum as u32) * Self::CHECKSUM)
    }
}

/// The parsed prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// The flag bits.
    pub flags: Flags,
    /// Length of the header in bytes, its trailing spaces included.
    pub header_bytes: u64,
}

impl Prefix {
    /// Parses the first bytes of a file; `bytes` may be longer than the prefix.
    ///
    /// # Errors
    /// The `prefix.*` codes, and `limit.header_bytes`. A file that is plainly
    /// something else (a pickle, a zip, a safetensors file, …) is named as such.
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Self> {
        if !bytes.starts_with(&MAGIC) {
            let short = MAGIC.starts_with(bytes);
            let code = if short {
                Code::PrefixTruncated
            } else {
                Code::PrefixMagic
            };
            return Err(sniff::not_ours(code, bytes));
        }
        let (Some(version), Some(flags), Some(header_bytes)) =
            (u32_at(bytes, 8), u32_at(bytes, 12), u64_at(bytes, 16))
        else {
            return Err(
                Error::new(Code::PrefixTruncated, "the file ends inside its prefix")
                    .expected(format!("at least {PREFIX_BYTES} bytes"))
                    .found(format!("{} bytes", bytes.len())),
            );
        };
        if version != VERSION {
            return Err(
                Error::new(Code::PrefixVersion, "the file has another format version")
                    .expected(VERSION)
                    .found(version),
            );
        }
        let flags = Flags::parse(flags)?;
        limits.check_header(header_bytes)?;
        Ok(Self {
            flags,
            header_bytes,
        })
    }

    /// The prefix as it stands on disk.
    pub fn emit(&self) -> [u8; PREFIX_BYTES as usize] {
        let mut out = [0; PREFIX_BYTES as usize];
        let (magic, rest) = out.split_at_mut(8);
        magic.copy_from_slice(&MAGIC);
        let (version, rest) = rest.split_at_mut(4);
        version.copy_from_slice(&VERSION.to_le_bytes());
        let (flags, length) = rest.split_at_mut(4);
        flags.copy_from_slice(&self.flags.bits().to_le_bytes());
        length.copy_from_slice(&self.header_bytes.to_le_bytes());
        out
    }
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..)?.first_chunk().copied()?))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..)?.first_chunk().copied()?))
}
