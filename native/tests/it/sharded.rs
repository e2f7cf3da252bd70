//! Models in several files: right when whole, refused when mixed up.

use crate::support::{Model, With, flip, names_in, refused};
use deathtensors::core::digest::Digest;
use deathtensors::{Code, Dtype, OpenOptions, Result, ShardedFile, ShardedWriter, TensorFile};
use std::fs;
use std::path::{Path, PathBuf};

/// Three shards of at most 2500 bytes; `tied` and `again` are tied to a tensor of
/// the first, `last` to one in its own.
fn model() -> Model {
    Model::default()
        .saying("author", "somebody")
        .with("a", Dtype::U8, &[1000])
        .with("b", Dtype::F32, &[200])
        .with("c", Dtype::U8, &[900])
        .tied("tied", 1)
        .with("d", Dtype::U8, &[400])
        .tied("again", 1)
        .tied("more", 3)
        .with("e", Dtype::U8, &[300])
        .tied("last", 7)
}

const MOST: u64 = 2500;

fn create(path: &Path, model: &Model) -> Result<ShardedWriter> {
    let (specs, metadata) = (model.specs.clone(), model.metadata.clone());
    ShardedWriter::create(path, specs, metadata, MOST, With::PLAIN.options())
}

fn start(path: &Path, model: &Model, with: With) -> ShardedWriter {
    let (specs, metadata) = (model.specs.clone(), model.metadata.clone());
    ShardedWriter::create(path, specs, metadata, MOST, with.options()).unwrap()
}

fn add_next(writer: &mut ShardedWriter, model: &Model, nth: usize) {
    let range = writer.ranges()[nth].clone();
    let mut shard = writer.start().unwrap();
    for (local, data) in model.data[range].iter().enumerate() {
        if shard.wants(local) {
            shard.push(data).unwrap();
        }
    }
    writer.add(shard.seal().unwrap());
}

fn write(path: &Path, model: &Model, with: With) -> Vec<PathBuf> {
    let mut writer = start(path, model, with);
    for nth in 0..writer.ranges().len() {
        add_next(&mut writer, model, nth);
    }
    writer.finish().unwrap()
}

fn open(path: &Path) -> ShardedFile {
    ShardedFile::open(path, &OpenOptions::default(), true).unwrap()
}

fn pinned(path: &Path, root: Digest) -> deathtensors::Result<ShardedFile> {
    let mut options = OpenOptions::default();
    options.root = Some(root);
    ShardedFile::open(path, &options, false)
}

#[track_caller]
fn check(model: &Model, file: &ShardedFile) {
    assert!(
        file.index()
            .names()
            .eq(model.specs.iter().map(|s| &*s.name))
    );
    for (spec, data) in model.specs.iter().zip(&model.data) {
        let shard = file.file(&spec.name).unwrap();
        assert!(*shard.read(&spec.name).unwrap() == **data);
        let which = file.which(&spec.name).unwrap();
        assert_eq!(shard.path(), file.shard_paths()[which]);
    }
}

#[test]
fn shards_hold_what_one_file_would() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    for with in With::ALL {
        let paths = write(&path, &model(), with);
        let names: Vec<_> = (1..=3)
            .map(|n| format!("m-0000{n}-of-00003.deathtensors"))
            .collect();
        assert!(
            paths.iter().eq(names
                .iter()
                .map(|n| folder.path().join(n))
                .collect::<Vec<_>>()
                .iter())
        );
        assert_eq!(
            names_in(folder.path()),
            [&names[..], &["m.deathtensors".into()]].concat()
        );
        let file = open(&path);
        check(&model(), &file);
        assert_eq!(file.shard_paths(), paths);
        assert_eq!(
            file.metadata(),
            [("author".to_string(), "somebody".to_string())]
        );
        assert_eq!(file.root().is_some(), with.digests);
        for (nth, path) in paths.iter().enumerate() {
            let shard = TensorFile::open(path).unwrap();
            let flags = shard.catalogue().flags();
            assert_eq!(
                (flags.compressed, flags.checksum),
                (with.compress, with.checksum)
            );
            assert!(shard.verify(&mut ()).unwrap().is_sound());
            let said = shard.header().global_metadata();
            assert_eq!(
                said.get("deathtensors.shard.index"),
                Some(&*nth.to_string())
            );
            assert_eq!(said.get("deathtensors.shard.count"), Some("3"));
            assert_eq!(said.get("author"), Some("somebody"));
            assert_eq!(
                file.index().shards[nth].root,
                shard.header().root().copied()
            );
        }
        refused(file.which("none"), Code::TensorNotFound);
        refused(file.file("none"), Code::TensorNotFound);
        refused(file.shard(3), Code::UsageRange);
    }
}

