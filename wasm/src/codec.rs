//! Zstandard by ruzstd.
use deathtensors_core::{Code, Codec, Error, Result};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use ruzstd::io::Read;

#[derive(Default)]
pub struct Decoder;

fn broken<E>(_: E) -> Error {
    Error::new(Code::FramesDecode, "a frame is not well-formed zstd")
}

impl Codec for Decoder {
    fn decode(&self, stored: &[u8], out: &mut [u8]) -> Result<()> {
        let found = decode_blob(self, stored, out.len())?;
        out.copy_from_slice(&found);
        Ok(())
    }
}

pub fn decode_blob(_: &Decoder, stored: &[u8], bytes: usize) -> Result<Vec<u8>> {
    let mut input = stored;
    let mut out: Vec<u8> = Vec::new();
    let mut decoder = FrameDecoder::new();
    while !input.is_empty() {
        if let Some(magic) = input.first_chunk::<4>()
            && u32::from_le_bytes(*magic) & 0xffff_fff0 == 0x184d_2a50
        {
            let n = input
                .get(4..8)
                .and_then(|b| b.first_chunk::<4>())
                .map(|b| u32::from_le_bytes(*b) as usize);
            input = n
                .and_then(|n| input.get(8 + n..))
                .ok_or_else(|| broken(()))?;
            continue;
        }
        decoder.init(&mut input).map_err(broken)?;
        loop {
            decoder
                .decode_blocks(&mut input, BlockDecodingStrategy::UptoBytes(1 << 20))
                .map_err(broken)?;
            let n = decoder.can_collect();
            if out.len() + n > bytes {
                return Err(Error::new(Code::FramesInflate, "more than declared"));
            }
            let at = out.len();
            out.resize(at + n, 0);
            decoder.read(&mut out[at..]).map_err(broken)?;
            if decoder.is_finished() {
                break;
            }
        }
        if decoder.get_checksum_from_data().is_some()
            && decoder.get_checksum_from_data() != decoder.get_calculated_checksum()
        {
            return Err(Error::new(
                Code::FramesChecksum,
                "a frame's checksum disagrees with its content",
            ));
        }
    }
    if out.len() < bytes {
        return Err(Error::new(Code::FramesShort, "less than declared"));
    }
    Ok(out)
}
