//! Copying tensors between files, and telling files apart.

use crate::support::{Model, With, flip, names_in, refused, until};
use deathtensors::{
    Code, Dtype, OpenOptions, Part, ShardedFile, TensorFile, copy_tensors, copy_tensors_sharded,
    diff,
};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

fn model() -> Model {
    let mut model = Model::default()
        .saying("author", "somebody")
        .with("a", Dtype::F32, &[300])
        .with("b", Dtype::F32, &[30, 30])
        .tied("tied", 1)
        .with("empty", Dtype::F32, &[0])
        .with("empty too", Dtype::F32, &[0])
        .with("c", Dtype::F64, &[2000]);
    model.specs[1].metadata = BTreeMap::from([("unit".into(), "m".into())]);
    model
}

fn parts<'a>(file: &'a TensorFile, names: &'a [String]) -> Vec<Part<'a>> {
    let names = names.iter().enumerate();
    names.map(|(nth, name)| Part { file, nth, name }).collect()
}

/// A file that holds `model`, in another way than it will be copied.
fn source(folder: &Path, with: With) -> TensorFile {
    let path = folder.join("source.deathtensors");
    model().write(&path, &with.options());
    TensorFile::open(path).unwrap()
}

#[test]
fn copies_are_the_files_that_a_save_would_make() {
    let folder = tempfile::tempdir().unwrap();
    let (copy, saved) = (folder.path().join("copy"), folder.path().join("saved"));
    for from in [With::PLAIN, With::FRAMES, With::DIGESTS] {
        let file = source(folder.path(), from);
        let names: Vec<_> = file
            .header()
            .tensors()
            .map(|t| t.name.to_string())
            .collect();
        for to in With::ALL {
            let metadata = model().metadata;
            copy_tensors(
                &copy,
                &parts(&file, &names),
                &metadata,
                &to.options(),
                &mut (),
            )
            .unwrap();
            model().write(&saved, &to.options());
            assert!(
                fs::read(&copy).unwrap() == fs::read(&saved).unwrap(),
                "{from:?} {to:?}"
            );
        }
    }
}

#[test]
fn parts_of_many_files_keep_their_ties_and_take_new_names() {
    let folder = tempfile::tempdir().unwrap();
    let file = source(folder.path(), With::FRAMES);
    let path = folder.path().join("other.deathtensors");
    Model::default()
        .with("x", Dtype::F32, &[30, 30])
        .write(&path, &With::PLAIN.options());
    let other = TensorFile::open(&path).unwrap();
    let chosen = [
        Part {
            file: &file,
            nth: 2,
            name: "first",
        },
        Part {
            file: &other,
            nth: 0,
            name: "foreign",
        },
        Part {
            file: &file,
            nth: 1,
            name: "second",
        },
        Part {
            file: &file,
            nth: 2,
            name: "third",
        },
        Part {
            file: &other,
            nth: 0,
            name: "foreign too",
        },
    ];
    let none = BTreeMap::new();
    let copy = folder.path().join("copy.deathtensors");
    copy_tensors(&copy, &chosen, &none, &With::PLAIN.options(), &mut ()).unwrap();
    let copied = TensorFile::open(&copy).unwrap();
    let at = |name| copied.header().get(name).unwrap().data();
    assert_eq!((at("first"), at("first")), (at("second"), at("third")));
    assert_eq!(at("foreign"), at("foreign too"));
    assert_eq!(copied.catalogue().data_bytes(), 2 * 3600);
    assert!(*copied.read("second").unwrap() == *model().data[1]);
    assert!(*copied.read("foreign").unwrap() == *other.read("x").unwrap());
    assert_eq!(
        copied.header().get("second").unwrap().metadata.get("unit"),
        Some("m")
    );

    let twice = [chosen[0], chosen[0]];
    let refusal = copy_tensors(&copy, &twice, &none, &With::PLAIN.options(), &mut ());
    refused(refusal, Code::UsageDuplicateName);
    let beyond = [Part {
        nth: 6,
        ..chosen[0]
    }];
    let refusal = copy_tensors(&copy, &beyond, &none, &With::PLAIN.options(), &mut ());
    refused(refusal, Code::TensorNotFound);
}

