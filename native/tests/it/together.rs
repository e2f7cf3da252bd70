//! Many tensors read at once.

use crate::support::{Model, With, backend, flip, noise, refused, until};
use deathtensors::{Backend, Code, Dtype, OpenOptions, TensorFile};
use std::fs;

/// Tensors that share frames, that fill many, that are empty, and tied ones.
fn model() -> Model {
    Model::default()
        .with("small", Dtype::U8, &[100])
        .with("empty", Dtype::F32, &[0, 7])
        .with("large", Dtype::I16, &[40, 1000])
        .with("odd", Dtype::U8, &[777])
        .tied("tied", 2)
}

#[test]
fn every_way_gives_the_same_bytes() {
    for with in With::ALL {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.deathtensors");
        model().write(&path, &with.options());
        for way in [Backend::Mmap, Backend::Pread] {
            let file = TensorFile::open_with(&path, &backend(way)).unwrap();
            // In any order, and the same one twice.
            for order in [vec![0, 1, 2, 3, 4], vec![3, 2, 2, 0], vec![1], vec![]] {
                let read = file.read_many(&order, &mut ()).unwrap();
                assert_eq!(read.len(), order.len());
                for (nth, bytes) in order.iter().zip(&read) {
                    assert!(**bytes == *model().data[*nth], "{with:?} {way:?} {nth}");
                }
            }
            let mut out = vec![0; 80_000];
            file.read_into_with("large", &mut out, &mut ()).unwrap();
            assert!(out == model().data[2]);
            let short = file.read_into_with("large", &mut out[1..], &mut ());
            refused(short, Code::UsageDataSize);
        }
    }
}

#[test]
fn blobs_of_0_3_0_without_a_table() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    let data = noise(3000, 5);
    let tensors = [("a", 0, 1000), ("b", 1024, 3000)];
    let entries = tensors.map(|(name, start, end)| crate::support::entry(name, start, end));
    let blob = crate::support::streamed(&data, true);
    let file = crate::support::file(&entries.join(","), crate::support::COMPRESSED, &blob);
    fs::write(&path, file).unwrap();
    let file = TensorFile::open(&path).unwrap();
    let read = file.read_many(&[1, 0], &mut ()).unwrap();
    assert!(*read[0] == data[1024..] && *read[1] == data[..1000]);
}

#[test]
fn what_is_wrong_names_its_tensor() {
    for with in [With::FRAMES, With::DIGESTS] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.deathtensors");
        let with = With {
            digests: true,
            ..with
        };
        model().write(&path, &with.options());
        let file = TensorFile::open(&path).unwrap();
        let root = *file.header().root().unwrap();
        let data = file.header().get("odd").unwrap().data();
        let at = match file.frames().unwrap() {
            Some(table) => {
                let last = table.frame(table.covering(&data).end - 1).unwrap();
                file.catalogue().blob().start + last.stored.end - 20
            }
            None => file.catalogue().locate(data).unwrap().start,
        };
        drop(file);
        flip(&path, at);
        let mut options = OpenOptions::default();
        options.root = Some(root);
        let file = TensorFile::open_with(&path, &options).unwrap();
        let error = file.read_many(&[0, 3, 2], &mut ()).unwrap_err();
        assert_eq!(error.tensor_name(), Some("odd"), "{error}");
        if !with.compress {
            assert_eq!(error.code(), Code::IntegrityTensor);
        }
        // Once more, since nothing of it may be remembered as sound.
        assert!(file.read_many(&[3], &mut ()).is_err());
        assert!(file.read("odd").is_err());
        assert!(*file.read_many(&[2], &mut ()).unwrap()[0] == *model().data[2]);
    }
}

#[test]
fn it_reports_and_stops() {
    for with in [With::PLAIN, With::FRAMES] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.deathtensors");
        let model = Model::default().with("w", Dtype::U8, &[20 << 20]);
        model.write(&path, &with.options());
        let file = TensorFile::open_with(&path, &backend(Backend::Pread)).unwrap();
        let mut whole = until(u64::MAX);
        let read = file.read_many(&[0], &mut whole).unwrap();
        assert!(*read[0] == *model.data[0]);
        assert_eq!((whole.total, whole.done), (Some(20 << 20), 20 << 20));
        let stopped = file.read_many(&[0], &mut until(0));
        refused(stopped, Code::IoInterrupted);
    }
}
