//! One zstd frame, and three decoders.

use deathtensors::Zstd;
use deathtensors_core::{Code, Codec, Error, check_frame};
use deathtensors_wasm::Decoder;
use ruzstd::decoding::FrameDecoder;

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

/// What all three decoders make of a frame.
pub fn decode(stored: &[u8], length: usize) -> Result<Vec<u8>, Code> {
    let outline = check_frame(stored, length as u64);
    let ours = with(&Decoder, stored, length);
    let reference = with(&Zstd, stored, length);
    if let Err(error) = &outline {
        crate::same::printable(error);
        return Err(error.code());
    }
    let ours = match ours {
        Ok(ours) => ours,
        Err(error) => {
            crate::same::printable(&error);
            refused_by_others(stored, length, &error, &reference);
            return Err(error.code());
        }
    };
    // Ours may be stricter, never looser.
    assert!(
        reference.is_ok_and(|theirs| theirs == ours),
        "the reference library differs"
    );
    let mut second = vec![0; length];
    let written = FrameDecoder::new().decode_all(stored, &mut second);
    assert!(
        written.is_ok_and(|n| n == length) && second == ours,
        "ruzstd differs"
    );
    Ok(ours)
}

fn with(codec: &dyn Codec, stored: &[u8], length: usize) -> Result<Vec<u8>, Error> {
    let mut out = vec![0; length];
    codec.decode(stored, &mut out).map(|()| out)
}

/// Where ours refuses, so does ruzstd, which leaves checksums to its caller.
fn refused_by_others(
    stored: &[u8],
    length: usize,
    error: &Error,
    reference: &Result<Vec<u8>, Error>,
) {
    let mut second = vec![0; length];
    let written = FrameDecoder::new().decode_all(stored, &mut second);
    if written.is_ok_and(|n| n == length) {
        assert_eq!(error.code(), Code::FramesChecksum, "ruzstd takes it");
        assert!(
            reference.is_err(),
            "the reference library takes a wrong checksum"
        );
    }
}
