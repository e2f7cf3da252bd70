//! Opening with a root: only the right file, and only its right bytes.

use crate::support::{Model, With, backend, flip, refused};
use deathtensors::core::digest::{Digest, hex};
use deathtensors::{Backend, Code, Dtype, OpenOptions, Piece, RangeSource, TensorFile};
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

fn model() -> Model {
    Model::default()
        .saying("author", "somebody")
        .with("a", Dtype::F32, &[300])
        .with("b", Dtype::F32, &[30, 30])
        .with("c", Dtype::F32, &[500])
        .tied("tied", 1)
}

fn options(root: Digest, way: Backend) -> OpenOptions {
    let mut options = backend(way);
    options.root = Some(root);
    options
}

fn open(path: &Path, root: Digest) -> deathtensors::Result<TensorFile> {
    TensorFile::open_with(path, &options(root, Backend::Auto))
}

fn root(path: &Path) -> Digest {
    *TensorFile::open(path).unwrap().header().root().unwrap()
}

#[test]
fn another_root_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    for with in With::ALL.into_iter().filter(|with| with.digests) {
        model().write(&path, &with.options());
        let root = root(&path);
        model().assert_in(&open(&path, root).unwrap());
        let mut wrong = root;
        wrong[31] ^= 1;
        let error = refused(open(&path, wrong), Code::IntegrityRoot);
        assert_eq!(error.path(), Some(&*path));
        // Another model has another root, and so has other metadata.
        model()
            .saying("author", "anybody")
            .write(&path, &with.options());
        refused(open(&path, root), Code::IntegrityRoot);
    }
}

#[test]
fn the_root_does_not_depend_on_how_the_file_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    let mut roots = Vec::new();
    for with in With::ALL.into_iter().filter(|with| with.digests) {
        model().write(&path, &with.options());
        roots.push(root(&path));
    }
    assert_eq!(roots.len(), 4);
    assert!(roots.iter().all(|root| *root == roots[0]));
}

#[test]
fn a_changed_header_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    model().write(&path, &With::DIGESTS.options());
    let root = root(&path);
    let bytes = fs::read(&path).unwrap();
    let at = bytes.windows(8).position(|w| w == b"somebody").unwrap();
    flip(&path, at as u64);
    refused(open(&path, root), Code::IntegrityRoot);
}

#[test]
fn files_that_a_root_cannot_pin_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    model().write(&path, &With::PLAIN.options());
    refused(open(&path, [0; 32]), Code::IntegrityRoot);

    // A root over a header that leaves a tensor's digest out pins nothing.
    let json = |root: &str| {
        format!(
            r#"{{"format":"deathtensors","format_version":1,"root_sha256":"{root}","tensors":{{"t":{{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}}}}}"#
        )
    };
    let digest = deathtensors::digest::sha256(json(&"0".repeat(64)).as_bytes());
    let json = json(&deathtensors::digest::hex(&digest));
    let mut bytes = b"DTLEGION".to_vec();
    bytes.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend_from_slice(&(json.len() as u64).to_le_bytes());
    bytes.extend_from_slice(json.as_bytes());
    bytes.resize(bytes.len().next_multiple_of(8) + 1, 0);
    fs::write(&path, bytes).unwrap();
    assert_eq!(root(&path), digest);
    assert!(
        TensorFile::open(&path)
            .unwrap()
            .verify(&mut ())
            .unwrap()
            .is_sound()
    );
    let error = refused(open(&path, digest), Code::IntegrityRoot);
    assert_eq!(error.tensor_name(), Some("t"));
}