// Windows lets nobody change a file that is open here.
#[cfg(not(windows))]
#[test]
fn a_file_can_be_copied_over_itself() {
    let folder = tempfile::tempdir().unwrap();
    for (from, to) in [(With::PLAIN, With::FRAMES), (With::FRAMES, With::PLAIN)] {
        let file = source(folder.path(), from);
        let names: Vec<_> = file
            .header()
            .tensors()
            .map(|t| t.name.to_string())
            .collect();
        let path = file.path().to_path_buf();
        let none = BTreeMap::new();
        copy_tensors(&path, &parts(&file, &names), &none, &to.options(), &mut ()).unwrap();
        model().assert_in(&file);
        model().assert_is(&path);
    }
}

#[test]
fn copies_in_shards_hold_the_same_and_keep_ties_within_each() {
    let folder = tempfile::tempdir().unwrap();
    let file = source(folder.path(), With::FRAMES);
    let names: Vec<_> = file
        .header()
        .tensors()
        .map(|t| t.name.to_string())
        .collect();
    let path = folder.path().join("m.deathtensors");
    for (most, shards) in [(1, 5), (4000, 4), (9000, 2), (1 << 20, 1)] {
        let all = parts(&file, &names);
        let options = With::DIGESTS.options();
        let metadata = model().metadata;
        let paths = copy_tensors_sharded(&path, &all, most, &metadata, &options, &mut ()).unwrap();
        assert_eq!(paths.len(), shards, "{most}");
        let sharded = ShardedFile::open(&path, &OpenOptions::default(), true).unwrap();
        for (spec, data) in model().specs.iter().zip(&model().data) {
            assert!(*sharded.file(&spec.name).unwrap().read(&spec.name).unwrap() == **data);
        }
    }
}

#[test]
fn a_damaged_source_leaves_no_copy() {
    let folder = tempfile::tempdir().unwrap();
    let file = source(folder.path(), With::FRAMES);
    flip(file.path(), file.catalogue().blob().start + 5000);
    let names: Vec<_> = file
        .header()
        .tensors()
        .map(|t| t.name.to_string())
        .collect();
    let copy = folder.path().join("copy");
    let none = BTreeMap::new();
    let result = copy_tensors(
        &copy,
        &parts(&file, &names),
        &none,
        &With::PLAIN.options(),
        &mut (),
    );
    let error = refused(result, Code::FramesChecksum);
    assert!(error.tensor_name().is_some());
    assert_eq!(names_in(folder.path()), ["source.deathtensors"]);
}

fn two(folder: &Path, a: (&Model, With), b: (&Model, With)) -> (TensorFile, TensorFile) {
    let paths = ["a.deathtensors", "b.deathtensors"].map(|name| folder.join(name));
    a.0.write(&paths[0], &a.1.options());
    b.0.write(&paths[1], &b.1.options());
    (
        TensorFile::open(&paths[0]).unwrap(),
        TensorFile::open(&paths[1]).unwrap(),
    )
}

#[test]
fn equal_tensors_are_equal_however_they_are_stored() {
    let folder = tempfile::tempdir().unwrap();
    for left in With::ALL {
        for right in With::ALL {
            let (a, b) = two(folder.path(), (&model(), left), (&model(), right));
            for compare_bytes in [false, true] {
                assert!(diff(&a, &b, compare_bytes, &mut ()).unwrap().is_empty());
            }
        }
    }
}

