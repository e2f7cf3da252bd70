//! One open file that many threads use at once, against what one thread gets from it.
//!
//! Every round opens the file anew, so that what is made when it is first needed (tables,
//! decoded blobs, checks of digests, shards) is needed by all threads at the same moment.
//! `tests/tools/sanitizers.sh` runs this with a detector of data races.

use crate::support::{COMPRESSED, Model, Way, With, entry, file, noise, streamed};
use deathtensors::core::digest::{hex, sha256};
use deathtensors::{Dtype, OpenOptions, ShardedFile, ShardedWriter, TensorFile, set_num_threads};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Barrier;
use std::thread;

const THREADS: usize = 8;
const ROUNDS: usize = 3;
/// Questions in one round, all of which every thread asks.
const QUESTIONS: usize = 40;

/// Tensors within a frame, across frames, empty, scalar, tied.
fn model() -> Model {
    Model::default()
        .with("bytes", Dtype::U8, &[5000])
        .with("table", Dtype::F32, &[64, 33])
        .with("empty", Dtype::F64, &[3, 0])
        .with("scalar", Dtype::I64, &[])
        .with("halves", Dtype::Bf16, &[7, 301])
        .tied("tied", 1)
}

fn open(path: &Path, way: Way, root: Option<[u8; 32]>) -> TensorFile {
    let mut options = OpenOptions::default();
    options.root = root;
    way.open(path, options).unwrap()
}

/// Asks the file something, and says what came in a word that can be compared.
fn ask(file: &TensorFile, question: usize) -> String {
    let dice: Vec<usize> = noise(4, question as u64)
        .into_iter()
        .map(usize::from)
        .collect();
    let all = file.header().len();
    let nth = dice[0] % all;
    let name = file.header().at(nth).unwrap().name;
    let told = |bytes: &[u8]| format!("{name}: {} bytes {}", bytes.len(), hex(&sha256(bytes)));
    match question % 10 {
        0 => told(&file.read(name).unwrap()),
        1 => {
            let rows = file.tensor(nth).unwrap().shape.first().copied();
            let rows = rows.unwrap_or(0);
            let start = dice[1] as u64 % (rows + 1);
            let count = dice[2] as u64 % (rows - start + 1);
            match file.read_rows(name, start, count) {
                Ok(bytes) => format!("{start} {count} {}", told(&bytes)),
                Err(error) => format!("{:?}", error.code()),
            }
        }
        2 => {
            let some: Vec<usize> = dice.iter().map(|n| n % all).collect();
            let read = file.read_many(&some, &mut ()).unwrap();
            read.iter().map(|bytes| told(bytes)).collect()
        }
        3 => {
            let mut out = vec![0; file.tensor(nth).unwrap().nbytes() as usize];
            file.read_into(name, &mut out).unwrap();
            told(&out)
        }
        4 => format!("{name}: {:?}", file.stats(name).unwrap()),
        5 => format!("{:?}", file.all_stats(&mut ()).unwrap()),
        6 => format!("{:?}", file.verify(&mut ()).unwrap()),
        7 => format!(
            "{name}: {:?}",
            file.verify_tensor(name).map_err(|e| e.code())
        ),
        8 => format!("{name}: {}", hex(&file.digest(nth).unwrap())),
        _ => {
            let data = file.tensor(nth).unwrap().data();
            let view = file.view(nth, &data, 1).unwrap();
            let borrowed = file.borrow(nth, &data).map(told);
            let view = view.map(|(mapping, part)| (mapping.len(), part));
            format!("{name}: {view:?} {borrowed:?}")
        }
    }
}

/// Every thread asks everything, each in an order of its own.
fn together<T: Sync>(open: impl Fn() -> T, ask: impl Fn(&T, usize) -> String + Sync, what: &str) {
    let alone = open();
    let wanted: Vec<String> = (0..QUESTIONS).map(|n| ask(&alone, n)).collect();
    let different: BTreeSet<_> = wanted.iter().collect();
    assert!(different.len() > QUESTIONS / 4, "{what}: all the same");
    for _ in 0..ROUNDS {
        let file = open();
        let start = Barrier::new(THREADS);
        let work = &|nth: usize| {
            start.wait();
            for step in 0..QUESTIONS {
                let question = (step * (2 * nth + 1) + nth * 5) % QUESTIONS;
                let found = ask(&file, question);
                assert_eq!(found, wanted[question], "{what}: question {question}");
            }
        };
        thread::scope(|scope| {
            let spawn = |nth| scope.spawn(move || work(nth));
            let threads: Vec<_> = (0..THREADS).map(spawn).collect();
            threads
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
        });
    }
}

