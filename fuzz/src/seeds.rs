//! What the fuzzers start from: the conformance vectors, in each target's own form.

use deathtensors::{OpenOptions, TensorFile, to_safetensors};
use deathtensors_core::manifest;
use std::fs;
use std::path::{Path, PathBuf};

/// Larger ones are mutated too slowly.
const LONGEST: usize = 16 << 10;

/// Inputs for a target, made of the vectors in `vectors`.
pub fn of(target: &str, vectors: &Path) -> Vec<Vec<u8>> {
    let mut files = Vec::new();
    collect(vectors, &mut files);
    files.sort();
    let mut seeds: Vec<Vec<u8>> = files.iter().flat_map(|path| make(target, path)).collect();
    seeds.retain(|seed| seed.len() <= LONGEST);
    seeds.sort();
    seeds.dedup();
    seeds
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of vectors") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}

fn make(target: &str, path: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(path).expect("a vector");
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let ours = bytes.starts_with(&deathtensors_core::MAGIC);
    match target {
        "file" if ours => vec![bytes],
        "header" | "shards" if ours => header(&bytes).map(<[u8]>::to_vec).into_iter().collect(),
        "shards" if name.ends_with("safetensors.index.json") => vec![bytes],
        "frames" if ours => blob(&bytes).into_iter().collect(),
        "zstd" if ours => frames(&bytes),
        "safetensors" if name.ends_with(".safetensors") => vec![bytes],
        "safetensors" if ours => safetensors(path).into_iter().collect(),
        "manifest" if name.ends_with("manifest.json") => vec![bytes],
        "manifest" if ours => TensorFile::open(path)
            .map(|file| manifest::emit(file.header(), "0.4.0", "2026-01-02T03:04:05Z").into_bytes())
            .into_iter()
            .collect(),
        _ => Vec::new(),
    }
}

fn header(bytes: &[u8]) -> Option<&[u8]> {
    let length = u64::from_le_bytes(*bytes.get(16..)?.first_chunk()?);
    bytes.get(24..)?.get(..usize::try_from(length).ok()?)
}

fn blob(bytes: &[u8]) -> Option<Vec<u8>> {
    let start = (24 + header(bytes)?.len()).next_multiple_of(8);
    let blob = bytes.get(start..)?;
    if bytes.get(12)? & 1 == 0 {
        return None;
    }
    let text = String::from_utf8_lossy(header(bytes)?).into_owned();
    let text: serde_json::Value = serde_json::from_str(&text).ok()?;
    let ends = text["tensors"].as_object()?.values();
    let mut ends: Vec<u64> = ends.filter_map(|t| t["data_offsets"][1].as_u64()).collect();
    ends.sort_unstable();
    // Of three tensors the last takes what is left.
    let last = ends.last().copied().unwrap_or(0);
    let lengths = [last / 3, last / 3, last - last / 3 * 2].map(|n| u16::try_from(n).unwrap_or(0));
    let mut out: Vec<u8> = lengths.iter().flat_map(|n| n.to_le_bytes()).collect();
    out.extend(blob);
    Some(out)
}

/// Every frame, cut where the next one starts, with a length that its header may declare.
fn frames(bytes: &[u8]) -> Vec<Vec<u8>> {
    const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
    const TABLE: [u8; 4] = [0x5e, 0x2a, 0x4d, 0x18];
    let starts: Vec<usize> = (0..bytes.len())
        .filter(|&at| bytes[at..].starts_with(&MAGIC) || bytes[at..].starts_with(&TABLE))
        .chain([bytes.len()])
        .collect();
    let mut out = Vec::new();
    for pair in starts.windows(2) {
        let frame = &bytes[pair[0]..pair[1]];
        for length in [16u32, 24, 40, 64, 100, 116, 4096] {
            if deathtensors_core::check_frame(frame, length.into()).is_ok() {
                out.push([&length.to_le_bytes()[..3], frame].concat());
                break;
            }
        }
    }
    out
}

fn safetensors(path: &Path) -> Option<Vec<u8>> {
    let out = crate::disk::path("seed.safetensors");
    let _ = fs::remove_file(&out);
    to_safetensors(path, &out, &OpenOptions::default(), &mut ()).ok()?;
    fs::read(&out).ok()
}
