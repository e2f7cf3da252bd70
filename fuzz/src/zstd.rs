//! One zstd frame, and three decoders.

use crate::same;
use deathtensors::Zstd;
use deathtensors_core::{Code, Codec, Error, check_frame};
use deathtensors_wasm::Decoder;
use ruzstd::decoding::FrameDecoder;
use ruzstd::decoding::errors::FrameDecoderError;

/// The longest data of a frame, in bytes.
const LONGEST: usize = 0x3_ffff;

/// See the table in the crate's documentation. The first three bytes are the length of
/// the data.
pub fn check(data: &[u8]) {
    let Some((length, stored)) = data.split_first_chunk::<3>() else {
        return;
    };
    let [a, b, c] = *length;
    let length = u32::from_le_bytes([a, b, c, 0]) as usize & LONGEST;
    let _ = decode(stored, length);
}

/// What ours makes of a frame. Panics unless the reference library and ruzstd read the
/// same from what it accepts. It may be stricter (docs/web.md, "The zstd decoder").
pub fn decode(stored: &[u8], length: usize) -> Result<Vec<u8>, Code> {
    // What has not even the outline of a frame reaches a decoder only here.
    let ours = with(&Decoder, stored, length);
    let reference = with(&Zstd, stored, length);
    let refuse = |error: Error| {
        same::printable(&error);
        error.code()
    };
    check_frame(stored, length as u64).map_err(refuse)?;
    match ours {
        Ok(ours) => {
            let theirs = reference.as_ref().ok();
            assert!(
                theirs == Some(&ours),
                "the reference library differs: {:?}",
                reference.err()
            );
            match with_ruzstd(stored, length) {
                // It sets windows aside, and none of more than 128 MiB; ours needs none.
                Err(FrameDecoderError::WindowSizeTooBig { .. }) => {}
                second => assert!(second.ok().as_ref() == Some(&ours), "ruzstd differs"),
            }
            Ok(ours)
        }
        Err(error) => {
            let wrong = error.code() == Code::FramesChecksum;
            assert!(!wrong || reference.is_err(), "takes it: {error}");
            Err(refuse(error))
        }
    }
}

/// What ruzstd makes of a frame; it leaves checksums to its caller.
pub fn with_ruzstd(stored: &[u8], length: usize) -> Result<Vec<u8>, FrameDecoderError> {
    let mut out = vec![0; length];
    let written = FrameDecoder::new().decode_all(stored, &mut out)?;
    out.truncate(written);
    Ok(out)
}

fn with(codec: &dyn Codec, stored: &[u8], length: usize) -> Result<Vec<u8>, Error> {
    let mut out = vec![0; length];
    codec.decode(stored, &mut out).map(|()| out)
}
