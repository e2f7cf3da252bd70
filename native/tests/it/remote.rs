//! Files whose bytes somebody else brings, against the same files on the disk.

use deathtensors::{
    Code, Dtype, Error, Limits, OpenOptions, Piece, Progress, RangeSource, Result, TensorFile,
    TensorSpec, TensorWriter, Verification, WriteOptions,
};
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// A file in memory that notes what it is asked for.
#[derive(Debug, Default)]
struct Counting {
    bytes: Vec<u8>,
    asked: Mutex<Vec<Vec<Range<u64>>>>,
    /// Fails from this call on.
    fails_from: Option<usize>,
    /// Brings a byte less than it should.
    short: bool,
    /// Spoils the last bytes of what it brings, from this call on.
    spoils_from: Option<usize>,
}

impl Counting {
    fn of(path: &Path) -> Arc<Self> {
        Arc::new(Self {
            bytes: fs::read(path).unwrap(),
            ..Default::default()
        })
    }

    fn calls(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    fn requests(&self) -> usize {
        self.asked.lock().unwrap().iter().map(Vec::len).sum()
    }

    fn brought(&self) -> u64 {
        let asked = self.asked.lock().unwrap();
        asked.iter().flatten().map(|r| r.end - r.start).sum()
    }
}

impl RangeSource for Counting {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn fetch(&self, ranges: &[Range<u64>]) -> Result<Vec<Piece>> {
        let mut asked = self.asked.lock().unwrap();
        if self.fails_from.is_some_and(|nth| asked.len() >= nth) {
            return Err(Error::new(Code::Io, "the line is dead"));
        }
        for pair in ranges.windows(2) {
            assert!(pair[0].end <= pair[1].start, "{ranges:?}");
        }
        assert!(
            ranges
                .iter()
                .all(|r| r.start < r.end && r.end <= self.len())
        );
        assert!(ranges.iter().all(|r| r.end - r.start <= 8 << 20));
        assert!(ranges.iter().map(|r| r.end - r.start).sum::<u64>() <= 64 << 20);
        let spoils = self.spoils_from.is_some_and(|nth| asked.len() >= nth);
        asked.push(ranges.to_vec());
        let piece = |range: &Range<u64>| {
            let end = range.end as usize - usize::from(self.short);
            let mut bytes = self.bytes[range.start as usize..end].to_vec();
            if let (true, Some(last)) = (spoils, bytes.last_mut()) {
                *last ^= 1;
            }
            Box::new(bytes) as Piece
        };
        Ok(ranges.iter().map(piece).collect())
    }
}

fn tensors() -> Vec<(TensorSpec, Vec<u8>)> {
    let mut all = Vec::new();
    let mut add = |name: &str, rows: u64, columns: u64| {
        let spec = TensorSpec::new(name, Dtype::F32, [rows, columns]);
        let values = (0..rows * columns).map(|i| ((i * 2_654_435_761 + rows) as u32 >> 9) as f32);
        let bytes = values.flat_map(f32::to_le_bytes).collect();
        all.push((spec, bytes));
    };
    add("large", 3_000, 1_000);
    for nth in 0..300 {
        add(&format!("small.{nth}"), 5, 30);
    }
    add("middle", 700, 300);
    add("empty", 0, 4);
    all
}

fn write(path: &Path, options: &WriteOptions) -> Vec<(TensorSpec, Vec<u8>)> {
    write_those(path, options, tensors())
}

fn write_those(
    path: &Path,
    options: &WriteOptions,
    all: Vec<(TensorSpec, Vec<u8>)>,
) -> Vec<(TensorSpec, Vec<u8>)> {
    let specs: Vec<_> = all.iter().map(|(spec, _)| spec.clone()).collect();
    let mut writer = TensorWriter::create(path, &specs, &Default::default(), options).unwrap();
    for (_, bytes) in &all {
        writer.push(bytes).unwrap();
    }
    writer.finish().unwrap();
    all
}

fn write_options(compress: Option<i32>, checksum: bool, digests: bool) -> WriteOptions {
    let mut options = WriteOptions::default();
    options.compress = compress;
    options.checksum = checksum;
    options.digests = digests;
    options
}

fn open(source: &Arc<Counting>) -> Result<TensorFile> {
    TensorFile::open_ranges("elsewhere", source.clone(), &OpenOptions::default())
}

#[test]
fn everything_is_as_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    for (compress, checksum, digests) in [
        (None, false, false),
        (None, true, true),
        (Some(3), false, false),
        (Some(1), true, true),
    ] {
        let path = folder.path().join("m.deathtensors");
        let options = write_options(compress, checksum, digests);
        let all = write(&path, &options);
        let here = TensorFile::open(&path).unwrap();
        let source = Counting::of(&path);
        let there = open(&source).unwrap();
        assert_eq!(source.requests(), 1);
        for (spec, bytes) in &all {
            assert_eq!(*there.read(&spec.name).unwrap(), **bytes, "{}", spec.name);
        }
        let rows = there.read_rows("large", 1_234, 5).unwrap();
        assert_eq!(*rows, *here.read_rows("large", 1_234, 5).unwrap());
        let nths: Vec<_> = (0..all.len()).collect();
        let many = there.read_many(&nths, &mut ()).unwrap();
        assert!(
            many.iter()
                .zip(&all)
                .all(|(found, (_, bytes))| **found == **bytes)
        );
        let stats = |file: &TensorFile| format!("{:?}", file.all_stats(&mut ()).unwrap());
        assert_eq!(stats(&there), stats(&here));
        let one = |file: &TensorFile| format!("{:?}", file.stats("large").unwrap());
        assert_eq!(one(&there), one(&here));
        let found = there.verify(&mut ()).unwrap();
        assert!(found.is_sound(), "{:?}", found.errors);
        assert_eq!(found.tensors, here.verify(&mut ()).unwrap().tensors);
        let (a, b) = (&there, &here);
        assert!(deathtensors::diff(a, b, true, &mut ()).unwrap().is_empty());
    }
}

