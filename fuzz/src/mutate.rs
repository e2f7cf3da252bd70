//! Changing files so that they stay files: a byte more in a header would otherwise end
//! every attempt at its length.

use deathtensors_core::PREFIX_BYTES;
use sha2::{Digest, Sha256};

/// Changes the first `size` bytes within `max_size`, and returns the new size.
pub type Mutator = fn(&mut [u8], usize, usize) -> usize;

const LENGTH_BYTES: usize = 8;
const FOOTER_BYTES: usize = 32;

/// For files of ours: bytes anywhere, or the header with its length and padding mended,
/// or the blob; the footer mended now and then.
pub fn file(data: &mut [u8], size: usize, max_size: usize, seed: u32, inner: Mutator) -> usize {
    let start = PREFIX_BYTES as usize;
    let bytes = &data[..size];
    let header = u64_at(bytes, 16).and_then(|n| usize::try_from(n).ok());
    let parts = header.and_then(|n| {
        let json = bytes.get(start..start.checked_add(n)?)?.to_vec();
        let blob = bytes.get((start + n).next_multiple_of(8)..)?.to_vec();
        Some((json, blob))
    });
    let Some((mut json, mut blob)) = parts.filter(|_| !seed.is_multiple_of(4)) else {
        return inner(data, size, max_size);
    };
    let room = max_size
        .saturating_sub(start + 8 + blob.len())
        .max(json.len());
    if seed % 4 < 3 {
        change(&mut json, room, inner);
    } else {
        let room = max_size
            .saturating_sub(start + 8 + json.len())
            .max(blob.len());
        change(&mut blob, room, inner);
    }
    let mut out = bytes[..start].to_vec();
    out[16..24].copy_from_slice(&(json.len() as u64).to_le_bytes());
    out.extend(json);
    out.resize(out.len().next_multiple_of(8), 0);
    out.extend(blob);
    let footed = out[12] & 2 != 0 && out.len() >= start + FOOTER_BYTES;
    if footed && seed % 8 < 6 {
        let end = out.len() - FOOTER_BYTES;
        let digest = Sha256::digest(&out[start..end]);
        out[end..].copy_from_slice(&digest);
    }
    put_back(data, &out, max_size)
}

/// For safetensors files: bytes anywhere, or the header with its length mended.
pub fn safetensors(
    data: &mut [u8],
    size: usize,
    max_size: usize,
    seed: u32,
    inner: Mutator,
) -> usize {
    let bytes = &data[..size];
    let header = u64_at(bytes, 0).and_then(|n| usize::try_from(n).ok());
    let parts = header.and_then(|n| {
        let (json, blob) = bytes.get(LENGTH_BYTES..)?.split_at_checked(n)?;
        Some((json.to_vec(), blob.to_vec()))
    });
    let Some((mut json, blob)) = parts.filter(|_| !seed.is_multiple_of(4)) else {
        return inner(data, size, max_size);
    };
    let room = max_size
        .saturating_sub(LENGTH_BYTES + blob.len())
        .max(json.len());
    change(&mut json, room, inner);
    let mut out = (json.len() as u64).to_le_bytes().to_vec();
    out.extend(json);
    out.extend(blob);
    put_back(data, &out, max_size)
}

fn change(part: &mut Vec<u8>, room: usize, inner: Mutator) {
    let size = part.len();
    part.resize(room.max(1), 0);
    let size = inner(part, size, room.max(1));
    part.truncate(size);
}

fn put_back(data: &mut [u8], out: &[u8], max_size: usize) -> usize {
    let size = out.len().min(max_size).min(data.len());
    data[..size].copy_from_slice(&out[..size]);
    size
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
