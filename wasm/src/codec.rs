//! Decompression, as refusals of the specification.

use crate::zstd::{Fault, Frames};
use alloc::format;
use alloc::vec::Vec;
use deathtensors_core::{Code, Codec, Error, Result};

/// Zstandard in safe Rust.
#[derive(Clone, Copy, Debug, Default)]
pub struct Decoder;

impl Codec for Decoder {
    fn decode(&self, stored: &[u8], out: &mut [u8]) -> Result<()> {
        decode_all(stored, out)
    }
}

/// Decodes frames, one after the other, that hold `data_bytes` together.
///
/// # Errors
/// `frames.decode`, `frames.inflate`, `frames.short` or `frames.checksum`.
pub fn decode_blob(stored: &[u8], mut out: Vec<u8>, data_bytes: usize) -> Result<Vec<u8>> {
    out.resize(data_bytes, 0);
    decode_all(stored, &mut out)?;
    Ok(out)
}

fn decode_all(stored: &[u8], out: &mut [u8]) -> Result<()> {
    let mut frames = Frames::new(stored);
    let mut at = 0;
    while !frames.is_done() {
        at = frames
            .next(out, at)
            .map_err(|fault| refusal(fault, out.len()))?;
    }
    if at < out.len() {
        let error = Error::new(Code::FramesShort, "the compressed data ends early");
        return Err(error
            .expected(format!("{} bytes", out.len()))
            .found(format!("{at} bytes")));
    }
    Ok(())
}

fn refusal(fault: Fault, room: usize) -> Error {
    let (code, message) = match fault {
        Fault::Malformed => (Code::FramesDecode, "a frame is not well-formed zstd"),
        Fault::TooLong => (Code::FramesInflate, "a frame holds more than was declared"),
        Fault::Checksum => (
            Code::FramesChecksum,
            "a frame's checksum disagrees with its content",
        ),
    };
    Error::new(code, message).expected(format!("{room} bytes of data"))
}