#[test]
fn only_what_is_wanted_is_brought() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    write(&path, &write_options(Some(3), false, true));
    let source = Counting::of(&path);
    let file = open(&source).unwrap();
    let header = source.brought();
    assert_eq!(header, 64 << 10);
    file.read("middle").unwrap();
    // The table and the frames, each in one request.
    assert_eq!(source.requests(), 3);
    assert!(source.brought() - header < 700 * 300 * 4 * 105 / 100);
    let before = source.brought();
    file.read_rows("large", 1_500, 2).unwrap();
    assert!(source.brought() - before <= 2 * (256 << 10));
    // Small neighbours share a frame, which is asked for once.
    let before = source.requests();
    for nth in 0..20 {
        file.read(&format!("small.{nth}")).unwrap();
    }
    assert_eq!(source.requests(), before + 1);
}

#[test]
fn many_tensors_are_few_requests() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    write(&path, &write_options(None, false, true));
    for work in [
        (|file: &TensorFile| drop(file.all_stats(&mut ()))) as fn(&TensorFile),
        |file| drop(file.verify(&mut ())),
        |file| drop(file.read_many(&(0..303).collect::<Vec<_>>(), &mut ())),
    ] {
        let source = Counting::of(&path);
        let file = open(&source).unwrap();
        work(&file);
        assert!(source.calls() <= 4, "{:?}", source.asked);
    }
}

#[test]
fn failures_come_back_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    write(&path, &write_options(Some(3), true, true));
    for calls in 0..3 {
        let source = Arc::new(Counting {
            bytes: fs::read(&path).unwrap(),
            fails_from: Some(calls),
            ..Default::default()
        });
        let failed = open(&source).and_then(|file| file.read("large").map(drop));
        assert!(failed.unwrap_err().to_string().contains("the line is dead"));
    }
    let source = Arc::new(Counting {
        bytes: fs::read(&path).unwrap(),
        short: true,
        ..Default::default()
    });
    assert_eq!(open(&source).unwrap_err().code(), Code::Io);
}

