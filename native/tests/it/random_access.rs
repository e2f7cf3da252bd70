//! Reading a part costs only the frames of that part: every other frame may be
//! broken, and nobody notices.

use crate::support::{
    COMPRESSED, Model, SMALL_FRAMES, With, backend, blob_of, entry, file, flip, noise, refused,
    sized,
};
use deathtensors::{Backend, Code, Dtype, Kind, TensorFile};
use std::fs;
use std::ops::Range;
use std::path::Path;

/// Rows of 256 bytes, four to a frame.
const ROWS: u64 = 64;
const ROWS_PER_FRAME: u64 = 4;

fn table() -> Model {
    Model::default()
        .with("before", Dtype::F32, &[600])
        .with("rows", Dtype::F32, &[ROWS, 64])
        .with("after", Dtype::F32, &[600])
}

/// Damages the stored bytes of frames.
fn damage(path: &Path, mut which: impl FnMut(usize, &Range<u64>) -> bool) -> usize {
    let file = TensorFile::open(path).unwrap();
    let start = file.catalogue().blob().start;
    let frames = file.frames().unwrap().unwrap();
    let hit: Vec<_> = frames
        .frames()
        .enumerate()
        .filter(|(nth, frame)| which(*nth, &frame.data))
        .map(|(_, frame)| frame.stored)
        .collect();
    drop(file);
    for stored in &hit {
        flip(path, start + (stored.start + stored.end) / 2);
    }
    hit.len()
}

#[test]
fn rows_are_read_though_all_other_frames_are_broken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    let model = table();
    let rows = &model.data[1];
    for (start, count) in [(0, 1), (3, 1), (4, 4), (5, 10), (63, 1), (20, 1), (30, 0)] {
        model.write(&path, &With::FRAMES.options());
        let base = TensorFile::open(&path)
            .unwrap()
            .header()
            .get("rows")
            .unwrap()
            .start;
        let wanted = base + start * 256..base + (start + count) * 256;
        let broken = damage(&path, |_, data| {
            data.end <= wanted.start || wanted.end <= data.start || wanted.is_empty()
        });
        let covering = (start + count).div_ceil(ROWS_PER_FRAME) - start / ROWS_PER_FRAME;
        let covering = if count == 0 { 0 } else { covering };
        let file = TensorFile::open(&path).unwrap();
        let frames = file.frames().unwrap().unwrap();
        assert_eq!(broken as u64, frames.len() as u64 - covering);
        for way in [Backend::Mmap, Backend::Pread] {
            let file = TensorFile::open_with(&path, &backend(way)).unwrap();
            let found = file.read_rows("rows", start, count).unwrap();
            assert!(*found == rows[(start * 256) as usize..((start + count) * 256) as usize]);
            for name in ["before", "rows", "after"] {
                let error = refused(file.read(name), Code::FramesChecksum);
                assert_eq!(error.tensor_name(), Some(name));
            }
        }
    }
}

#[test]
fn a_broken_frame_refuses_its_rows_and_its_tensor_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    let model = table();
    model.write(&path, &With::FRAMES.options());
    let base = TensorFile::open(&path)
        .unwrap()
        .header()
        .get("rows")
        .unwrap()
        .start;
    assert_eq!(
        damage(&path, |_, data| data.start == base + 5 * SMALL_FRAMES),
        1
    );
    let file = TensorFile::open(&path).unwrap();
    for row in 0..ROWS {
        let found = file.read_rows("rows", row, 1);
        if row / ROWS_PER_FRAME == 5 {
            let error = refused(found, Code::FramesChecksum);
            assert_eq!(error.tensor_name(), Some("rows"));
            assert_eq!(error.path(), Some(&*path));
        } else {
            let at = row as usize * 256;
            assert!(*found.unwrap() == model.data[1][at..at + 256]);
        }
    }
    assert_eq!(
        file.read("rows").map(drop).unwrap_err().kind(),
        Kind::Integrity
    );
    assert!(*file.read("before").unwrap() == *model.data[0]);
    assert!(*file.read("after").unwrap() == *model.data[2]);
    assert!(file.stats("rows").is_err() && file.stats("after").is_ok());
}

#[test]
fn small_tensors_share_a_frame_and_are_still_read_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    let mut model = Model::default();
    for nth in 0..40 {
        model = model.with(&format!("t{nth}"), Dtype::I16, &[50]);
    }
    model.write(&path, &With::FRAMES.options());
    let file = TensorFile::open(&path).unwrap();
    assert_eq!(file.frames().unwrap().unwrap().len(), 4);
    model.assert_is(&path);
    drop(file);
    damage(&path, |nth, _| nth != 2);
    let file = TensorFile::open(&path).unwrap();
    let sound = (0..40).filter(|nth| file.read(&format!("t{nth}")).is_ok());
    assert_eq!(sound.collect::<Vec<_>>(), Vec::from_iter(20..30));
}

/// Frames so long that only another writer makes them are decoded once and kept.
#[test]
fn rows_of_a_very_long_frame_are_right() {
    const LONG: usize = 40 << 20;
    let mut data = vec![9; LONG];
    data[LONG - 300..].copy_from_slice(&noise(300, 1));
    data[1 << 20..][..300].copy_from_slice(&noise(300, 2));
    let blob = blob_of(&[(sized(&data), LONG)]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    let tensors = [entry("head", 0, 100), entry("long", 100, LONG)];
    fs::write(&path, file(&tensors.join(","), COMPRESSED, &blob)).unwrap();
    let file = TensorFile::open(&path).unwrap();
    assert!(*file.read("head").unwrap() == data[..100]);
    for start in [0, (1 << 20) - 100, LONG - 400] {
        let found = file.read_rows("long", start as u64, 300).unwrap();
        assert!(*found == data[100 + start..400 + start]);
    }
}
