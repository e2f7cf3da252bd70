//! Compressed blobs without a seek table: one frame, as 0.3.0 wrote it, or several.

use crate::support::{
    COMPRESSED, FOOTER, Model, backend, entry, file, noise, refused, sized, streamed,
};
use deathtensors::{AppendOptions, Backend, Code, Dtype, TensorFile, TensorWriter};
use std::fs;
use std::path::Path;

const SPANS: [(usize, usize); 3] = [(0, 3000), (3000, 3000), (3000, 9000)];

fn data() -> Vec<u8> {
    noise(9000, 5)
}

fn write(path: &Path, blob: &[u8]) {
    let tensors = ["a", "empty", "b"].iter().zip(SPANS);
    let tensors: Vec<_> = tensors.map(|(name, s)| entry(name, s.0, s.1)).collect();
    fs::write(path, file(&tensors.join(","), COMPRESSED | FOOTER, blob)).unwrap();
}

#[track_caller]
fn check(file: &TensorFile) {
    let data = data();
    for (name, (start, end)) in ["a", "empty", "b"].into_iter().zip(SPANS) {
        assert!(*file.read(name).unwrap() == data[start..end]);
    }
    assert!(*file.read_rows("b", 1000, 3).unwrap() == data[4000..4003]);
    assert!(file.verify_footer(&mut ()).unwrap());
    assert!(file.verify(&mut ()).unwrap().is_sound());
}

fn append(path: &Path) {
    let more = Model::default().with("more", Dtype::F32, &[500]);
    let none = Default::default();
    let options = AppendOptions::default();
    let mut writer = TensorWriter::append(path, &more.specs, &none, &options, &mut ()).unwrap();
    writer.push(&more.data[0]).unwrap();
    writer.finish().unwrap();
    let file = TensorFile::open(path).unwrap();
    more.assert_in(&file);
    check(&file);
}

#[test]
fn a_single_frame_is_read_and_kept_verbatim_by_append() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    for frame in [
        streamed(&data(), false),
        streamed(&data(), true),
        sized(&data()),
    ] {
        write(&path, &frame);
        for way in [Backend::Mmap, Backend::Pread] {
            let file = TensorFile::open_with(&path, &backend(way)).unwrap();
            assert!(file.frames().unwrap().is_none());
            check(&file);
        }
        append(&path);
        let file = TensorFile::open(&path).unwrap();
        let frames = file.frames().unwrap().unwrap();
        assert_eq!(frames.len(), 2);
        let first = frames.frame(0).unwrap();
        assert_eq!(
            (first.stored.end, first.data),
            (frame.len() as u64, 0..9000)
        );
        let blob = file.catalogue().blob().start as usize;
        assert!(fs::read(&path).unwrap()[blob..].starts_with(&frame));
    }
}

#[test]
fn several_frames_without_a_table_are_read_and_framed_anew_by_append() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    let data = data();
    // The cuts respect no tensor.
    let cuts = [
        &data[..10],
        &data[10..5000],
        &data[5000..5000],
        &data[5000..],
    ];
    let blob: Vec<u8> = cuts.iter().flat_map(|cut| streamed(cut, true)).collect();
    write(&path, &blob);
    for way in [Backend::Mmap, Backend::Pread] {
        let file = TensorFile::open_with(&path, &backend(way)).unwrap();
        assert!(file.frames().unwrap().is_none());
        check(&file);
    }
    append(&path);
    let file = TensorFile::open(&path).unwrap();
    assert_eq!(file.frames().unwrap().unwrap().totals().1, 11_000);
}

// Windows lets nobody change a file that is open here.
#[cfg(not(windows))]
#[test]
fn a_file_without_any_data_is_read_and_appended_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    for blob in [streamed(&[], false), sized(&[])] {
        let tensors = r#""none":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}"#;
        fs::write(&path, file(tensors, COMPRESSED, &blob)).unwrap();
        let file = TensorFile::open(&path).unwrap();
        assert!(file.read("none").unwrap().is_empty());
        assert!(file.verify(&mut ()).unwrap().is_sound());
        let more = Model::default().with("more", Dtype::F32, &[500]);
        let mut writer = TensorWriter::append(
            &path,
            &more.specs,
            &Default::default(),
            &AppendOptions::default(),
            &mut (),
        )
        .unwrap();
        writer.push(&more.data[0]).unwrap();
        writer.finish().unwrap();
        let file = TensorFile::open(&path).unwrap();
        more.assert_in(&file);
        assert!(file.read("none").unwrap().is_empty());
    }
}

#[test]
fn a_single_frame_that_lies_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    let mut checksum = streamed(&data(), true);
    *checksum.last_mut().unwrap() ^= 1;
    let mut cut = streamed(&data(), true);
    cut.truncate(5000);
    let longer = [&*data(), b"x"].concat();
    for (blob, code) in [
        (streamed(&longer, true), Code::FramesInflate),
        (sized(&longer), Code::FramesInflate),
        (streamed(&data()[1..], true), Code::FramesShort),
        (checksum, Code::FramesChecksum),
        (cut, Code::FramesDecode),
        (data(), Code::FramesDecode),
        // Too little for its blocks ever to hold that much.
        (Vec::new(), Code::FramesShort),
    ] {
        write(&path, &blob);
        let file = TensorFile::open(&path).unwrap();
        for name in ["a", "b"] {
            let error = refused(file.read(name), code);
            assert_eq!(error.tensor_name(), Some(name));
        }
    }
}