#[test]
fn damage_is_named_by_tensor() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    for compress in [None, Some(3)] {
        write(&path, &write_options(compress, false, true));
        let mut bytes = fs::read(&path).unwrap();
        let file = TensorFile::open(&path).unwrap();
        let blob = file.catalogue().blob();
        let at = (blob.start + (blob.end - blob.start) / 3) as usize;
        bytes[at] ^= 0x55;
        let source = Arc::new(Counting {
            bytes,
            ..Default::default()
        });
        let found = open(&source).unwrap().verify(&mut ()).unwrap();
        assert_eq!(found.errors.len(), 1, "{:?}", found.errors);
        assert_eq!(found.errors[0].tensor_name(), Some("large"));
        assert!(found.tensors.iter().filter(|t| **t == Some(false)).count() == 1);
    }
}

/// Counts what it is told.
#[derive(Default)]
struct Told {
    total: u64,
    done: u64,
}

impl Progress for Told {
    fn start(&mut self, total: u64) {
        self.total += total;
    }

    fn advance(&mut self, bytes: u64) -> Result<()> {
        self.done += bytes;
        Ok(())
    }
}

#[test]
fn footer_and_digests_are_checked_in_one_pass() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    for (compress, digests) in [
        (None, true),
        (None, false),
        (Some(3), true),
        (Some(3), false),
    ] {
        write(&path, &write_options(compress, true, digests));
        let sound = Counting::of(&path);
        let file = open(&sound).unwrap();
        let before = sound.brought();
        let mut told = Told::default();
        let found = file.verify(&mut told).unwrap();
        assert_eq!(found.footer, Some(true));
        assert!(found.is_sound(), "{:?}", found.errors);
        assert_eq!(told.done, told.total);
        // The root is of the header alone; a seek table is looked at before frames are.
        let header = file.catalogue().header_range();
        let again = (header.end - header.start) + (64 << 10);
        let brought = sound.brought() - before;
        assert!(
            brought <= sound.len() + again,
            "{brought} of {}",
            sound.len()
        );
        // The tensors lie before what is damaged, on it, and behind it.
        let blob = file.catalogue().blob();
        for part in [1, 3, 5] {
            let mut bytes = sound.bytes.clone();
            bytes[(blob.start + (blob.end - blob.start) * part / 6) as usize] ^= 0x55;
            fs::write(&path, &bytes).unwrap();
            let here = TensorFile::open(&path).unwrap().verify(&mut ()).unwrap();
            let there = open(&Counting::of(&path)).unwrap().verify(&mut ()).unwrap();
            assert_eq!(there.footer, Some(false));
            assert_eq!(there.tensors, here.tensors);
            let codes =
                |found: &Verification| -> Vec<_> { found.errors.iter().map(Error::code).collect() };
            assert_eq!(codes(&there), codes(&here));
        }
    }
}

#[test]
fn a_pinned_root_checks_what_comes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    write(&path, &write_options(None, false, true));
    let root = *TensorFile::open(&path).unwrap().header().root().unwrap();
    let mut options = OpenOptions::default();
    options.root = Some(root);
    let mut bytes = fs::read(&path).unwrap();
    let end = bytes.len() - 10;
    bytes[end] ^= 1;
    let source = Arc::new(Counting {
        bytes,
        ..Default::default()
    });
    let file = TensorFile::open_ranges("elsewhere", source, &options).unwrap();
    assert!(file.read("large").is_ok());
    let error = file.read("middle").unwrap_err();
    assert_eq!(error.code(), Code::IntegrityTensor);
}

