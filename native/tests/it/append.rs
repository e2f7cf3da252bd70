//! Appending: old bytes as they were, whatever their order, and new ones after.

use crate::support::{
    COMPRESSED, FOOTER, Model, With, backend, blob_of, entry, file, names_in, noise, refused, sized,
};
use deathtensors::core::Frame;
use deathtensors::core::digest::sha256;
use deathtensors::{AppendOptions, Backend, Code, Dtype, TensorFile, TensorSpec, TensorWriter};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

fn old() -> Model {
    Model::default()
        .saying("kept", "old")
        .with("a", Dtype::U8, &[3])
        .with("b", Dtype::F32, &[100, 30])
        .tied("tied", 1)
        .with("c", Dtype::Bf16, &[0, 5])
        .with("d", Dtype::F64, &[9])
}

fn new() -> Model {
    Model::default()
        .with("n", Dtype::U8, &[5])
        .with("o", Dtype::C128, &[200])
        .tied("p", 1)
        .with("q", Dtype::F16, &[])
}

fn append(path: &Path, model: &Model, options: &AppendOptions) {
    let mut writer =
        TensorWriter::append(path, &model.specs, &model.metadata, options, &mut ()).unwrap();
    writer.push_all(&model.wanted(), &mut ()).unwrap();
    writer.finish().unwrap();
}

/// Frames as they stand, each with its stored bytes.
fn frames(path: &Path) -> Vec<(Frame, Vec<u8>)> {
    let bytes = fs::read(path).unwrap();
    let file = TensorFile::open(path).unwrap();
    let start = file.catalogue().blob().start;
    let stored = |f: &Frame| (start + f.stored.start) as usize..(start + f.stored.end) as usize;
    let frames = file.frames().unwrap().unwrap_or_default();
    frames
        .frames()
        .map(|f| (f.clone(), bytes[stored(&f)].to_vec()))
        .collect()
}

#[test]
fn old_and_new_are_read_and_everything_verifies() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    for with in With::ALL {
        old().write(&path, &with.options());
        append(&path, &new(), &AppendOptions::default());
        let file = TensorFile::open(&path).unwrap();
        old().assert_in(&file);
        new().assert_in(&file);
        let names: Vec<_> = file.header().tensors().map(|t| t.name).collect();
        assert_eq!(names, ["a", "b", "tied", "c", "d", "n", "o", "p", "q"]);
        let flags = file.catalogue().flags();
        assert_eq!(
            (flags.compressed, flags.checksum),
            (with.compress, with.checksum)
        );
        let get = |name| file.header().get(name).unwrap().data();
        assert_eq!((get("b"), get("o")), (get("tied"), get("p")));
        assert_ne!(get("b"), get("o"));
        let found = file.verify(&mut ()).unwrap();
        assert!(found.is_sound(), "{with:?} {:?}", found.errors);
        assert_eq!(found.footer, with.checksum.then_some(true));
        assert_eq!(found.root, with.digests.then_some(true));
        assert_eq!(found.tensors, [with.digests.then_some(true); 9]);
        assert_eq!(file.verify_footer(&mut ()).unwrap(), with.checksum);
        assert_eq!(names_in(folder.path()), ["m.deathtensors"]);
    }
}

#[test]
fn stored_frames_are_kept_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    for with in With::ALL.into_iter().filter(|with| with.compress) {
        old().write(&path, &with.options());
        let before = frames(&path);
        assert!(before.len() > 10);
        let mut options = AppendOptions::default();
        options.compress_level = Some(19);
        append(&path, &new(), &options);
        let after = frames(&path);
        assert!(after.len() > before.len());
        assert!(after[..before.len()] == before);
        append(
            &path,
            &Model::default().with("z", Dtype::I8, &[2000]),
            &options,
        );
        assert!(frames(&path)[..after.len()] == after);
    }
}

