//! Compressed files that lie: each lie has its code, and names the tensor.

use crate::support::{
    COMPRESSED, backend, blob_of, entry, file, noise, refused, seek_table, sized, streamed,
};
use deathtensors::{
    Backend, Code, Dtype, Error, OpenOptions, TensorFile, TensorSpec, TensorWriter, WriteOptions,
};
use std::fs;

/// Two tensors of 1000 bytes in a frame each, `a` sound and `b` as given.
fn second_frame(stored: Vec<u8>) -> Vec<u8> {
    let sound = sized(&noise(1000, 1));
    let blob = blob_of(&[(sound, 1000), (stored, 1000)]);
    let tensors = [entry("a", 0, 1000), entry("b", 1000, 2000)];
    file(&tensors.join(","), COMPRESSED, &blob)
}

/// Every way of reading `b` is refused with that code; `a` is read.
#[track_caller]
fn only_b_is_refused(bytes: &[u8], code: Code) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    fs::write(&path, bytes).unwrap();
    for way in [Backend::Mmap, Backend::Pread] {
        let file = TensorFile::open_with(&path, &backend(way)).unwrap();
        let mut out = [0; 1000];
        for error in [
            refused(file.read("b"), code),
            refused(file.read_rows("b", 500, 1), code),
            refused(file.read_rows("b", 0, 1000), code),
            refused(file.read_into("b", &mut out), code),
            refused(file.stats("b"), code),
            refused(file.verify_tensor("b"), code),
        ] {
            assert_eq!(error.tensor_name(), Some("b"), "{error}");
            assert_eq!(error.path(), Some(&*path), "{error}");
        }
        assert!(*file.read("a").unwrap() == *noise(1000, 1));
        let found = file.verify(&mut ()).unwrap();
        assert_eq!(found.frames, Some(false));
        assert_eq!(found.tensors, [None, Some(false)]);
        assert_eq!(codes(&found.errors), [code]);
    }
}

fn codes(errors: &[Error]) -> Vec<Code> {
    errors.iter().map(Error::code).collect()
}

#[test]
fn the_helper_makes_sound_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    let data = noise(1000, 2);
    for stored in [sized(&data), streamed(&data, true), streamed(&data, false)] {
        fs::write(&path, second_frame(stored)).unwrap();
        let file = TensorFile::open(&path).unwrap();
        assert!(*file.read("b").unwrap() == *data);
        assert!(file.verify(&mut ()).unwrap().is_sound());
    }
}

#[test]
fn a_frame_that_inflates_past_its_place() {
    let longer = noise(1001, 2);
    for stored in [
        sized(&longer),
        streamed(&longer, true),
        streamed(&longer, false),
    ] {
        only_b_is_refused(&second_frame(stored), Code::FramesInflate);
    }
    let bomb = vec![0; 50 << 20];
    only_b_is_refused(&second_frame(sized(&bomb)), Code::FramesInflate);
    only_b_is_refused(&second_frame(streamed(&bomb, false)), Code::FramesInflate);
}

#[test]
fn a_frame_that_says_1000_bytes_and_holds_more() {
    // The size is the two bytes after the descriptor, less 256.
    let mut stored = sized(&noise(1001, 2));
    assert_eq!(stored[5..7], 745u16.to_le_bytes());
    stored[5..7].copy_from_slice(&744u16.to_le_bytes());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    fs::write(&path, second_frame(stored)).unwrap();
    let file = TensorFile::open(&path).unwrap();
    let error = file.read("b").map(drop).unwrap_err();
    assert!(
        [Code::FramesInflate, Code::FramesDecode].contains(&error.code()),
        "{error}"
    );
}

#[test]
fn a_frame_that_falls_short() {
    let shorter = noise(999, 2);
    for stored in [
        sized(&shorter),
        streamed(&shorter, true),
        streamed(&shorter, false),
    ] {
        only_b_is_refused(&second_frame(stored), Code::FramesShort);
    }
    only_b_is_refused(&second_frame(sized(&[])), Code::FramesShort);
}

#[test]
fn a_frame_whose_content_or_checksum_was_changed() {
    let sound = sized(&noise(1000, 2));
    for at in [sound.len() - 1, sound.len() - 4, sound.len() / 2] {
        let mut stored = sound.clone();
        stored[at] ^= 1;
        only_b_is_refused(&second_frame(stored), Code::FramesChecksum);
    }
}