#[test]
fn every_difference_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut other = Model::default()
        .saying("author", "anybody")
        .with("a", Dtype::F32, &[300])
        .with("b", Dtype::F32, &[900])
        .with("tied", Dtype::F32, &[30, 30])
        .with("empty", Dtype::F64, &[0])
        .with("c", Dtype::F64, &[2000])
        .with("z", Dtype::U8, &[1]);
    other.data[2].clone_from(&model().data[1]);
    other.data[2][3599] ^= 1;
    other.data[4].clone_from(&model().data[5]);
    for left in [With::PLAIN, With::FRAMES, With::DIGESTS] {
        for right in [With::PLAIN, With::FRAMES, With::DIGESTS] {
            let (a, b) = two(folder.path(), (&model(), left), (&other, right));
            let found = diff(&a, &b, false, &mut ()).unwrap();
            assert!(!found.is_empty());
            let headers = found.headers;
            assert_eq!(headers.added, ["z"]);
            assert_eq!(headers.removed, ["empty too"]);
            assert_eq!(headers.shape_changed, [("b", &[30, 30][..], &[900][..])]);
            assert_eq!(headers.dtype_changed, [("empty", Dtype::F32, Dtype::F64)]);
            assert_eq!(headers.value_changed, ["tied"]);
            let metadata: Vec<_> = headers.metadata_changed.iter().map(|m| m.0).collect();
            assert_eq!(metadata, ["b"]);
            let (ours, theirs) = headers.global_metadata_changed.unwrap();
            assert_eq!(ours.get("author"), Some("somebody"));
            assert_eq!(theirs.get("author"), Some("anybody"));
            assert!(headers.undecided.is_empty());
        }
    }
}

#[test]
fn with_digests_only_headers_are_read() {
    let folder = tempfile::tempdir().unwrap();
    for (with, damaged) in [
        (With::DIGESTS, None),
        (
            With {
                compress: true,
                ..With::DIGESTS
            },
            Some(Code::FramesChecksum),
        ),
    ] {
        let (a, b) = two(folder.path(), (&model(), with), (&model(), with));
        drop(b);
        let path = folder.path().join("b.deathtensors");
        let start = a.catalogue().blob().start;
        (0..3).for_each(|n| flip(&path, start + 600 + 3000 * n));
        let b = TensorFile::open(&path).unwrap();
        assert!(diff(&a, &b, false, &mut ()).unwrap().is_empty());
        let bytes = diff(&a, &b, true, &mut ());
        match damaged {
            None => assert_eq!(
                bytes.unwrap().headers.value_changed,
                ["a", "b", "c", "tied"]
            ),
            Some(code) => assert!(refused(bytes, code).tensor_name().is_some()),
        }
    }
}

#[test]
fn without_digests_on_both_sides_bytes_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = two(
        folder.path(),
        (&model(), With::DIGESTS),
        (&model(), With::PLAIN),
    );
    drop(b);
    let path = folder.path().join("b.deathtensors");
    let last = fs::metadata(&path).unwrap().len() - 1;
    flip(&path, last);
    let b = TensorFile::open(&path).unwrap();
    let found = diff(&a, &b, false, &mut ()).unwrap();
    assert_eq!(found.headers.value_changed, ["c"]);
}

/// Long enough to be compared in several steps and by several threads.
#[test]
fn a_single_byte_of_a_long_tensor_is_a_difference() {
    const LONG: usize = (17 << 20) + 3;
    let folder = tempfile::tempdir().unwrap();
    let mut model = Model::default().with("long", Dtype::U8, &[8]);
    model.specs[0].shape = vec![LONG as u64];
    model.data[0] = vec![7; LONG];
    let (a, b) = two(folder.path(), (&model, With::PLAIN), (&model, With::PLAIN));
    assert!(diff(&a, &b, false, &mut ()).unwrap().is_empty());
    drop(b);
    let path = folder.path().join("b.deathtensors");
    let start = a.catalogue().blob().start;
    for at in [0, 4 << 20, (8 << 20) - 1, 8 << 20, LONG as u64 - 1] {
        flip(&path, start + at);
        let b = TensorFile::open(&path).unwrap();
        let mut progress = until(u64::MAX);
        let found = diff(&a, &b, false, &mut progress).unwrap();
        assert_eq!(found.headers.value_changed, ["long"], "{at}");
        assert_eq!(
            (progress.total, progress.done),
            (Some(LONG as u64), LONG as u64)
        );
        flip(&path, start + at);
    }
}
