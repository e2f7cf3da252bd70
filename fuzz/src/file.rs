//! A whole file.

use crate::disk::{self, Way};
use crate::{LONGEST, limits, same};
use deathtensors::core::{Every, Window, WindowRequest, sample};
use deathtensors::{OpenOptions, TensorFile, Verification, diff, to_safetensors};
use deathtensors_core::{Catalogue, Code, Opening, Result, Step};
use safetensors::SafeTensors;

/// Most bytes of all tensors of a file that is read whole.
const MOST: u64 = 4 * LONGEST;

/// See the table in the crate's documentation.
pub fn check(data: &[u8]) {
    let opened = open_as_asked(data).map_err(|error| {
        same::printable(&error);
        error.code()
    });
    let whole = open_in_one(data).map_err(|error| error.code());
    let small = open_in_small(data).map_err(|error| error.code());
    same::verdicts("in one piece", &opened, &whole);
    same::verdicts("in small pieces", &opened, &small);
    if let (Ok(a), Ok(b)) = (&opened, &small) {
        assert_eq!(
            (a.blob(), a.footed(), a.footer()),
            (b.blob(), b.footed(), b.footer())
        );
        same::headers(a.header(), b.header());
    }
    let path = disk::write("input.deathtensors", data);
    let files = Way::ALL.map(|way| {
        let file = way.open(&path, data);
        same::verdicts(&format!("{way:?}"), &opened, &file);
        file.ok()
    });
    if let [Some(mapped), Some(positioned), Some(ranges)] = &files {
        let [a, b, c] = [mapped, positioned, ranges].map(read_all);
        assert!(a == b, "by positioned reads: {:?}", differing(&a, &b));
        assert!(a == c, "by ranges: {:?}", differing(&a, &c));
        convert(mapped, &a.tensors);
    }
}

/// Opens the way it is meant: what is asked for, nothing else.
fn open_as_asked(data: &[u8]) -> Result<Catalogue> {
    let mut opening = Opening::new(data.len() as u64, limits());
    loop {
        let need = opening.need();
        let part = &data[need.start as usize..need.end as usize];
        if let Step::Ready(catalogue) = opening.feed(need.start, part)? {
            return Ok(catalogue);
        }
    }
}

fn open_in_one(data: &[u8]) -> Result<Catalogue> {
    let mut opening = Opening::new(data.len() as u64, limits());
    match opening.feed(0, data)? {
        Step::Ready(catalogue) => Ok(catalogue),
        Step::More(more) => panic!("{more:?} of a file that was fed whole"),
    }
}

/// Too little at first, twice; too much at the end.
fn open_in_small(data: &[u8]) -> Result<Catalogue> {
    let mut opening = Opening::new(data.len() as u64, limits());
    for _ in 0..2 {
        let need = opening.need();
        if need.start + 1 < need.end {
            let part = &data[need.start as usize..need.end as usize - 1];
            assert!(matches!(opening.feed(need.start, part), Ok(Step::More(_))));
        }
        let part = &data[need.start as usize / 2..];
        if let Step::Ready(catalogue) = opening.feed(need.start / 2, part)? {
            return Ok(catalogue);
        }
    }
    panic!("more than two steps");
}

/// Everything that a reader can learn of a file.
#[derive(PartialEq)]
struct Read {
    frames: std::result::Result<Option<usize>, Code>,
    verified: std::result::Result<Verified, Code>,
    tensors: Vec<std::result::Result<Vec<u8>, Code>>,
    stats: Vec<std::result::Result<String, Code>>,
}

#[derive(Debug, PartialEq)]
struct Verified {
    parts: [Option<bool>; 3],
    tensors: Vec<Option<bool>>,
    errors: Vec<Code>,
}

fn differing(a: &Read, b: &Read) -> String {
    let verdicts = |read: &Read| {
        let tensors: Vec<_> = read
            .tensors
            .iter()
            .map(|t| t.as_ref().map(Vec::len))
            .collect();
        format!(
            "{:?} {:?} {tensors:?} {:?}",
            read.frames, read.verified, read.stats
        )
    };
    format!("{} / {}", verdicts(a), verdicts(b))
}

