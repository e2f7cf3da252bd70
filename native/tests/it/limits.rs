//! Each call at the limit of memory and one byte below it, however the file is read.

use crate::support::{
    COMPRESSED, Model, Way, With, blob_of, entry, file, noise, refused, sized, streamed,
};
use deathtensors::{
    AppendOptions, Code, Dtype, Error, Limits, OpenOptions, Result, TensorFile, TensorWriter, diff,
    from_safetensors, read_manifest, to_safetensors, write_manifest,
};
use std::fs;
use std::path::Path;

fn open(path: &Path, way: Way, memory: u64) -> Result<TensorFile> {
    let mut options = OpenOptions::default();
    options.limits.memory_bytes = memory;
    way.open(path, options)
}

/// Asserts that the work needs that much memory: that it passes there and is refused
/// below, naming both numbers and the tensor.
#[track_caller]
fn needs<T>(need: u64, tensor: Option<&str>, work: impl Fn(u64) -> Result<T>) {
    if let Err(error) = work(need) {
        panic!("at {need}: {error}");
    }
    let below = work(need - 1)
        .err()
        .unwrap_or_else(|| panic!("{need} was not needed"));
    assert_eq!(below.code(), Code::LimitMemory, "{below}");
    let detail = below.detail();
    let said = |bytes: u64| format!("{bytes} bytes");
    assert_eq!(
        detail.expected_text(),
        Some(&*format!("at most {}", said(need - 1)))
    );
    assert_eq!(detail.found_text(), Some(&*said(need)), "{below}");
    assert_eq!(below.tensor_name(), tensor, "{below}");
}

fn header_bytes(path: &Path) -> u64 {
    let range = TensorFile::open(path).unwrap().catalogue().header_range();
    range.end - range.start
}

/// Long enough that its bytes outweigh its header.
fn model() -> Model {
    Model::default()
        .with("long", Dtype::U8, &[1000, 100])
        .with("short", Dtype::U8, &[300])
        .with("other", Dtype::U8, &[200])
}

#[test]
fn opening_needs_sixteen_times_the_header() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    model().write(&path, &With::PLAIN.options());
    for way in Way::ALL {
        needs(16 * header_bytes(&path), None, |memory| {
            open(&path, way, memory)
        });
    }
}

#[test]
fn copies_need_their_bytes_and_views_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    model().write(&path, &With::PLAIN.options());
    for way in Way::ALL {
        let long = |memory| {
            open(&path, way, memory)?
                .read("long")
                .map(|data| data.len())
        };
        let rows = |memory| {
            open(&path, way, memory)?
                .read_rows("long", 5, 900)
                .map(|d| d.len())
        };
        if way == Way::Mapped {
            let header = 16 * header_bytes(&path);
            assert_eq!(long(header).unwrap(), 100_000);
            assert_eq!(rows(header).unwrap(), 90_000);
        } else {
            needs(100_000, Some("long"), long);
            needs(90_000, Some("long"), rows);
        }
        let all = |memory| open(&path, way, memory)?.read_many(&[1, 0, 2], &mut ());
        needs(100_500, Some("other"), all);
        // Memory of the caller's is not counted.
        let file = open(&path, way, 16 * header_bytes(&path)).unwrap();
        file.read_into("long", &mut [0; 100_000]).unwrap();
        assert!(file.stats("long").is_ok() && file.digest(0).is_ok());
    }
}

/// A tensor of two frames, of which the second holds another one too.
fn shared_frames(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("frames.deathtensors");
    let data = noise(90_000, 1);
    let frames = [0..50_000, 50_000..90_000].map(|r| (sized(&data[r.clone()]), r.len()));
    let tensors = [entry("long", 0, 80_000), entry("short", 80_000, 90_000)].join(",");
    fs::write(&path, file(&tensors, COMPRESSED, &blob_of(&frames))).unwrap();
    path
}

#[test]
fn frames_of_which_a_part_is_wanted_count_whole_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = shared_frames(folder.path());
    for way in Way::ALL {
        let read = |name: &'static str| {
            let path = &path;
            move |memory| open(path, way, memory)?.read(name).map(|data| data.len())
        };
        needs(80_000 + 40_000, Some("long"), read("long"));
        needs(10_000 + 40_000, Some("short"), read("short"));
        let both = |memory| open(&path, way, memory)?.read_many(&[0, 1], &mut ());
        needs(90_000 + 40_000, Some("short"), both);
        let row = |memory| open(&path, way, memory)?.read_owned(0, 7..8);
        needs(1 + 50_000, Some("long"), row);
        // Working through a tensor needs the longest frame.
        let measure = |memory| open(&path, way, memory)?.stats("long");
        needs(50_000, Some("long"), measure);
        let check = |memory| open(&path, way, memory)?.verify(&mut ());
        needs(50_000, Some("long"), check);
    }
}