/// Old data is not even looked at: broken frames are carried over.
#[test]
fn old_frames_are_not_decoded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    let mut stored = sized(&noise(1000, 1));
    *stored.last_mut().unwrap() ^= 1;
    let blob = blob_of(&[(stored, 1000)]);
    fs::write(&path, file(&entry("broken", 0, 1000), COMPRESSED, &blob)).unwrap();
    append(&path, &new(), &AppendOptions::default());
    let file = TensorFile::open(&path).unwrap();
    new().assert_in(&file);
    let error = refused(file.read("broken"), Code::FramesChecksum);
    assert_eq!(error.tensor_name(), Some("broken"));
}

#[test]
fn digests_are_kept_added_or_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    for (had, asked, has) in [
        (true, None, true),
        (false, None, false),
        (false, Some(true), true),
        (true, Some(true), true),
        (true, Some(false), false),
    ] {
        for with in With::ALL {
            old().write(
                &path,
                &With {
                    digests: had,
                    ..with
                }
                .options(),
            );
            let mut options = AppendOptions::default();
            options.digests = asked;
            append(&path, &new(), &options);
            let file = TensorFile::open(&path).unwrap();
            assert_eq!(file.header().root().is_some(), has);
            for model in [old(), new()] {
                for (spec, data) in model.specs.iter().zip(&model.data) {
                    let tensor = file.header().get(&spec.name).unwrap();
                    assert_eq!(tensor.sha256.copied(), has.then(|| sha256(data)));
                }
            }
            assert!(file.verify(&mut ()).unwrap().is_sound());
        }
    }
}

#[test]
fn metadata_of_the_file_wins_over_extra_metadata() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    let mut model = old();
    model.specs[0].metadata = BTreeMap::from([("unit".into(), "m".into())]);
    model.write(&path, &With::PLAIN.options());
    append(
        &path,
        &new().saying("kept", "new").saying("more", "x"),
        &AppendOptions::default(),
    );
    let file = TensorFile::open(&path).unwrap();
    let global = file.header().global_metadata();
    assert_eq!(
        (global.get("kept"), global.get("more")),
        (Some("old"), Some("x"))
    );
    assert_eq!(
        file.header().get("a").unwrap().metadata.get("unit"),
        Some("m")
    );
}

#[test]
fn alignment_is_that_of_the_options() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    for with in [With::PLAIN, With::FRAMES] {
        old().write(&path, &with.options());
        let mut options = AppendOptions::default();
        options.alignment = Some(256);
        append(&path, &new(), &options);
        let file = TensorFile::open(&path).unwrap();
        for name in ["n", "o", "p", "q"] {
            assert_eq!(file.header().get(name).unwrap().start % 256, 0);
        }
        old().assert_in(&file);
        new().assert_in(&file);
        assert!(file.verify(&mut ()).unwrap().is_sound());
    }
}

#[test]
fn refusals_leave_the_old_file_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    for with in With::ALL {
        old().write(&path, &with.options());
        let before = fs::read(&path).unwrap();
        let start = |model: &Model, options: &AppendOptions| {
            TensorWriter::append(&path, &model.specs, &model.metadata, options, &mut ())
        };
        let same = |name: &str| {
            Model::default()
                .with("n", Dtype::U8, &[1])
                .with(name, Dtype::U8, &[1])
        };
        for name in ["b", "tied", "n"] {
            let error = refused(
                start(&same(name), &Default::default()),
                Code::UsageDuplicateName,
            );
            assert_eq!(error.tensor_name(), Some(name));
        }
        let mut options = AppendOptions::default();
        options.alignment = Some(3);
        refused(start(&new(), &options), Code::UsageOption);
        if with.compress {
            let mut options = AppendOptions::default();
            options.compress_level = Some(23);
            refused(start(&new(), &options), Code::UsageOption);
        }
        let mut half = start(&new(), &Default::default()).unwrap();
        half.push(&new().data[0]).unwrap();
        half.push(&new().data[1][..1000]).unwrap();
        let error = refused(half.finish(), Code::UsageDataSize);
        assert_eq!(error.tensor_name(), Some("o"));
        let mut dropped = start(&new(), &Default::default()).unwrap();
        dropped.push_all(&new().wanted(), &mut ()).unwrap();
        drop(dropped);
        assert!(fs::read(&path).unwrap() == before);
        assert_eq!(names_in(folder.path()), ["m.deathtensors"]);
    }
    let nowhere = folder.path().join("n.deathtensors");
    let none = Default::default();
    let options = AppendOptions::default();
    let missing = TensorWriter::append(&nowhere, &[], &none, &options, &mut ());
    refused(missing, Code::FileNotFound);
    fs::write(&nowhere, b"something else").unwrap();
    let foreign = TensorWriter::append(&nowhere, &[], &none, &options, &mut ());
    refused(foreign, Code::PrefixMagic);
}

