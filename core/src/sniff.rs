//! Naming what a file is when it is not one of ours.

use crate::error::{Code, Error};
use crate::prefix::{MAGIC, u64_at};
use alloc::format;

/// Formats that people mistake for a tensor file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Other {
    /// No bytes at all.
    Empty,
    /// A Python pickle.
    Pickle,
    /// A zip archive, which is what `torch.save` writes.
    Zip,
    /// A safetensors file.
    Safetensors,
    /// A Git LFS pointer instead of the file it points to.
    GitLfsPointer,
    /// A web page.
    Html,
    /// A GGUF file.
    Gguf,
    /// A NumPy `.npy` file.
    Npy,
    /// An HDF5 file.
    Hdf5,
    /// A gzip stream.
    Gzip,
    /// A bare Zstandard stream.
    Zstd,
    /// JSON text.
    Json,
}

impl Other {
    /// What it is and what to do about it, as a clause.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Empty => "the file is empty",
            Self::Pickle => {
                "this is a Python pickle, which can run code when it is loaded; it was not opened"
            }
            Self::Zip => {
                "this is a zip archive, probably a PyTorch checkpoint with a pickle inside; \
                 it was not opened"
            }
            Self::Safetensors => "this is a safetensors file; convert it with from_safetensors",
            Self::GitLfsPointer => {
                "this is a Git LFS pointer, not the file itself; fetch it with `git lfs pull`"
            }
            Self::Html => "this is an HTML page, perhaps a failed download",
            Self::Gguf => "this is a GGUF file",
            Self::Npy => "this is a NumPy .npy file",
            Self::Hdf5 => "this is an HDF5 file",
            Self::Gzip => "this is a gzip file; unpack it first",
            Self::Zstd => "this is a bare Zstandard file; unpack it first",
            Self::Json => {
                "this is JSON text, perhaps a manifest or a shard index of another format"
            }
        }
    }
}

/// Guesses the format from the first bytes of a file; a few hundred are enough.
pub fn sniff(head: &[u8]) -> Option<Other> {
    let trimmed = head.trim_ascii_start();
    let tag = |text: &str| {
        trimmed
            .get(..text.len())
            .is_some_and(|t| t.eq_ignore_ascii_case(text.as_bytes()))
    };
    Some(match head {
        [] => Other::Empty,
        // First, since its length can look like the signature of another format.
        _ if u64_at(head, 0).is_some_and(|n| n < 1 << 32) && head.get(8) == Some(&b'{') => {
            Other::Safetensors
        }
        [0x80, 2..=5, ..] => Other::Pickle,
        [b'P', b'K', 3 | 5, 4 | 6, ..] => Other::Zip,
        [b'G', b'G', b'U', b'F', ..] => Other::Gguf,
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Other::Npy,
        [0x89, b'H', b'D', b'F', ..] => Other::Hdf5,
        [0x1f, 0x8b, ..] => Other::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Other::Zstd,
        _ if head.starts_with(b"version https://git-lfs") => Other::GitLfsPointer,
        _ if tag("<!doctype") || tag("<html") || tag("<?xml") => Other::Html,
        _ if trimmed.starts_with(b"{\"") || trimmed.starts_with(b"{\n") => Other::Json,
        _ => return None,
    })
}

/// The refusal of a file whose first bytes are `head`.
pub(crate) fn not_ours(code: Code, head: &[u8]) -> Error {
    let error = match sniff(head) {
        Some(other) => Error::new(code, format!("not a deathtensors file: {}", other.advice())),
        None => Error::new(code, "not a deathtensors file"),
    };
    error.expected("the magic DTLEGION").found(format!(
        "\"{}\"",
        head.get(..MAGIC.len()).unwrap_or(head).escape_ascii()
    ))
}