#[test]
fn ties_hold_within_a_shard_and_are_stored_anew_across() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    write(&path, &model(), With::PLAIN);
    let file = open(&path);
    let at = |name: &str| {
        let shard = file.file(name).unwrap();
        (
            file.which(name).unwrap(),
            shard.header().get(name).unwrap().data(),
        )
    };
    assert_eq!(at("e"), at("last"));
    assert_eq!(at("again"), at("more"));
    let shards = ["b", "tied", "again"].map(|name| at(name).0);
    assert_eq!(shards, [0, 1, 2]);
    // Each holds the bytes once.
    let lengths = (0..3).map(|nth| file.shard(nth).unwrap().catalogue().data_bytes());
    assert_eq!(lengths.collect::<Vec<_>>(), [1800, 1700 + 400, 800 + 300]);
}

#[test]
fn nothing_appears_before_the_end_and_the_index_comes_last() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    let shown = || {
        names_in(folder.path())
            .into_iter()
            .filter(|n| !n.starts_with('.'))
            .count()
    };
    let mut writer = start(&path, &model(), With::DIGESTS);
    for nth in 0..3 {
        add_next(&mut writer, &model(), nth);
        assert_eq!(shown(), 0);
    }
    // A folder where the second shard should go: the index must not appear.
    fs::create_dir(folder.path().join("m-00002-of-00003.deathtensors")).unwrap();
    refused(writer.finish(), Code::Io);
    assert_eq!(
        names_in(folder.path()),
        ["m-00002-of-00003.deathtensors"],
        "what was in place already is taken back"
    );
}

// Windows lets nobody change a file that is open here.
#[cfg(not(windows))]
#[test]
fn a_failed_exchange_puts_the_old_model_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    let old = write(&path, &model(), With::PLAIN);
    let before: Vec<_> = old.iter().map(|path| fs::read(path).unwrap()).collect();
    let mut writer = start(&path, &model().saying("author", "else"), With::PLAIN);
    for nth in 0..3 {
        add_next(&mut writer, &model(), nth);
    }
    fs::remove_file(&old[2]).unwrap();
    fs::create_dir(&old[2]).unwrap();
    refused(writer.finish(), Code::Io);
    assert_eq!(names_in(folder.path()).len(), 4);
    fs::remove_dir(&old[2]).unwrap();
    fs::write(&old[2], &before[2]).unwrap();
    check(&model(), &open(&path));
    for (path, before) in old.iter().zip(&before) {
        assert!(fs::read(path).unwrap() == *before);
    }
}

// Windows lets nobody change a file that is open here.
#[cfg(not(windows))]
#[test]
fn an_open_model_refuses_the_shards_of_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    for with in With::ALL {
        write(&path, &model(), with);
        let file = open(&path);
        let shard = file.file("a").unwrap();
        write(&path, &model(), with);
        assert!(*shard.read("a").unwrap() == *model().data[0]);
        let error = refused(file.file("c"), Code::IoChanged);
        assert_eq!(error.path(), Some(&*path));
        check(&model(), &open(&path));
        fs::remove_file(&path).unwrap();
        refused(file.file("c"), Code::IoChanged);
        assert_eq!(names_in(folder.path()).len(), 3);
    }
}

#[test]
fn an_unfinished_model_leaves_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    let mut writer = start(&path, &model(), With::PLAIN);
    add_next(&mut writer, &model(), 0);
    let half = writer.start().unwrap();
    assert_eq!(names_in(folder.path()).len(), 2);
    drop(half);
    add_next(&mut writer, &model(), 1);
    refused(writer.finish(), Code::UsageDataSize);
    assert!(names_in(folder.path()).is_empty());

    let options = With::PLAIN.options();
    let create = |model: Model, most| {
        ShardedWriter::create(&path, model.specs, model.metadata, most, options)
    };
    refused(create(model(), 0), Code::UsageOption);
    refused(
        create(model().with("a", Dtype::U8, &[1]), 9),
        Code::UsageDuplicateName,
    );
    refused(
        create(model().saying("deathtensors.shards", "x"), 9),
        Code::UsageValue,
    );
    assert!(names_in(folder.path()).is_empty());
}

#[test]
fn a_model_without_tensors_has_an_index_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    assert!(write(&path, &Model::default(), With::DIGESTS).is_empty());
    check(&Model::default(), &open(&path));
}