fn every_way(path: &Path, what: &str) {
    for way in Way::ALL {
        together(|| open(path, way, None), ask, &format!("{what}, {way:?}"));
    }
}

#[test]
fn every_kind_of_file() {
    let bare = [With::PLAIN, With::FRAMES];
    let full = bare.map(|with| With {
        checksum: true,
        digests: true,
        ..with
    });
    for with in bare.into_iter().chain(full) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.deathtensors");
        model().write(&path, &with.options());
        every_way(&path, &format!("{with:?}"));
    }
}

/// Each tensor is checked when it is first read, by whoever comes first.
#[test]
fn pinned_files() {
    for with in [
        With::DIGESTS,
        With {
            compress: true,
            ..With::DIGESTS
        },
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.deathtensors");
        model().write(&path, &with.options());
        let root = TensorFile::open(&path).unwrap().header().root().copied();
        assert!(root.is_some());
        for way in Way::ALL {
            together(
                || open(&path, way, root),
                ask,
                &format!("{with:?}, {way:?}"),
            );
        }
    }
}

/// One frame without a table, as 0.3.0 wrote: the first who asks decodes it for all.
#[test]
fn blobs_without_a_table() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    let entries = [
        ("a", 0, 10_000),
        ("b", 10_000, 30_000),
        ("c", 30_000, 30_001),
    ];
    let entries = entries.map(|(name, start, end)| entry(name, start, end));
    let blob = streamed(&noise(30_001, 1), true);
    fs::write(&path, file(&entries.join(","), COMPRESSED, &blob)).unwrap();
    every_way(&path, "without a table");
}

/// Frames so long that those that were decoded last are shared by all threads.
#[test]
fn long_frames() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    let mut long = Model::default().with("long", Dtype::U8, &[40, 1 << 20]);
    for (nth, row) in long.data[0].chunks_mut(1 << 20).enumerate() {
        row.fill(nth as u8);
    }
    let mut options = With::FRAMES.options();
    options.frame_bytes = 64 << 20;
    long.write(&path, &options);
    let row = |file: &TensorFile, question: usize| {
        let bytes = file.read_rows("long", question as u64, 1).unwrap();
        assert!(bytes.iter().all(|&byte| byte == bytes[0]));
        format!("{} {}", bytes[0], bytes.len())
    };
    together(|| open(&path, Way::Mapped, None), row, "long frames");
}

#[test]
fn models_in_several_files() {
    for with in [
        With::PLAIN,
        With {
            compress: true,
            ..With::DIGESTS
        },
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.deathtensors");
        let model = model();
        let mut writer = ShardedWriter::create(
            &path,
            model.specs.clone(),
            model.metadata.clone(),
            9000,
            with.options(),
        )
        .unwrap();
        for range in writer.ranges() {
            let mut shard = writer.start().unwrap();
            for (local, data) in model.data[range].iter().enumerate() {
                if shard.wants(local) {
                    shard.push(data).unwrap();
                }
            }
            writer.add(shard.seal().unwrap());
        }
        assert!(
            writer.finish().unwrap().len() > 2,
            "one shard proves nothing"
        );
        let open = || ShardedFile::open(&path, &OpenOptions::default(), false).unwrap();
        let ask = |model: &ShardedFile, question: usize| {
            let shards = model.shard_paths().len() - 1;
            let shard = model.shard(question % shards).unwrap();
            let names: Vec<_> = model.index().names().collect();
            let name = names[question % names.len()];
            let bytes = model
                .file(name)
                .unwrap()
                .read(name)
                .map(|b| hex(&sha256(&b)));
            format!("{name}: {:?}, {}", bytes.unwrap(), ask(&shard, question))
        };
        together(open, ask, &format!("sharded, {with:?}"));
    }
}

/// Pools of threads come and go while they are used.
#[test]
fn the_number_of_threads_changes_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    model().write(&path, &With::FRAMES.options());
    for way in Way::ALL {
        let ask = |file: &TensorFile, question: usize| {
            set_num_threads(Some(1 + question % 4));
            ask(file, question)
        };
        together(|| open(&path, way, None), ask, "threads change");
    }
    set_num_threads(None);
}
