//! Whatever is changed after writing is found, and nothing else is blamed.

use crate::support::{
    COMPRESSED, Model, With, backend, blob_of, entry, file, flip, noise, refused, sized, streamed,
};
use deathtensors::{Backend, Code, Dtype, Error, TensorFile, Verification, set_num_threads};
use std::fs;
use std::path::Path;

fn model() -> Model {
    Model::default()
        .saying("author", "somebody")
        .with("a", Dtype::F32, &[300])
        .with("b", Dtype::F32, &[30, 30])
        .tied("tied", 1)
        .with("empty", Dtype::F32, &[0])
        .with("c", Dtype::F32, &[500])
}

/// What every backend and number of threads finds.
fn verify(path: &Path) -> Verification {
    let mut all = Vec::new();
    for threads in [1, 3] {
        for way in [Backend::Mmap, Backend::Pread] {
            set_num_threads(Some(threads));
            let file = TensorFile::open_with(path, &backend(way)).unwrap();
            all.push(file.verify(&mut ()).unwrap());
        }
    }
    set_num_threads(None);
    let first = all.pop().unwrap();
    assert!(first.errors.iter().all(|e| e.path() == Some(path)));
    for found in all {
        assert_eq!(format!("{found:?}"), format!("{first:?}"));
    }
    first
}

fn complaints(found: &Verification) -> Vec<(Code, Option<&str>)> {
    let errors = found.errors.iter();
    errors
        .map(|e: &Error| (e.code(), e.tensor_name()))
        .collect()
}

/// Where the nth tensor's bytes, or their frames, are in the file.
fn place(path: &Path, nth: usize) -> std::ops::Range<u64> {
    let file = TensorFile::open(path).unwrap();
    let data = file.tensor(nth).unwrap().data();
    if let Some(range) = file.catalogue().locate(data.clone()) {
        return range;
    }
    let start = file.catalogue().blob().start;
    let table = file.frames().unwrap().unwrap();
    let frames = table.covering(&data);
    let (first, last) = (table.frame(frames.start), table.frame(frames.end - 1));
    start + first.unwrap().stored.start..start + last.unwrap().stored.end
}

#[test]
fn sound_files_are_sound() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    for with in With::ALL {
        model().write(&path, &with.options());
        let found = verify(&path);
        assert!(found.is_sound(), "{:?}", found.errors);
        assert_eq!(found.has_evidence(), with.checksum || with.digests);
        let file = TensorFile::open(&path).unwrap();
        assert_eq!(file.verify_footer(&mut ()).unwrap(), with.checksum);
        for spec in &model().specs {
            assert_eq!(file.verify_tensor(&spec.name).unwrap(), with.digests);
        }
        refused(file.verify_tensor("none"), Code::TensorNotFound);
    }
}

#[test]
fn a_damaged_footer_is_the_footers_fault_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    for with in With::ALL.into_iter().filter(|with| with.checksum) {
        model().write(&path, &with.options());
        flip(&path, fs::metadata(&path).unwrap().len() - 7);
        let found = verify(&path);
        assert_eq!(found.footer, Some(false));
        assert_eq!(found.root, with.digests.then_some(true));
        assert_eq!(complaints(&found), [(Code::IntegrityFooter, None)]);
        let file = TensorFile::open(&path).unwrap();
        refused(file.verify_footer(&mut ()), Code::IntegrityFooter);
        model().assert_in(&file);
    }
}

#[test]
fn a_damaged_tensor_is_the_only_one_reported() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    for with in With::ALL.into_iter().filter(|with| !with.compress) {
        model().write(&path, &with.options());
        flip(&path, place(&path, 4).start + 1234);
        let found = verify(&path);
        assert_eq!(found.footer, with.checksum.then_some(false));
        assert_eq!(found.root, with.digests.then_some(true));
        let mut expected = Vec::new();
        if with.digests {
            let sound = Some(true);
            assert_eq!(found.tensors, [sound, sound, sound, sound, Some(false)]);
            expected.push((Code::IntegrityTensor, Some("c")));
        }
        if with.checksum {
            expected.push((Code::IntegrityFooter, None));
        }
        assert_eq!(complaints(&found), expected);
        let file = TensorFile::open(&path).unwrap();
        if with.digests {
            let error = refused(file.verify_tensor("c"), Code::IntegrityTensor);
            assert_eq!(error.tensor_name(), Some("c"));
            assert!(file.verify_tensor("b").unwrap());
        }
    }
}

#[test]
fn damage_to_tied_tensors_is_reported_for_both_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    for (with, code) in [
        (With::DIGESTS, Code::IntegrityTensor),
        (With::FRAMES, Code::FramesChecksum),
        (
            With {
                compress: true,
                ..With::DIGESTS
            },
            Code::FramesChecksum,
        ),
    ] {
        model().write(&path, &with.options());
        flip(&path, place(&path, 1).start + 555);
        let found = verify(&path);
        assert_eq!(
            complaints(&found),
            [(code, Some("b")), (code, Some("tied"))]
        );
        let sound = with.digests.then_some(true);
        let bad = Some(false);
        assert_eq!(found.tensors, [sound, bad, bad, sound, sound]);
        assert_eq!(found.frames, with.compress.then_some(false));
    }
}