#[test]
fn appending_nothing_keeps_everything() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    for with in With::ALL {
        old().write(&path, &with.options());
        let before = fs::read(&path).unwrap();
        append(&path, &Model::default(), &AppendOptions::default());
        assert!(fs::read(&path).unwrap() == before, "{with:?}");
    }
}

prop_compose! {
    /// Spans of an uncompressed blob in any order, with gaps, and its length.
    fn scattered()(
        parts in proptest::collection::vec((0..200usize, 0..700usize, any::<bool>()), 1..8),
        order in Just(()).prop_perturb(|(), mut rng| rng.random::<u64>()),
        rest in 0..50usize,
    ) -> (Vec<(usize, usize)>, usize) {
        let mut at = 0;
        let mut spans = Vec::new();
        for (gap, length, twice) in parts {
            at += gap;
            spans.push((at, at + length));
            if twice {
                spans.push((at, at + length));
            }
            at += length;
        }
        let key = |nth: usize| (nth as u64 + 1).wrapping_mul(order | 1).rotate_left(23);
        let mut keyed: Vec<_> = spans.into_iter().enumerate().collect();
        keyed.sort_by_key(|(nth, _)| key(*nth));
        (keyed.into_iter().map(|(_, span)| span).collect(), at + rest)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// 0.3.0's own append corrupts such files.
    #[test]
    fn gaps_and_any_order_survive((spans, length) in scattered(), with in 0..8usize, cut in 1..2000usize) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.deathtensors");
        let with = With::ALL[with];
        let data = noise(length, 9);
        let tensors = spans.iter().enumerate();
        let tensors: Vec<_> = tensors.map(|(n, s)| entry(&format!("t{n}"), s.0, s.1)).collect();
        let footer = if with.checksum { FOOTER } else { 0 };
        let bytes = match with.compress {
            false => file(&tensors.join(","), footer, &data),
            true => {
                // The blob ends where the last tensor does, as the table must.
                let end = spans.iter().map(|s| s.1).max().unwrap_or(0);
                let frames: Vec<_> = data[..end].chunks(cut).map(|c| (sized(c), c.len())).collect();
                file(&tensors.join(","), footer | COMPRESSED, &blob_of(&frames))
            }
        };
        fs::write(&path, bytes).unwrap();
        let before = frames(&path);
        let mut options = AppendOptions::default();
        options.digests = Some(with.digests);
        append(&path, &new(), &options);
        prop_assert!(frames(&path).starts_with(&before));
        for way in [Backend::Mmap, Backend::Pread] {
            let file = TensorFile::open_with(&path, &backend(way)).unwrap();
            for (nth, &(start, end)) in spans.iter().enumerate() {
                let name = format!("t{nth}");
                prop_assert!(*file.read(&name).unwrap() == data[start..end]);
            }
            new().assert_in(&file);
            let found = file.verify(&mut ()).unwrap();
            prop_assert!(found.is_sound(), "{:?}", found.errors);
            prop_assert_eq!(found.footer, with.checksum.then_some(true));
        }
    }
}