#[test]
fn a_blob_without_a_table_counts_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    let blob = streamed(&noise(90_000, 1), false);
    let tensors = [entry("long", 0, 80_000), entry("short", 80_000, 90_000)].join(",");
    fs::write(&path, file(&tensors, COMPRESSED, &blob)).unwrap();
    for way in Way::ALL {
        // What is mapped is not held as stored.
        let stored = if way == Way::Mapped {
            0
        } else {
            blob.len() as u64
        };
        let view = |memory| {
            open(&path, way, memory)?
                .read("short")
                .map(|data| data.len())
        };
        needs(90_000 + stored, Some("short"), view);
        let copy = |memory| open(&path, way, memory)?.read_many(&[0], &mut ());
        needs(90_000 + stored.max(80_000), Some("long"), copy);
    }
}

#[test]
fn a_seek_table_needs_four_times_its_length() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    let frames: Vec<_> = (0..2000).map(|n| (sized(&[n as u8]), 1)).collect();
    let blob = blob_of(&frames);
    fs::write(&path, file(&entry("w", 0, 2000), COMPRESSED, &blob)).unwrap();
    let table = 8 + 2000 * 8 + 9;
    for way in Way::ALL {
        needs(4 * table, Some("w"), |memory| {
            open(&path, way, memory)?.stats("w")
        });
    }
}

#[test]
fn what_compares_pinned_files_from_elsewhere_holds_both_tensors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    model().write(&path, &With::DIGESTS.options());
    let pinned = |memory| -> Result<TensorFile> {
        let mut options = OpenOptions::default();
        options.root = TensorFile::open(&path)?.header().root().copied();
        options.limits.memory_bytes = memory;
        Way::Brought.open(&path, options)
    };
    needs(200_000, Some("long"), |memory| {
        diff(&pinned(memory)?, &pinned(memory)?, true, &mut ()).map(drop)
    });
    // Rows are checked with the whole tensor.
    needs(100_000 + 300, Some("long"), |memory| {
        pinned(memory)?.read_rows("long", 0, 3).map(drop)
    });
}

#[test]
fn whatever_opens_a_file_takes_limits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    model().write(&path, &With::PLAIN.options());
    let safe = folder.path().join("m.safetensors");
    let out = folder.path().join("out");
    let mut lowered = OpenOptions::default();
    lowered.limits.tensors = 2;
    let limits = &lowered.limits;
    refused(
        to_safetensors(&path, &out, &lowered, &mut ()),
        Code::LimitTensors,
    );
    to_safetensors(&path, &safe, &OpenOptions::default(), &mut ()).unwrap();
    let write = With::PLAIN.options();
    refused(
        from_safetensors(&safe, &out, &write, limits, &mut ()),
        Code::LimitTensors,
    );
    let mut short = Limits::DEFAULT;
    short.name_bytes = 4;
    refused(
        from_safetensors(&safe, &out, &write, &short, &mut ()),
        Code::LimitName,
    );
    let manifest = folder.path().join("m.json");
    write_manifest(&TensorFile::open(&path).unwrap(), &manifest, "now").unwrap();
    refused(read_manifest(&manifest, limits), Code::LimitTensors);
    let length = fs::metadata(&manifest).unwrap().len();
    needs(16 * length, None, |memory| {
        let mut limits = Limits::DEFAULT;
        limits.memory_bytes = memory;
        read_manifest(&manifest, &limits)
    });
    let mut options = AppendOptions::default();
    options.limits = *limits;
    let appended = TensorWriter::append(&path, &[], &Default::default(), &options, &mut ());
    refused(appended.map(drop), Code::LimitTensors);
    assert!(!out.exists());
}

#[test]
fn a_limit_is_no_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = shared_frames(folder.path());
    let mut options = OpenOptions::default();
    options.limits.inflated_bytes = 49_999;
    let file = TensorFile::open_with(&path, &options).unwrap();
    let error: Error = refused(file.verify(&mut ()), Code::LimitInflated);
    assert_eq!(error.tensor_name(), Some("long"));
}