/// Whoever brings the bytes may bring others the second time.
#[test]
fn a_pinned_root_checks_the_bytes_that_are_returned() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    let few = tensors().split_off(280);
    write_those(&path, &write_options(None, false, true), few);
    let root = *TensorFile::open(&path).unwrap().header().root().unwrap();
    let mut options = OpenOptions::default();
    options.root = Some(root);
    type Work = fn(&TensorFile) -> Result<()>;
    let works: [Work; 9] = [
        |f| f.read("middle").map(drop),
        |f| f.read_rows("middle", 690, 10).map(drop),
        |f| f.read_owned(21, f.rows(21, 690, 10)?).map(drop),
        |f| f.read_into("middle", &mut vec![0; 840_000]),
        |f| f.read_into_with("middle", &mut vec![0; 840_000], &mut ()),
        |f| f.read_many(&[21], &mut ()).map(drop),
        |f| f.stats("middle").map(drop),
        |f| f.all_stats(&mut ()).map(drop),
        |f| deathtensors::diff(f, f, true, &mut ()).map(drop),
    ];
    for work in works {
        let source = Arc::new(Counting {
            bytes: fs::read(&path).unwrap(),
            ..Default::default()
        });
        let sound = TensorFile::open_ranges("elsewhere", source.clone(), &options).unwrap();
        assert_eq!(sound.position("middle").unwrap(), 21);
        work(&sound).unwrap();
        let calls = source.calls();
        for spoils_from in 1..=calls {
            let source = Arc::new(Counting {
                bytes: fs::read(&path).unwrap(),
                spoils_from: Some(spoils_from),
                ..Default::default()
            });
            let file = TensorFile::open_ranges("elsewhere", source.clone(), &options).unwrap();
            // Sound the first time, if that is before it is spoilt.
            for _ in 0..2 {
                let before = source.calls();
                let done = work(&file);
                assert_eq!(
                    done.is_err(),
                    source.calls() > spoils_from,
                    "{before} {done:?}"
                );
            }
        }
    }
}

#[test]
fn safetensors_are_converted_without_being_stored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.deathtensors");
    let all = write(&path, &write_options(None, false, false));
    let safe = folder.path().join("m.safetensors");
    deathtensors::to_safetensors(&path, &safe, &OpenOptions::default(), &mut ()).unwrap();
    for (compress, digests) in [(None, false), (Some(3), true)] {
        let options = write_options(compress, false, digests);
        let (here, there) = (folder.path().join("here"), folder.path().join("there"));
        deathtensors::from_safetensors(&safe, &here, &options, &Limits::DEFAULT, &mut ()).unwrap();
        let source = Counting::of(&safe);
        let (name, to) = ("elsewhere", &there);
        deathtensors::from_safetensors_ranges(
            name,
            source.clone(),
            to,
            &options,
            &Limits::DEFAULT,
            &mut (),
        )
        .unwrap();
        assert_eq!(fs::read(&here).unwrap(), fs::read(&there).unwrap());
        // Its head once more, at most.
        assert!(source.brought() <= source.len() + (64 << 10));
        let file = TensorFile::open(&there).unwrap();
        assert_eq!(*file.read("large").unwrap(), *all[0].1);
    }
}

/// A blob that is no zstd stream is refused before all of it is brought.
#[test]
fn gigabytes_of_something_else_are_not_brought() {
    #[derive(Debug)]
    struct Zeros(Vec<u8>, Mutex<u64>);
    const LEN: u64 = 1 << 40;
    impl RangeSource for Zeros {
        fn len(&self) -> u64 {
            LEN
        }

        fn fetch(&self, ranges: &[Range<u64>]) -> Result<Vec<Piece>> {
            let piece = |range: &Range<u64>| {
                *self.1.lock().unwrap() += range.end - range.start;
                let byte = |at| self.0.get(at as usize).copied().unwrap_or(0);
                Box::new(range.clone().map(byte).collect::<Vec<_>>()) as Piece
            };
            Ok(ranges.iter().map(piece).collect())
        }
    }
    let tensor = format!(r#""a":{{"dtype":"U8","shape":[{LEN}],"data_offsets":[0,{LEN}]}}"#);
    let head = crate::support::file(&tensor, crate::support::COMPRESSED, &[]);
    let source = Arc::new(Zeros(head, Mutex::default()));
    let file =
        TensorFile::open_ranges("elsewhere", source.clone(), &OpenOptions::default()).unwrap();
    let error = file.read_rows("a", 0, 4).unwrap_err();
    assert_eq!(error.code(), Code::FramesDecode);
    // The head, and where a seek table would be.
    assert!(*source.1.lock().unwrap() <= 5 << 20);
}
