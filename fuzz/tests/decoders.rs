//! Three decoders, one verdict: ours, ruzstd and the reference library.

use deathtensors::Zstd;
use deathtensors_core::{Code, Codec, check_frame};
use deathtensors_fuzz::zstd;
use deathtensors_wasm::Decoder;
use std::path::Path;

/// Whether ours accepts a frame; the others must agree.
fn judge(stored: &[u8], length: usize, what: &str) -> bool {
    println!("{what}"); // the last one shown is the one that failed
    zstd::decode(stored, length).is_ok()
}

/// Ours and ruzstd accept the same, but that ruzstd leaves checksums to its caller.
fn agree(stored: &[u8], length: usize, what: &str) {
    if judge(stored, length, what) {
        return;
    }
    let refused = Decoder.decode(stored, &mut vec![0; length]).unwrap_err();
    let theirs = zstd::with_ruzstd(stored, length);
    assert!(
        !theirs.is_ok_and(|data| data.len() == length) || refused.code() == Code::FramesChecksum,
        "{what}: {refused}, ruzstd takes it"
    );
}

struct Noise(u64);

impl Noise {
    fn next(&mut self) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize
    }
}

/// Data of several kinds: noise, weights, text, runs, copies of itself, few symbols.
fn data(kind: usize, length: usize) -> Vec<u8> {
    let mut noise = Noise(kind as u64);
    let mut out = Vec::new();
    while out.len() < length {
        let x = noise.next();
        match kind {
            0 => out.push(x as u8),
            // The upper half of binary32, near to normally distributed.
            1 => {
                let sum: f32 = (0..6).map(|_| (noise.next() % 2001) as f32 - 1000.0).sum();
                out.extend(((sum * 1e-5).to_bits() >> 16).to_le_bytes().iter().take(2));
            }
            2 => out.extend(format!("layer.{}.weight {} ", x % 24, x % 7).bytes()),
            3 => out.extend(std::iter::repeat_n(x as u8, (x >> 8) % 300)),
            // From a few distances over and over, and from anywhere.
            4 => {
                let here = out.len();
                let back = match x % 3 {
                    0 => 1 + noise.next() % (here + 1),
                    nth => [1, 48, 1000][nth] + (x >> 20) % 2,
                };
                let from = here.saturating_sub(back);
                for nth in 0..3 + noise.next() % 90 {
                    let copied = out.get(from + nth).copied();
                    out.push(copied.unwrap_or(noise.next() as u8));
                }
                out.extend((0..x % 5).map(|n| (x >> n) as u8));
            }
            _ => out.push(b"aaaabbbccd"[x % 10]),
        }
    }
    out.truncate(length);
    out
}

#[test]
fn agree_on_sound_frames() {
    let mut stored = Vec::new();
    for kind in 0..6 {
        for length in [0, 1, 5, 31, 255, 256, 4000, 70_000, 262_144, 400_001] {
            for level in [-7, 1, 3, 6, 9, 13, 19, 22] {
                let plain = data(kind, length);
                Zstd.encode(&plain, level, &mut stored).unwrap();
                let what = format!("kind {kind}, {length} bytes, level {level}");
                check_frame(&stored, length as u64).unwrap();
                assert!(judge(&stored, length, &what), "{what}");
            }
        }
    }
}

/// `MUTATIONS` says how many for each of two dozen frames.
#[test]
fn agree_on_damaged_frames() {
    let many = std::env::var("MUTATIONS").ok().and_then(|n| n.parse().ok());
    let (mut accepted, mut tried) = (0, 0);
    let mut stored = Vec::new();
    for kind in 0..6 {
        for (length, level) in [(300, 3), (5000, 19), (20_000, 1), (140_000, 3)] {
            Zstd.encode(&data(kind, length), level, &mut stored)
                .unwrap();
            // Without its checksum, so that decoding itself decides.
            stored.truncate(stored.len() - 4);
            stored[4] &= !4;
            let mut noise = Noise((kind * 7 + length) as u64);
            for nth in 0..many.unwrap_or(400) {
                let mut damaged = stored.clone();
                for _ in 0..1 + noise.next() % 3 {
                    // Mostly where the tables are.
                    let near = noise.next().is_multiple_of(2);
                    let reach = if near {
                        damaged.len().min(160)
                    } else {
                        damaged.len()
                    };
                    let at = 4 + noise.next() % (reach - 4);
                    damaged[at] ^= 1 << (noise.next() % 8);
                }
                if check_frame(&damaged, length as u64).is_err() {
                    continue;
                }
                tried += 1;
                let what = format!("kind {kind}, {length} bytes, level {level}, {nth}");
                accepted += usize::from(judge(&damaged, length, &what));
            }
        }
    }
    eprintln!("{tried} damaged frames, {accepted} of them still frames");
    assert!(tried > 0 && accepted > 0 && accepted < tried);
}

/// Where ours is stricter: each Huffman stream must be used up exactly, else "the decoding
/// process is considered faulty" (RFC 8878, 4.2.2). The reference library's fast loops count
/// the literals alone; nearly all damaged frames that it takes and ours does not are these.
/// Only a checksum would tell that their data is not what was written.
#[test]
fn refuses_streams_that_are_not_used_up() {
    let mut stored = Vec::new();
    Zstd.encode(&data(1, 300), 3, &mut stored).unwrap();
    stored.truncate(stored.len() - 4);
    stored[4] &= !4;
    stored[72] ^= 4;
    check_frame(&stored, 300).unwrap();
    let refused = Decoder.decode(&stored, &mut [0; 300]).unwrap_err();
    assert_eq!(refused.code(), Code::FramesDecode);
}

#[test]
fn agree_on_the_vectors() {
    const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors");
    let mut seen = 0;
    for kind in ["valid", "refused"] {
        for entry in std::fs::read_dir(vectors.join(kind)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|e| e != "deathtensors") {
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            let starts: Vec<_> = (0..bytes.len())
                .filter(|&at| bytes[at..].starts_with(&MAGIC))
                .collect();
            for &start in &starts {
                for end in start + 4..bytes.len().min(start + 600) + 1 {
                    for length in [0, 1, 16, 24, 40, 64, 100, 116, 4096] {
                        if check_frame(&bytes[start..end], length).is_ok() {
                            let what = path.display().to_string();
                            agree(&bytes[start..end], length as usize, &what);
                            seen += 1;
                        }
                    }
                }
            }
        }
    }
    assert!(seen > 20, "{seen}");
}