#[test]
fn a_damaged_header_byte_breaks_the_root() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    for with in With::ALL.into_iter().filter(|with| with.digests) {
        model().write(&path, &with.options());
        let bytes = fs::read(&path).unwrap();
        let at = bytes.windows(8).position(|w| w == b"somebody").unwrap();
        let changed = [&bytes[..at], b"anybody!", &bytes[at + 8..]].concat();
        fs::write(&path, changed).unwrap();
        let found = verify(&path);
        assert_eq!(found.root, Some(false));
        assert_eq!(found.tensors, [Some(true); 5]);
        let mut expected = vec![(Code::IntegrityRoot, None)];
        if with.checksum {
            expected.push((Code::IntegrityFooter, None));
        }
        assert_eq!(complaints(&found), expected);
    }
}

#[test]
fn a_damaged_root_is_found_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    model().write(&path, &With::DIGESTS.options());
    let digits = TensorFile::open(&path)
        .unwrap()
        .header()
        .root_digits()
        .unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let digit = &mut bytes[24 + digits.start + 5];
    *digit = if *digit == b'0' { b'1' } else { b'0' };
    fs::write(&path, bytes).unwrap();
    let found = verify(&path);
    assert_eq!(complaints(&found), [(Code::IntegrityRoot, None)]);
}

#[test]
fn spaces_after_the_header_are_the_footers_business_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    let with = With {
        checksum: true,
        ..With::DIGESTS
    };
    model().write(&path, &with.options());
    let header = TensorFile::open(&path).unwrap().catalogue().header_range();
    let mut bytes = fs::read(&path).unwrap();
    let length = header.end - 24;
    assert_eq!(bytes[header.end as usize - 1], b' ');
    // The same blob after one space less and one byte of padding more.
    bytes[16..24].copy_from_slice(&(length - 1).to_le_bytes());
    bytes[header.end as usize - 1] = 0;
    fs::write(&path, bytes).unwrap();
    let found = verify(&path);
    assert_eq!(complaints(&found), [(Code::IntegrityFooter, None)]);
}

#[test]
fn damaged_frames_are_found_without_any_digest() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    model().write(&path, &With::FRAMES.options());
    flip(&path, place(&path, 4).end - 100);
    let found = verify(&path);
    assert_eq!(found.frames, Some(false));
    assert_eq!((found.footer, found.root), (None, None));
    assert_eq!(found.tensors, [None, None, None, None, Some(false)]);
    assert_eq!(complaints(&found), [(Code::FramesChecksum, Some("c"))]);
}

#[test]
fn a_blob_without_table_is_decoded_to_be_verified() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    let tensors = [entry("a", 0, 500), entry("b", 500, 1000)].join(",");
    let mut blob = streamed(&noise(1000, 1), true);
    fs::write(&path, file(&tensors, COMPRESSED, &blob)).unwrap();
    let found = verify(&path);
    assert!(found.is_sound() && !found.has_evidence());
    assert_eq!(found.frames, Some(true));
    blob[300] ^= 1;
    fs::write(&path, file(&tensors, COMPRESSED, &blob)).unwrap();
    let found = verify(&path);
    let code = Code::FramesChecksum;
    assert_eq!(complaints(&found), [(code, Some("a")), (code, Some("b"))]);
}

/// A file without tensors that a table could fail has its table checked all the same.
#[test]
fn frames_that_no_tensor_needs_are_checked_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    let blob = blob_of(&[(sized(&noise(10, 1)), 10)]);
    fs::write(&path, file("", COMPRESSED, &blob)).unwrap();
    let found = verify(&path);
    assert_eq!(complaints(&found), [(Code::FramesTableSizes, None)]);
    assert_eq!(found.frames, Some(false));
}

#[test]
fn damage_is_not_hidden_by_a_new_footer_or_new_digests() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    let copy = folder.path().join("copy.deathtensors");
    let footed = With {
        checksum: true,
        ..With::PLAIN
    };
    for with in [With::DIGESTS, footed] {
        model().write(&path, &with.options());
        let start = TensorFile::open(&path).unwrap().catalogue().blob().start;
        flip(&path, start);
        let damaged = std::fs::read(&path).unwrap();
        let file = TensorFile::open(&path).unwrap();
        let parts: Vec<_> = (0..file.header().len())
            .map(|nth| deathtensors::Part {
                file: &file,
                nth,
                name: file.header().at(nth).unwrap().name,
            })
            .collect();
        let done = deathtensors::copy_tensors(
            &copy,
            &parts,
            &Default::default(),
            &with.options(),
            &mut (),
        );
        assert_eq!(done.unwrap_err().kind(), deathtensors::Kind::Integrity);
        assert!(!copy.exists());
        if with.options().checksum {
            let appended = deathtensors::TensorWriter::append(
                &path,
                &[],
                &Default::default(),
                &Default::default(),
                &mut (),
            );
            refused(appended, Code::IntegrityFooter);
            assert_eq!(std::fs::read(&path).unwrap(), damaged);
        }
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_is_refused_without_waiting_for_a_writer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    refused(TensorFile::open(&path), Code::Io);
}