#[test]
fn many_appends_are_the_same_tensors_as_one_save() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    for with in With::ALL {
        Model::default().write(&path, &with.options());
        let mut all = Model::default();
        for nth in 0..6u64 {
            let name = format!("t{nth}");
            let one = Model {
                specs: vec![TensorSpec::new(&*name, Dtype::I32, [nth * 100])],
                data: vec![noise(nth as usize * 400, nth)],
                ..Default::default()
            };
            append(&path, &one, &AppendOptions::default());
            all.specs.extend(one.specs);
            all.data.extend(one.data);
        }
        all.assert_is(&path);
        let file = TensorFile::open(&path).unwrap();
        assert!(file.verify(&mut ()).unwrap().is_sound());
        assert_eq!(file.header().root().is_some(), with.digests);
    }
}

/// Whoever finishes second would undo what the first did.
#[test]
fn of_two_at_once_the_second_is_refused_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    for compress in [false, true] {
        let with = With {
            compress,
            ..With::PLAIN
        };
        old().write(&path, &with.options());
        let begin = |name: &str| {
            let specs = [TensorSpec::new(name, Dtype::U8, [4])];
            let options = AppendOptions::default();
            let mut writer =
                TensorWriter::append(&path, &specs, &BTreeMap::new(), &options, &mut ()).unwrap();
            writer.push(&[1; 4]).unwrap();
            writer
        };
        let (first, second) = (begin("first"), begin("second"));
        first.finish().unwrap();
        let written = fs::read(&path).unwrap();
        refused(second.finish(), Code::IoChanged);
        assert_eq!(fs::read(&path).unwrap(), written);
        assert_eq!(names_in(folder.path()), ["m.deathtensors"]);
        // A file that somebody saved meanwhile stays too.
        let late = begin("late");
        new().write(&path, &With::PLAIN.options());
        let written = fs::read(&path).unwrap();
        refused(late.finish(), Code::IoChanged);
        assert_eq!(fs::read(&path).unwrap(), written);
    }
}

#[test]
fn what_many_threads_append_is_there_or_was_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    old().write(&path, &With::PLAIN.options());
    let done = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (path, done) = (&path, &done);
            scope.spawn(move || {
                for nth in 0..10 {
                    let name = format!("{thread}.{nth}");
                    let specs = [TensorSpec::new(&name, Dtype::U8, [4])];
                    let options = AppendOptions::default();
                    let appended =
                        TensorWriter::append(path, &specs, &BTreeMap::new(), &options, &mut ())
                            .and_then(|mut writer| {
                                writer.push(&[1; 4])?;
                                writer.finish()
                            });
                    match appended {
                        Ok(_) => done.lock().unwrap().push(name),
                        Err(error) => assert_eq!(error.code(), Code::IoChanged, "{error}"),
                    }
                }
            });
        }
    });
    let done = done.into_inner().unwrap();
    assert!(!done.is_empty());
    let file = TensorFile::open(&path).unwrap();
    let there = file.header().tensors().filter(|t| t.name.contains('.'));
    let mut there: Vec<_> = there.map(|t| t.name.to_string()).collect();
    let mut wanted = done;
    there.sort();
    wanted.sort();
    assert_eq!(there, wanted);
}

#[test]
fn nothing_is_appended_to_an_index() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.deathtensors");
    let says = BTreeMap::from([("deathtensors.sharded".into(), "true".into())]);
    let plain = With::PLAIN.options();
    let writer = TensorWriter::create(&path, &[], &says, &plain).unwrap();
    writer.finish().unwrap();
    let before = fs::read(&path).unwrap();
    let model = new();
    let options = AppendOptions::default();
    let appended = TensorWriter::append(&path, &model.specs, &says, &options, &mut ());
    refused(appended, Code::UsageValue);
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(names_in(folder.path()), ["index.deathtensors"]);
}
