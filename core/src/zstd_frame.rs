//! The outline of a zstd frame (RFC 8878), read without decoding it.
//!
//! Decoders differ in how they name what is wrong with a frame, and some trust
//! its declared size. Looking at the outline first gives the same refusal on
//! every platform, and costs a few bytes of each 128 KiB.

use crate::error::{Code, Error, Result};
use crate::prefix::{u32_at, u64_at};
use alloc::format;

const MAGIC: u32 = 0xfd2f_b528;
const LONGEST_BLOCK: u64 = 128 << 10;

/// Whether a stream that begins so can be zstd: with a frame, or with a skippable one.
pub fn starts_as_zstd(stored: &[u8]) -> bool {
    matches!(u32_at(stored, 0), Some(MAGIC | 0x184d_2a50..=0x184d_2a5f))
}

/// Checks that `stored` is exactly one zstd frame without a dictionary, that it
/// does not declare another size than `data` bytes, and that its blocks could
/// hold that much.
///
/// # Errors
/// `frames.decode` for a malformed outline, `frames.inflate` and `frames.short`
/// for a declared size that differs, `frames.short` for too few blocks.
pub fn check_frame(stored: &[u8], data: u64) -> Result<()> {
    let malformed = |why: &str| {
        Error::new(
            Code::FramesDecode,
            format!("a frame is not well-formed zstd: {why}"),
        )
    };
    if u32_at(stored, 0) != Some(MAGIC) {
        return Err(malformed("its magic is not zstd's"));
    }
    let cut = || malformed("it is cut short");
    let &descriptor = stored.get(4).ok_or_else(cut)?;
    if descriptor & 0b1000 != 0 {
        return Err(malformed("a reserved bit is set"));
    }
    if descriptor & 0b11 != 0 {
        return Err(malformed("it needs a dictionary"));
    }
    let single_segment = descriptor & 0b10_0000 != 0;
    let checksum = if descriptor & 0b100 != 0 { 4 } else { 0 };
    let mut at = if single_segment { 5 } else { 6 };
    let (declared, width) = match descriptor >> 6 {
        0 if !single_segment => (None, 0),
        0 => (stored.get(at).map(|&b| u64::from(b)), 1),
        1 => (stored.get(at..at + 2).and_then(le).map(|n| n + 256), 2),
        2 => (u32_at(stored, at).map(u64::from), 4),
        _ => (u64_at(stored, at), 8),
    };
    if width > 0 {
        let declared = declared.ok_or_else(cut)?;
        if declared != data {
            let (code, what) = match declared > data {
                true => (
                    Code::FramesInflate,
                    "a frame declares more than it should hold",
                ),
                false => (
                    Code::FramesShort,
                    "a frame declares less than it should hold",
                ),
            };
            return Err(Error::new(code, what)
                .expected(format!("{data} bytes"))
                .found(format!("{declared} bytes")));
        }
    }
    at += width;
    let mut room = 0u64;
    loop {
        let header = stored.get(at..at + 3).and_then(le).ok_or_else(cut)?;
        let size = header >> 3;
        let (length, holds) = match header >> 1 & 0b11 {
            0 => (size, size),
            1 => (1, size),
            2 => (size, LONGEST_BLOCK),
            _ => return Err(malformed("a block has a reserved type")),
        };
        if size > LONGEST_BLOCK {
            return Err(malformed("a block is too long"));
        }
        room = room.saturating_add(holds);
        // Sizes have 21 bits.
        at = at
            .checked_add(3 + length as usize)
            .filter(|&at| at <= stored.len())
            .ok_or_else(cut)?;
        if header & 1 != 0 {
            break;
        }
    }
    match stored.len() - at {
        left if left < checksum => Err(cut()),
        left if left > checksum => {
            Err(malformed("something follows it").found(format!("{} bytes more", left - checksum)))
        }
        _ if room < data => Err(Error::new(
            Code::FramesShort,
            "a frame's blocks cannot hold what they should",
        )
        .expected(format!("{data} bytes"))
        .found(format!("at most {room} bytes"))),
        _ => Ok(()),
    }
}

/// Up to eight little-endian bytes.
fn le(bytes: &[u8]) -> Option<u64> {
    Some(
        bytes
            .iter()
            .rev()
            .fold(0, |sum, &b| sum << 8 | u64::from(b)),
    )
}