fn read_all(file: &TensorFile) -> Read {
    let header = file.header();
    let small =
        header.data_bytes() <= MOST && header.tensors().map(|t| t.nbytes()).sum::<u64>() <= MOST;
    let mut read = Read {
        frames: file
            .frames()
            .map(|table| table.map(|t| t.len()))
            .map_err(|e| e.code()),
        verified: Err(Code::Io),
        tensors: Vec::new(),
        stats: Vec::new(),
    };
    for tensor in header.tensors() {
        look(file, tensor.name);
        if !small {
            continue;
        }
        let whole = file.read(tensor.name).map(|data| data.to_vec());
        if let Ok(whole) = &whole {
            assert_eq!(whole.len() as u64, tensor.nbytes());
            read_rows(file, tensor.name, whole);
        }
        read.tensors.push(whole.map_err(|error| {
            same::printable(&error);
            error.code()
        }));
        let stats = file.stats(tensor.name).map(|stats| format!("{stats:?}"));
        read.stats.push(stats.map_err(|error| error.code()));
    }
    if small {
        read.verified = file
            .verify(&mut ())
            .map(|v| verified(&v))
            .map_err(|e| e.code());
        let none = diff(file, file, false, &mut ()).map(|found| found.is_empty());
        assert!(none.is_ok_and(|none| none) || read.tensors.iter().any(Result::is_err));
    }
    read
}

fn verified(found: &Verification) -> Verified {
    let sound = [found.footer, found.root, found.frames]
        .iter()
        .chain(&found.tensors)
        .all(|part| *part != Some(false));
    assert_eq!(sound, found.is_sound(), "{found:?}");
    Verified {
        parts: [found.footer, found.root, found.frames],
        tensors: found.tensors.clone(),
        errors: found.errors.iter().map(deathtensors::Error::code).collect(),
    }
}

/// Some rows are a part of the whole; rows outside are refused.
fn read_rows(file: &TensorFile, name: &str, whole: &[u8]) {
    let tensor = file.header().get(name).expect("a tensor of this file");
    let rows = tensor.shape.first().copied().unwrap_or(0);
    for (start, count) in [
        (0, rows),
        (rows / 3, rows / 2),
        (rows, 0),
        (rows, 1),
        (1, u64::MAX),
    ] {
        match (
            tensor.rows(start, count),
            file.read_rows(name, start, count),
        ) {
            (Ok(part), Ok(read)) => {
                assert_eq!(whole[part.start as usize..part.end as usize], *read);
            }
            (Err(a), Err(b)) => assert_eq!(a.code(), b.code()),
            (a, b) => panic!("rows {start} and {count}: {a:?}, {:?}", b.map(|_| ())),
        }
    }
}

/// What the viewer plans: windows and samples lie within their tensor.
fn look(file: &TensorFile, name: &str) {
    let tensor = file.header().get(name).expect("a tensor of this file");
    let within = |spans: &[std::ops::Range<u64>]| {
        let mut at = 0;
        for span in spans {
            let inside = at <= span.start && span.start < span.end && span.end <= tensor.nbytes();
            assert!(inside, "{spans:?} of {tensor:?}");
            at = span.end;
        }
    };
    let rank = tensor.shape.len();
    for axes in [None, Some((0, 1)), Some((rank.saturating_sub(1), 0))] {
        for step in [1, 3, 1 << 40] {
            let some = |axis: usize| {
                let length = tensor.shape.get(axis).copied().unwrap_or(1);
                Every {
                    start: length.min(1),
                    count: length.saturating_sub(1).div_ceil(step).min(40),
                    step,
                }
            };
            let (down, across) = axes.unwrap_or((rank.saturating_sub(2), rank.saturating_sub(1)));
            let request = WindowRequest {
                axes,
                index: &[],
                rows: some(down),
                columns: some(across),
            };
            if let Ok(window) = Window::new(tensor.dtype, tensor.shape, &request) {
                within(window.spans());
                let total = window
                    .spans()
                    .iter()
                    .map(|span| span.end - span.start)
                    .sum::<u64>();
                assert_eq!(total, window.nbytes());
            }
        }
    }
    let spans = sample(tensor.dtype, tensor.nbytes(), 4096);
    within(&spans);
    assert!(spans.iter().map(|span| span.end - span.start).sum::<u64>() <= 4096);
}

/// What comes out as safetensors is what that library reads.
fn convert(file: &TensorFile, tensors: &[std::result::Result<Vec<u8>, Code>]) {
    if tensors.len() != file.header().len() {
        return;
    }
    let out = disk::path("output.safetensors");
    let _ = std::fs::remove_file(&out);
    if let Err(error) = to_safetensors(file.path(), &out, &OpenOptions::default(), &mut ()) {
        same::printable(&error);
        assert!(!out.exists(), "left behind: {error}");
        return;
    }
    let bytes = std::fs::read(&out).expect("the output");
    let theirs = SafeTensors::deserialize(&bytes).expect("safetensors reads it");
    assert_eq!(theirs.len(), tensors.len());
    for (tensor, data) in file.header().tensors().zip(tensors) {
        let data = data.as_ref().expect("what was converted is read");
        same::tensors(&theirs, tensor.name, tensor.dtype, tensor.shape, data);
    }
}