#[test]
fn a_tampered_tensor_is_refused_at_first_read_and_others_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    model().write(&path, &With::DIGESTS.options());
    let root = root(&path);
    let file = TensorFile::open(&path).unwrap();
    let b = file
        .catalogue()
        .locate(file.header().get("b").unwrap().data())
        .unwrap();
    drop(file);
    // The last row; others must be refused as well.
    flip(&path, b.end - 1);
    for way in [Backend::Mmap, Backend::Pread] {
        for name in ["b", "tied"] {
            let nth = model().specs.iter().position(|s| s.name == name).unwrap();
            let fresh = || TensorFile::open_with(&path, &options(root, way)).unwrap();
            let data = fresh().tensor(nth).unwrap().data();
            let code = Code::IntegrityTensor;
            for error in [
                refused(fresh().read(name), code),
                refused(fresh().read_rows(name, 0, 1), code),
                refused(fresh().read_into(name, &mut [0; 3600]), code),
                refused(fresh().read_owned(nth, data.clone()), code),
                refused(fresh().prepare(nth), code),
                refused(fresh().stats(name), code),
                refused(fresh().all_stats(&mut ()), code),
            ] {
                assert!(matches!(error.tensor_name(), Some("b" | "tied")));
                assert_eq!(error.path(), Some(&*path));
            }
            assert!(fresh().borrow(nth, &data).is_none());
            if way == Backend::Mmap {
                refused(fresh().view(nth, &data, 4), code);
            }
            let file = fresh();
            for _ in 0..2 {
                refused(file.read(name), code);
                assert!(*file.read("a").unwrap() == *model().data[0]);
                assert!(*file.read_rows("c", 10, 2).unwrap() == model().data[2][40..48]);
            }
        }
    }
}

#[test]
fn a_tampered_frame_is_refused_even_when_it_is_a_sound_frame() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    let with = With {
        compress: true,
        ..With::DIGESTS
    };
    model().write(&path, &with.options());
    let (root, start, frame) = {
        let file = TensorFile::open(&path).unwrap();
        let data = file.header().get("b").unwrap().data();
        let table = file.frames().unwrap().unwrap();
        let frame = table.frame(table.covering(&data).start).unwrap();
        (root(&path), file.catalogue().blob().start, frame)
    };
    // Noise is stored, so that a frame of other noise is just as long.
    let other = crate::support::sized(&crate::support::noise(1024, 99));
    assert_eq!(other.len() as u64, frame.stored.end - frame.stored.start);
    let mut bytes = fs::read(&path).unwrap();
    let at = (start + frame.stored.start) as usize;
    bytes[at..at + other.len()].copy_from_slice(&other);
    fs::write(&path, bytes).unwrap();
    assert!(TensorFile::open(&path).unwrap().read("b").is_ok());
    for way in [Backend::Mmap, Backend::Pread] {
        let file = TensorFile::open_with(&path, &options(root, way)).unwrap();
        // Of rows that come from sound frames, too.
        let error = refused(file.read_rows("b", 29, 1), Code::IntegrityTensor);
        assert_eq!(error.tensor_name(), Some("b"));
        refused(file.read("tied"), Code::IntegrityTensor);
        assert!(*file.read("c").unwrap() == *model().data[2]);
    }
}

/// Brings one content at first, and another later.
#[derive(Debug)]
struct Turncoat {
    first: Vec<u8>,
    later: Vec<u8>,
    calls: AtomicUsize,
}

impl RangeSource for Turncoat {
    fn len(&self) -> u64 {
        self.first.len() as u64
    }

    fn fetch(&self, ranges: &[Range<u64>]) -> deathtensors::Result<Vec<Piece>> {
        let bytes = match self.calls.fetch_add(1, Ordering::Relaxed) {
            0 => &self.first,
            _ => &self.later,
        };
        let piece = |range: &Range<u64>| {
            let part = &bytes[range.start as usize..range.end as usize];
            Box::new(part.to_vec()) as Piece
        };
        Ok(ranges.iter().map(piece).collect())
    }
}

/// A header that was changed while it was parsed, and was put back before its root is asked
/// for, would bring digests of its own choice.
#[test]
fn the_root_is_of_the_header_that_was_parsed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    model().write(&path, &With::DIGESTS.options());
    let root = root(&path);
    let right = fs::read(&path).unwrap();
    let digest = hex(&TensorFile::open(&path).unwrap().digest(0).unwrap());
    let at = right
        .windows(digest.len())
        .position(|bytes| bytes == digest.as_bytes())
        .unwrap();
    let mut wrong = right.clone();
    wrong[at] = if wrong[at] == b'0' { b'1' } else { b'0' };
    let open = |first: &[u8]| {
        let source = Turncoat {
            first: first.to_vec(),
            later: right.clone(),
            calls: AtomicUsize::new(0),
        };
        TensorFile::open_ranges(&path, Arc::new(source), &options(root, Backend::Auto))
    };
    model().assert_in(&open(&right).unwrap());
    refused(open(&wrong), Code::IntegrityRoot);
}
