//! A file appears whole or not at all, with the right mode, in the right place.

use crate::support::{Model, With, names_in, refused};
use deathtensors::{Code, Dtype, TensorFile, TensorWriter};
use std::fs;

fn model() -> Model {
    Model::default()
        .with("a", Dtype::F32, &[40, 40])
        .with("b", Dtype::U8, &[9])
}

fn other() -> Model {
    Model::default().with("x", Dtype::I64, &[3])
}

#[test]
fn a_writer_that_is_dropped_leaves_no_trace() {
    for with in With::ALL {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.deathtensors");
        for pushed in [0, 1, 6000, 6400, 6409] {
            let mut writer = model().create(&path, &with.options());
            assert!(!path.exists());
            assert_eq!(names_in(folder.path()).len(), 1);
            let all = model().wanted().concat();
            writer.push(&all[..pushed]).unwrap();
            drop(writer);
            assert!(names_in(folder.path()).is_empty());
        }
    }
}

#[test]
fn the_old_file_stands_until_the_new_one_is_finished() {
    for with in With::ALL {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.deathtensors");
        other().write(&path, &with.options());
        let before = fs::read(&path).unwrap();
        let mut writer = model().create(&path, &with.options());
        writer.push(&model().data[0]).unwrap();
        assert!(fs::read(&path).unwrap() == before);
        let error = refused(writer.finish(), Code::UsageDataSize);
        assert_eq!(error.tensor_name(), Some("b"));
        assert!(fs::read(&path).unwrap() == before);

        let mut writer = model().create(&path, &with.options());
        writer.push_all(&model().wanted(), &mut ()).unwrap();
        let sealed = writer.seal().unwrap();
        assert_eq!(sealed.root().is_some(), with.digests);
        let root = sealed.root().copied();
        assert!(fs::read(&path).unwrap() == before);
        sealed.commit().unwrap();
        model().assert_is(&path);
        let file = TensorFile::open(&path).unwrap();
        assert_eq!(file.header().root().copied(), root);
        assert_eq!(names_in(folder.path()), ["m.deathtensors"]);
    }
}

#[test]
fn too_many_bytes_are_refused_and_nothing_can_be_finished_then() {
    for with in With::ALL {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.deathtensors");
        let all = model().wanted().concat();
        for pushed in [0, 100, 6400, 6409] {
            let mut writer = model().create(&path, &with.options());
            writer.push(&all[..pushed]).unwrap();
            let rest = [&all[pushed..], b"x"].concat();
            refused(writer.push(&rest), Code::UsageDataSize);
            refused(writer.push(b""), Code::UsageDataSize);
            refused(writer.finish(), Code::UsageDataSize);
            assert!(names_in(folder.path()).is_empty());
        }
    }
}

#[test]
fn what_no_file_may_hold_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    let options = With::PLAIN.options();
    let create =
        |model: &Model| TensorWriter::create(&path, &model.specs, &model.metadata, &options);
    let twice = model().with("a", Dtype::U8, &[1]);
    refused(create(&twice), Code::UsageDuplicateName);
    refused(
        create(&Model::default().with("", Dtype::U8, &[1])),
        Code::TensorNameEmpty,
    );
    let mut tie = model().tied("t", 0);
    tie.specs[2].alias_of = Some(1);
    refused(create(&tie), Code::UsageValue);
    tie.specs[2].alias_of = Some(2);
    refused(create(&tie), Code::UsageValue);
    assert!(names_in(folder.path()).is_empty());
    let nowhere = folder.path().join("none").join("m.deathtensors");
    let none = Default::default();
    refused(
        TensorWriter::create(&nowhere, &[], &none, &options),
        Code::FileNotFound,
    );
    refused(
        TensorWriter::create(folder.path(), &[], &none, &options),
        Code::Io,
    );
}

#[cfg(unix)]
fn mode(path: &std::path::Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[cfg(unix)]
#[test]
fn a_new_file_has_the_mode_of_any_new_file_and_an_old_one_keeps_its_own() {
    use deathtensors::AppendOptions;
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    let ordinary = folder.path().join("ordinary");
    fs::write(&ordinary, b"").unwrap();
    model().write(&path, &With::PLAIN.options());
    assert_eq!(mode(&path), mode(&ordinary));
    for wanted in [0o600, 0o640, 0o664, 0o444, 0o755] {
        fs::set_permissions(&path, fs::Permissions::from_mode(wanted)).unwrap();
        model().write(&path, &With::DIGESTS.options());
        assert_eq!(mode(&path), wanted);
        let options = AppendOptions::default();
        let none = Default::default();
        let mut writer =
            TensorWriter::append(&path, &other().specs, &none, &options, &mut ()).unwrap();
        writer.push(&other().data[0]).unwrap();
        writer.finish().unwrap();
        assert_eq!(mode(&path), wanted);
        other().assert_in(&TensorFile::open(&path).unwrap());
    }
}

#[cfg(unix)]
#[test]
fn symbolic_links_are_written_through() {
    use deathtensors::AppendOptions;
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (folder.path().join("here"), folder.path().join("there"));
    fs::create_dir(&here).unwrap();
    fs::create_dir(&there).unwrap();
    let target = there.join("real.deathtensors");
    // Relative, through two links, to nothing at first.
    symlink("../there/real.deathtensors", here.join("second")).unwrap();
    symlink("second", here.join("first")).unwrap();
    for model in [model(), other()] {
        model.write(&here.join("first"), &With::PLAIN.options());
        assert!(fs::symlink_metadata(&target).unwrap().is_file());
        assert!(
            fs::symlink_metadata(here.join("first"))
                .unwrap()
                .is_symlink()
        );
        assert!(
            fs::symlink_metadata(here.join("second"))
                .unwrap()
                .is_symlink()
        );
        model.assert_is(&target);
        assert_eq!(names_in(&here), ["first", "second"]);
        assert_eq!(names_in(&there), ["real.deathtensors"]);
    }
    let options = AppendOptions::default();
    let none = Default::default();
    let first = here.join("first");
    let mut writer =
        TensorWriter::append(&first, &model().specs, &none, &options, &mut ()).unwrap();
    writer.push_all(&model().wanted(), &mut ()).unwrap();
    writer.finish().unwrap();
    assert!(fs::symlink_metadata(&first).unwrap().is_symlink());
    model().assert_in(&TensorFile::open(&target).unwrap());

    symlink("round", here.join("round")).unwrap();
    let round = here.join("round");
    let endless = TensorWriter::create(&round, &[], &none, &With::PLAIN.options());
    refused(endless, Code::Io);
    assert!(fs::symlink_metadata(&round).unwrap().is_symlink());
}

#[cfg(unix)]
#[test]
fn an_open_file_stays_readable_after_it_is_replaced() {
    use crate::support::backend;
    use deathtensors::Backend;
    for with in [With::PLAIN, With::FRAMES] {
        for way in [Backend::Mmap, Backend::Pread] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("m.deathtensors");
            model().write(&path, &with.options());
            let old = TensorFile::open_with(&path, &backend(way)).unwrap();
            other().write(&path, &with.options());
            model().assert_in(&old);
            other().assert_is(&path);
            fs::remove_file(&path).unwrap();
            model().assert_in(&old);
            let data = old.tensor(0).unwrap().data();
            if let Some((map, part)) = old.view(0, &data, 4).unwrap() {
                assert_eq!(part.len(), 6400);
                assert!(part.end <= map.len());
            } else {
                assert!(with.compress || way == Backend::Pread);
            }
        }
    }
}
