//! Ways to read: views, copies, many threads, and what is refused.

use crate::support::{COMPRESSED, Model, With, backend, entry, file, noise, refused, streamed};
use deathtensors::{Backend, Code, Dtype, OpenOptions, TensorFile};
use std::fs;
use std::thread;

fn model() -> Model {
    Model::default()
        .with("a", Dtype::U8, &[3])
        .with("b", Dtype::F32, &[300, 40])
        .tied("tied", 1)
        .with("c", Dtype::Bf16, &[5000])
        .with("scalar", Dtype::F64, &[])
        .with("empty", Dtype::F64, &[0, 4])
        .with("bits", Dtype::F4, &[6, 3])
}

#[test]
fn many_threads_read_one_file_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    let model = model();
    let check = |file: &TensorFile| {
        thread::scope(|scope| {
            for worker in 0..8u64 {
                let model = &model;
                scope.spawn(move || {
                    for round in 0..6 {
                        let turn = worker * 6 + round;
                        let nth = turn as usize % model.specs.len();
                        let name = &model.specs[nth].name;
                        assert!(*file.read(name).unwrap() == *model.data[nth]);
                        let row = turn * 7 % 300;
                        let found = file.read_rows("tied", row, 1).unwrap();
                        let at = row as usize * 160;
                        assert!(*found == model.data[1][at..at + 160]);
                        let data = file.tensor(3).unwrap().data();
                        assert!(*file.read_owned(3, data).unwrap() == *model.data[3]);
                        if turn % 16 == 0 {
                            assert!(file.verify(&mut ()).unwrap().is_sound());
                        }
                    }
                });
            }
        });
    };
    for with in [
        With::PLAIN,
        With::FRAMES,
        With {
            compress: true,
            ..With::DIGESTS
        },
    ] {
        model.write(&path, &with.options());
        let root = TensorFile::open(&path).unwrap().header().root().copied();
        for way in [Backend::Mmap, Backend::Pread] {
            let mut options = backend(way);
            options.root = root;
            check(&TensorFile::open_with(&path, &options).unwrap());
        }
    }
    // Without a table the first to come decodes for all.
    let data = noise(20_000, 1);
    let tensors = [entry("x", 0, 9_000), entry("y", 9_000, 20_000)].join(",");
    fs::write(&path, file(&tensors, COMPRESSED, &streamed(&data, true))).unwrap();
    let file = TensorFile::open(&path).unwrap();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert!(*file.read("y").unwrap() == data[9_000..]));
        }
    });
}

#[test]
fn views_are_of_the_tensor_and_copies_are_where_there_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    for with in [With::PLAIN, With::FRAMES] {
        model().write(&path, &with.options());
        for way in [Backend::Auto, Backend::Mmap, Backend::Pread] {
            let file = TensorFile::open_with(&path, &backend(way)).unwrap();
            let mapped = !with.compress && way != Backend::Pread;
            for (nth, data) in model().data.iter().enumerate() {
                let span = file.tensor(nth).unwrap().data();
                let step = file.tensor(nth).unwrap().dtype.alignment();
                let borrowed = file.borrow(nth, &span);
                assert_eq!(borrowed.is_some(), mapped);
                assert!(borrowed.is_none_or(|bytes| bytes == data));
                let view = file.view(nth, &span, step).unwrap();
                assert_eq!(view.is_some(), mapped);
                if let Some((map, part)) = view {
                    assert_eq!(part.len(), data.len());
                    let located = file.catalogue().locate(span).unwrap();
                    assert_eq!(part.start as u64, located.start);
                    let address = map.address(&part).unwrap() as u64;
                    assert_eq!(address % step, 0);
                    assert!(map.address(&(0..map.len() + 1)).is_none());
                }
            }
        }
    }
    // A view of a span that is not aligned as asked for is none.
    model().write(&path, &With::PLAIN.options());
    let file = TensorFile::open(&path).unwrap();
    assert!(file.view(0, &(1..3), 2).unwrap().is_none());
    assert!(file.view(0, &(2..3), 2).unwrap().is_some());
}

#[test]
fn what_does_not_exist_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    for with in [With::PLAIN, With::FRAMES] {
        model().write(&path, &with.options());
        for way in [Backend::Mmap, Backend::Pread] {
            let file = TensorFile::open_with(&path, &backend(way)).unwrap();
            let error = refused(file.read("B"), Code::TensorNotFound);
            assert_eq!(
                (error.tensor_name(), error.path()),
                (Some("B"), Some(&*path))
            );
            refused(file.tensor(7), Code::TensorNotFound);
            for (start, count) in [(0, 301), (300, 1), (301, 0), (u64::MAX, 2), (1, u64::MAX)] {
                let error = refused(file.read_rows("b", start, count), Code::UsageRange);
                assert_eq!(error.tensor_name(), Some("b"));
            }
            refused(file.read_rows("scalar", 0, 1), Code::UsageRange);
            // Three elements of four bits are no whole number of bytes.
            refused(file.read_rows("bits", 1, 1), Code::UsageRange);
            assert!(*file.read_rows("bits", 2, 4).unwrap() == model().data[6][3..]);
            assert!(file.read_rows("b", 300, 0).unwrap().is_empty());
            assert!(file.read_rows("empty", 0, 0).unwrap().is_empty());
            let error = refused(file.read_into("a", &mut [0; 4]), Code::UsageDataSize);
            assert_eq!(error.tensor_name(), Some("a"));
        }
    }
}

#[test]
fn what_is_no_file_of_ours_is_refused_by_both_backends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    model().write(&path, &With::PLAIN.options());
    let sound = fs::read(&path).unwrap();
    for way in [Backend::Auto, Backend::Mmap, Backend::Pread] {
        let open = |path: &std::path::Path| TensorFile::open_with(path, &backend(way));
        for (bytes, code) in [
            (&b""[..], Code::PrefixTruncated),
            (&sound[..5], Code::PrefixTruncated),
            (&sound[..23], Code::PrefixTruncated),
            (&sound[..24], Code::HeaderTruncated),
            (&sound[..200], Code::HeaderTruncated),
            (&sound[..sound.len() - 1], Code::TensorBounds),
            (b"PK\x03\x04 and more than that", Code::PrefixMagic),
        ] {
            fs::write(&path, bytes).unwrap();
            let error = refused(open(&path), code);
            assert_eq!(error.path(), Some(&*path));
        }
        refused(open(folder.path()), Code::Io);
        let error = refused(open(&folder.path().join("none")), Code::FileNotFound);
        assert!(error.os_error().is_some());
    }
}

#[test]
fn limits_are_those_of_the_options() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    model().write(&path, &With::PLAIN.options());
    let with = |change: fn(&mut OpenOptions)| {
        let mut options = OpenOptions::default();
        change(&mut options);
        TensorFile::open_with(&path, &options)
    };
    assert!(with(|o| o.limits.tensors = 7).is_ok());
    refused(with(|o| o.limits.tensors = 6), Code::LimitTensors);
    refused(with(|o| o.limits.header_bytes = 100), Code::LimitHeader);
    refused(with(|o| o.limits.name_bytes = 5), Code::LimitName);
    refused(with(|o| o.limits.rank = 1), Code::LimitRank);
    refused(with(|o| o.limits.depth = 2), Code::HeaderDepth);
}