#[test]
fn a_frame_that_is_no_single_zstd_frame() {
    let sound = sized(&noise(1000, 2));
    let mut cut = sound.clone();
    cut.truncate(sound.len() - 5);
    let mut magic = sound.clone();
    magic[0] ^= 1;
    let twice = [sized(&noise(500, 2)), sized(&noise(500, 3))].concat();
    let followed = [&*sound, b"x"].concat();
    let mut skippable = 0x184d_2a50_u32.to_le_bytes().to_vec();
    skippable.extend_from_slice(&8u32.to_le_bytes());
    skippable.extend_from_slice(&[0; 8]);
    let led = [&*skippable, &*sound].concat();
    let mut dictionary = sound.clone();
    dictionary[4] |= 1;
    for stored in [
        cut,
        magic,
        followed,
        skippable,
        led,
        dictionary,
        noise(100, 4),
    ] {
        only_b_is_refused(&second_frame(stored), Code::FramesDecode);
    }
    // Its first frame already falls short.
    only_b_is_refused(&second_frame(twice), Code::FramesShort);
}

#[test]
fn a_frame_too_short_for_what_it_should_hold() {
    let mut stored = sized(&[]);
    stored.truncate(4);
    let blob = blob_of(&[(stored, 1 << 20)]);
    let bytes = file(&entry("t", 0, 1 << 20), COMPRESSED, &blob);
    table_is_refused(&bytes, Code::FramesShort);
}

/// The file opens, since its header is fine, and every reading is refused.
#[track_caller]
fn table_is_refused(bytes: &[u8], code: Code) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    fs::write(&path, bytes).unwrap();
    for way in [Backend::Mmap, Backend::Pread] {
        let file = TensorFile::open_with(&path, &backend(way)).unwrap();
        let name = file.header().at(0).unwrap().name.to_string();
        for error in [
            refused(file.read(&name), code),
            refused(file.read_rows(&name, 0, 1), code),
            refused(file.prepare(0), code),
        ] {
            assert_eq!(error.tensor_name(), Some(&*name));
            assert_eq!(error.path(), Some(&*path));
        }
        let found = file.verify(&mut ()).unwrap();
        assert_eq!(found.frames, Some(false));
        assert!(codes(&found.errors).iter().all(|&found| found == code));
    }
}

/// A sound blob of three frames, to which something is done.
fn with_table(change: impl FnOnce(&mut Vec<u8>, usize)) -> Vec<u8> {
    let frames: Vec<_> = (0..3).map(|n| (sized(&noise(500, n)), 500)).collect();
    let mut blob = blob_of(&frames);
    let table = blob.len() - seek_table(&[(0, 0); 3]).len();
    change(&mut blob, table);
    let tensors = [entry("a", 0, 700), entry("b", 700, 1500)];
    file(&tensors.join(","), COMPRESSED, &blob)
}

fn add(blob: &mut [u8], at: usize, by: i64) {
    let old = u32::from_le_bytes(blob[at..at + 4].try_into().unwrap());
    let new = i64::from(old) + by;
    blob[at..at + 4].copy_from_slice(&(new as u32).to_le_bytes());
}

#[test]
fn a_table_that_counts_wrong() {
    for by in [1, -1, -3, 2, 1000, 0x0800_0000, 0xffff_fff0] {
        let bytes = with_table(|blob, _| {
            let count = blob.len() - 9;
            add(blob, count, by);
        });
        table_is_refused(&bytes, Code::FramesTable);
    }
}

#[test]
fn a_table_whose_sums_are_wrong() {
    for (entry, by) in [
        (0, 1),
        (0, -1),
        (8, 0x7fff_ffff),
        (4, 1),
        (12, -1),
        (20, 0x7fff_0000),
    ] {
        let bytes = with_table(|blob, table| add(blob, table + 8 + entry, by));
        table_is_refused(&bytes, Code::FramesTableSizes);
    }
}

#[test]
fn a_table_with_reserved_bits() {
    for bit in 2..7 {
        let bytes = with_table(|blob, _| {
            let descriptor = blob.len() - 5;
            blob[descriptor] |= 1 << bit;
        });
        table_is_refused(&bytes, Code::FramesTable);
    }
    // A flag that says the entries are longer than they are.
    let bytes = with_table(|blob, _| {
        let descriptor = blob.len() - 5;
        blob[descriptor] |= 0x80;
    });
    table_is_refused(&bytes, Code::FramesTable);
}

#[test]
fn a_table_in_a_frame_that_is_not_its_own() {
    for (at, by) in [(0, 1), (4, 1), (4, -1)] {
        let bytes = with_table(|blob, table| add(blob, table + at, by));
        table_is_refused(&bytes, Code::FramesTable);
    }
}

#[test]
fn a_file_cut_short_within_table_or_frames() {
    // Without its last bytes it has no table any more, and no sound stream either.
    for cut in [1, 4, 9, 20, 40, 60, 500, 1000] {
        let bytes = with_table(|blob, _| blob.truncate(blob.len() - cut));
        table_is_refused(&bytes, Code::FramesDecode);
    }
    // Cut between two frames it is a sound stream that ends early.
    let bytes = with_table(|blob, _| {
        let first = sized(&noise(500, 0)).len();
        blob.truncate(first);
    });
    table_is_refused(&bytes, Code::FramesShort);
}