// Windows lets nobody change a file that is open here.
#[cfg(not(windows))]
#[test]
fn missing_and_swapped_shards_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    let paths = write(&path, &model(), With::PLAIN);
    let bytes: Vec<_> = paths.iter().map(|path| fs::read(path).unwrap()).collect();

    fs::remove_file(&paths[1]).unwrap();
    let file = open(&path);
    let error = refused(file.file("c"), Code::FileNotFound);
    assert_eq!(error.path(), Some(&*paths[1]));
    assert!(*file.file("a").unwrap().read("a").unwrap() == *model().data[0]);
    // Once it is there it is found.
    fs::write(&paths[1], &bytes[1]).unwrap();
    check(&model(), &file);

    fs::write(&paths[0], &bytes[2]).unwrap();
    fs::write(&paths[2], &bytes[0]).unwrap();
    let file = open(&path);
    for name in ["a", "e"] {
        let error = refused(file.file(name), Code::ShardsMismatch);
        assert_eq!(error.path(), Some(&*paths[file.which(name).unwrap()]));
        assert!(error.tensor_name().is_some());
    }
    assert!(file.file("c").is_ok());

    // A shard that holds more, or less, than was promised.
    for names in [&["a", "b", "extra"][..], &["a"], &[]] {
        let mut wrong = Model::default();
        for name in names {
            wrong = wrong.with(name, Dtype::U8, &[4]);
        }
        wrong.write(&paths[0], &With::PLAIN.options());
        refused(open(&path).file("a"), Code::ShardsMismatch);
    }
    fs::write(&paths[0], b"").unwrap();
    refused(open(&path).file("a"), Code::PrefixTruncated);
    refused(
        ShardedFile::open(&paths[1], &OpenOptions::default(), false),
        Code::ShardsNotIndex,
    );
}

// Windows lets nobody change a file that is open here.
#[cfg(not(windows))]
#[test]
fn a_root_pins_the_whole_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    for with in [
        With::DIGESTS,
        With {
            compress: true,
            ..With::DIGESTS
        },
    ] {
        let paths = write(&path, &model(), with);
        let root = *open(&path).root().unwrap();
        let again = pinned(&path, root).unwrap();
        check(&model(), &again);
        let mut wrong = root;
        wrong[0] ^= 1;
        refused(pinned(&path, wrong), Code::IntegrityRoot);

        // The same names with other values: sound in itself, but not the model.
        let shard = fs::read(&paths[1]).unwrap();
        let mut other = model();
        other.data[2].fill(5);
        let elsewhere = tempfile::tempdir().unwrap();
        let others = write(&elsewhere.path().join("m.deathtensors"), &other, with);
        fs::copy(&others[1], &paths[1]).unwrap();
        // By the index's word it is refused even when nothing is to be verified.
        refused(open_unverified(&path).file("c"), Code::IntegrityRoot);
        refused(pinned(&path, root).unwrap().file("c"), Code::IntegrityRoot);
        // Verifying finds it without a pin, by the index's word.
        refused(open(&path).file("c"), Code::IntegrityRoot);

        // The right header over other bytes.
        fs::write(&paths[1], shard).unwrap();
        let damaged = TensorFile::open(&paths[1]).unwrap();
        let blob = damaged.catalogue().blob();
        flip(&paths[1], blob.start + 100);
        let code = if with.compress {
            Code::FramesChecksum
        } else {
            Code::IntegrityTensor
        };
        let file = pinned(&path, root).unwrap();
        let shard = file.file("c").unwrap();
        let error = refused(shard.read("c"), code);
        assert_eq!(error.tensor_name(), Some("c"));
        assert!(shard.read("tied").is_ok());
    }
    // Another index.
    let root = *open_unverified(&path).root().unwrap();
    write(&path, &model().saying("author", "anybody"), With::DIGESTS);
    refused(pinned(&path, root), Code::IntegrityRoot);
    write(&path, &model(), With::PLAIN);
    refused(pinned(&path, root), Code::IntegrityRoot);
}

fn open_unverified(path: &Path) -> ShardedFile {
    ShardedFile::open(path, &OpenOptions::default(), false).unwrap()
}

#[test]
fn verifying_checks_each_shards_footer_when_it_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    let with = With {
        checksum: true,
        ..With::PLAIN
    };
    let paths = write(&path, &model(), with);
    flip(&paths[2], fs::metadata(&paths[2]).unwrap().len() - 40);
    assert!(open_unverified(&path).file("e").is_ok());
    let file = open(&path);
    assert!(file.file("a").is_ok());
    refused(file.file("e"), Code::IntegrityFooter);
    flip(&path, fs::metadata(&path).unwrap().len() - 1);
    let damaged = ShardedFile::open(&path, &OpenOptions::default(), true);
    refused(damaged, Code::IntegrityFooter);
}

#[test]
fn shards_of_another_model_are_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (bare, named) = (
        folder.path().join("m"),
        folder.path().join("m.deathtensors"),
    );
    for (first, second) in [(&bare, &named), (&named, &bare)] {
        write(first, &model(), With::PLAIN);
        let before = names_in(folder.path());
        let other = create(second, &model());
        let error = refused(other, Code::UsageValue);
        assert!(error.to_string().contains(&first.display().to_string()));
        assert_eq!(names_in(folder.path()), before);
        // The same model again is fine.
        write(first, &model(), With::PLAIN);
        fs::remove_file(first).unwrap();
    }
    // Names that an index could not tell apart.
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        let odd = folder.path().join(std::ffi::OsStr::from_bytes(b"s\xff"));
        refused(create(&odd, &model()), Code::UsageValue);
    }
}
