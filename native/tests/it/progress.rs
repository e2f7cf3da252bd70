//! Long work reports what it did, and stops when it is told to.

use crate::support::{Model, With, names_in, refused, until};
use deathtensors::{
    AppendOptions, Code, Dtype, Limits, OpenOptions, Part, Progress, Result, TensorFile,
    TensorWriter, copy_tensors, copy_tensors_sharded, diff, from_safetensors, to_safetensors,
};
use std::fs;
use std::path::Path;

fn model() -> Model {
    Model::default()
        .with("a", Dtype::F32, &[90_000])
        .with("b", Dtype::F32, &[100])
        .with("c", Dtype::F32, &[2, 40_000])
        .tied("d", 0)
        .tied("e", 0)
}

const BYTES: u64 = 4 * (90_000 + 100 + 80_000);

/// Does `work` to the end, which must report all of it, and then again with a
/// cancellation: it must be returned, and the folder must be as it was.
#[track_caller]
fn try_both(folder: &Path, mut work: impl FnMut(&mut dyn Progress) -> Result<()>) {
    let contents = || {
        let names = names_in(folder);
        let read = |name: &String| fs::read(folder.join(name)).unwrap();
        names
            .iter()
            .map(|name| (name.clone(), read(name)))
            .collect::<Vec<_>>()
    };
    let before = contents();
    let mut cancelled = until(1000);
    let error = refused(work(&mut cancelled), Code::IoInterrupted);
    assert_eq!(error.detail().message(), "enough");
    assert!(contents() == before);
    let mut whole = until(u64::MAX);
    work(&mut whole).unwrap();
    assert!(whole.done >= BYTES);
    assert_eq!(whole.total, Some(whole.done));
}

fn written(folder: &Path, with: With) -> TensorFile {
    let path = folder.join("m.deathtensors");
    model().write(&path, &with.options());
    TensorFile::open(path).unwrap()
}

#[test]
fn writing() {
    for with in With::ALL {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.deathtensors");
        try_both(folder.path(), |progress| {
            let mut writer = model().create(&path, &with.options());
            progress.start(writer.data_bytes());
            writer.push_all(&model().wanted(), progress)?;
            writer.finish()
        });
    }
}

#[test]
fn a_cancelled_writer_cannot_be_finished() {
    for with in With::ALL {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.deathtensors");
        let mut writer = model().create(&path, &with.options());
        let cancelled = writer.push_all(&model().wanted(), &mut until(1000));
        refused(cancelled, Code::IoInterrupted);
        refused(writer.finish(), Code::UsageDataSize);
        assert!(names_in(folder.path()).is_empty());
    }
}

#[test]
fn appending() {
    for with in With::ALL {
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path(), with).path().to_path_buf();
        let more = Model::default().with("more", Dtype::F32, &[50_000]);
        try_both(folder.path(), |progress| {
            let none = Default::default();
            let options = AppendOptions::default();
            let mut writer = TensorWriter::append(&path, &more.specs, &none, &options, progress)?;
            writer.push_all(&more.wanted(), progress)?;
            writer.finish()
        });
    }
}

#[test]
fn verifying_and_measuring() {
    for with in With::ALL {
        let folder = tempfile::tempdir().unwrap();
        let file = written(folder.path(), with);
        if with.checksum || with.compress || with.digests {
            try_both(folder.path(), |progress| file.verify(progress).map(drop));
        }
        if with.checksum && !with.compress {
            try_both(folder.path(), |progress| {
                file.verify_footer(progress).map(drop)
            });
        }
        try_both(folder.path(), |progress| file.all_stats(progress).map(drop));
    }
}

#[test]
fn copying_comparing_and_converting() {
    for with in [With::PLAIN, With::FRAMES] {
        let folder = tempfile::tempdir().unwrap();
        let file = written(folder.path(), with);
        let parts = ["a", "b", "c", "d", "e"].into_iter().enumerate();
        let parts: Vec<_> = parts
            .map(|(nth, name)| Part {
                file: &file,
                nth,
                name,
            })
            .collect();
        let none = Default::default();
        for to in With::ALL {
            let options = to.options();
            let copy = folder.path().join(format!("copy {to:?}"));
            try_both(folder.path(), |progress| {
                copy_tensors(&copy, &parts, &none, &options, progress)
            });
        }
        let shards = folder.path().join("shards");
        let options = With::DIGESTS.options();
        try_both(folder.path(), |progress| {
            let most = 800_000;
            copy_tensors_sharded(&shards, &parts, most, &none, &options, progress).map(drop)
        });
        let copy = TensorFile::open(folder.path().join(format!("copy {:?}", With::PLAIN))).unwrap();
        try_both(folder.path(), |progress| {
            diff(&file, &copy, true, progress).map(drop)
        });
        let other = folder.path().join("m.safetensors");
        try_both(folder.path(), |progress| {
            to_safetensors(file.path(), &other, &OpenOptions::default(), progress)
        });
        for to in With::ALL {
            let back = folder.path().join(format!("back {to:?}"));
            try_both(folder.path(), |progress| {
                from_safetensors(&other, &back, &to.options(), &Limits::DEFAULT, progress)
            });
        }
    }
}
