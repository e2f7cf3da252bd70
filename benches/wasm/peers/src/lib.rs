//! Other decoders in Rust behind the face that ours has.

use wasm_bindgen::prelude::wasm_bindgen;

/// By `ruzstd`.
#[wasm_bindgen]
pub fn ruzstd(stored: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut out = vec![0; length];
    let mut decoder = ruzstd::decoding::FrameDecoder::new();
    (decoder.decode_all(stored, &mut out).ok()? == length).then_some(out)
}

/// By `structured-zstd`.
#[wasm_bindgen]
pub fn structured(stored: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut out = vec![0; length];
    let mut decoder = structured_zstd::decoding::FrameDecoder::new();
    (decoder.decode_all(stored, &mut out).ok()? == length).then_some(out)
}