#[test]
fn frames_swapped_behind_the_tables_back_are_found_by_digests_only() {
    // Same lengths, both sound: only a digest can tell.
    let frames = [(sized(&noise(500, 0)), 500), (sized(&noise(500, 1)), 500)];
    assert_eq!(frames[0].0.len(), frames[1].0.len());
    let swapped = [frames[1].clone(), frames[0].clone()];
    let digest = deathtensors::digest::hex(&deathtensors::digest::sha256(&noise(500, 0)));
    let tensors = format!(
        r#""a":{{"dtype":"U8","shape":[500],"data_offsets":[0,500],"sha256":"{digest}"}},{}"#,
        entry("b", 500, 1000)
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    for (frames, sound) in [(&frames, true), (&swapped, false)] {
        fs::write(&path, file(&tensors, COMPRESSED, &blob_of(frames))).unwrap();
        let found = TensorFile::open(&path).unwrap().verify(&mut ()).unwrap();
        assert_eq!(found.tensors, [Some(sound), None]);
        assert_eq!(found.frames, Some(true));
    }
}

// Windows lets nobody change a file that is open here.
#[cfg(not(windows))]
#[test]
fn nothing_inflates_beyond_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    let limited = |bytes: u64| {
        let mut options = OpenOptions::default();
        options.limits.inflated_bytes = bytes;
        TensorFile::open_with(&path, &options).unwrap()
    };
    let data = noise(3000, 1);
    let blob = blob_of(&[(sized(&data[..1000]), 1000), (sized(&data[1000..]), 2000)]);
    let framed = [entry("a", 0, 1000), entry("b", 1000, 3000)];
    fs::write(&path, file(&framed.join(","), COMPRESSED, &blob)).unwrap();
    assert!(*limited(2000).read("b").unwrap() == data[1000..]);
    let file_1999 = limited(1999);
    for error in [
        refused(file_1999.read("b"), Code::LimitInflated),
        refused(file_1999.read_rows("b", 5, 1), Code::LimitInflated),
        refused(file_1999.stats("b"), Code::LimitInflated),
    ] {
        assert_eq!(error.tensor_name(), Some("b"));
    }
    assert!(*file_1999.read("a").unwrap() == data[..1000]);

    fs::write(
        &path,
        file(&framed.join(","), COMPRESSED, &streamed(&data, true)),
    )
    .unwrap();
    assert!(*limited(3000).read("b").unwrap() == data[1000..]);
    let error = refused(limited(2999).read("b"), Code::LimitInflated);
    assert_eq!(error.tensor_name(), Some("b"));
}

/// Every way of reading it agrees that nothing needs no frames; `verify` looks at them.
#[test]
fn an_empty_tensor_is_read_whatever_the_seek_table_is_like() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    let specs = [TensorSpec::new("empty", Dtype::F32, [0, 4])];
    let mut options = WriteOptions::default();
    options.compress = Some(3);
    let writer = TensorWriter::create(&path, &specs, &Default::default(), &options).unwrap();
    writer.finish().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let end = bytes.len();
    bytes[end - 9] ^= 1; // the number of frames
    fs::write(&path, &bytes).unwrap();
    let file = TensorFile::open(&path).unwrap();
    assert_eq!(file.read("empty").unwrap().len(), 0);
    assert_eq!(file.read_many(&[0], &mut ()).unwrap()[0].len(), 0);
    assert!(file.stats("empty").is_ok());
    file.read_into("empty", &mut []).unwrap();
    deathtensors::to_safetensors(
        &path,
        folder.path().join("out"),
        &OpenOptions::default(),
        &mut (),
    )
    .unwrap();
    let found = file.verify(&mut ()).unwrap();
    assert_eq!(found.frames, Some(false));
    assert_eq!(found.errors[0].code(), Code::FramesTable);
}

/// Frames are decoded by several threads, whichever comes first.
#[test]
fn of_several_faults_the_first_in_the_file_is_told_every_time() {
    const FRAMES: usize = 64;
    const LENGTH: usize = 100_000;
    let frames: Vec<_> = (0..FRAMES)
        .map(|nth| {
            let mut stored = sized(&noise(LENGTH, nth as u64));
            let end = stored.len();
            match nth {
                0..5 => {}
                5 => stored[end - 1] ^= 1,          // a checksum
                _ => stored = sized(&noise(10, 1)), // too short
            }
            (stored, LENGTH)
        })
        .collect();
    let bytes = file(
        &entry("a", 0, FRAMES * LENGTH),
        COMPRESSED,
        &blob_of(&frames),
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    fs::write(&path, &bytes).unwrap();
    for _ in 0..20 {
        let file = TensorFile::open(&path).unwrap();
        let codes = [
            file.read("a").unwrap_err().code(),
            file.read_many(&[0], &mut ()).unwrap_err().code(),
            file.digest(0).unwrap_err().code(),
            file.verify(&mut ()).unwrap().errors[0].code(),
        ];
        assert_eq!(codes, [Code::FramesChecksum; 4]);
    }
}
