//! A compressed blob, and the seek table at its end.

use crate::disk::{self, Way};
use crate::{LONGEST, same, zstd};
use deathtensors_core::{
    Catalogue, Code, FrameTable, Limits, Opening, Step, TableOpening, TableStep,
};
use std::fmt::Write;

const TENSORS: usize = 3;

/// See the table in the crate's documentation. The first six bytes are the lengths of
/// three tensors, the rest is the blob.
pub fn check(data: &[u8]) {
    let Some((lengths, blob)) = data.split_first_chunk::<{ 2 * TENSORS }>() else {
        return;
    };
    let lengths: Vec<u64> = lengths
        .chunks(2)
        .map(|two| two.iter().rev().fold(0, |sum, &b| sum << 8 | u64::from(b)))
        .collect();
    let file = assemble(&lengths, blob);
    let Ok(Step::Ready(catalogue)) =
        Opening::new(file.len() as u64, Limits::DEFAULT).feed(0, &file)
    else {
        panic!("a file that was put together by the rules");
    };
    let table = find(&file, &catalogue, TableOpening::new(&catalogue), false);
    for (opening, spill) in [
        (TableOpening::new(&catalogue), true),
        (TableOpening::guessing(&catalogue), false),
        (TableOpening::guessing(&catalogue), true),
    ] {
        let again = find(&file, &catalogue, opening, spill);
        assert_eq!(again, table);
    }
    let expected = match &table {
        Ok(Some(table)) => decode(table, blob, catalogue.data_bytes()),
        Ok(None) => None,
        Err(_) => return refused(&file),
    };
    read(&file, &lengths, expected.as_deref());
}

/// A compressed file with tensors of those lengths, and that blob.
pub fn assemble(lengths: &[u64], blob: &[u8]) -> Vec<u8> {
    let mut json = String::from(r#"{"format":"deathtensors","format_version":1,"tensors":{"#);
    let mut at = 0;
    for (nth, length) in lengths.iter().enumerate() {
        let comma = if nth > 0 { "," } else { "" };
        let end = at + length;
        let _ = write!(
            json,
            r#"{comma}"{nth}":{{"dtype":"U8","shape":[{length}],"data_offsets":[{at},{end}]}}"#
        );
        at = end;
    }
    json.push_str("}}");
    let mut file = b"DTLEGION\x01\0\0\0\x01\0\0\0".to_vec();
    file.extend((json.len() as u64).to_le_bytes());
    file.extend(json.as_bytes());
    file.resize(file.len().next_multiple_of(8), 0);
    file.extend(blob);
    file
}

/// The table, none where there is none. With `spill` more is fed than was asked for.
fn find(
    file: &[u8],
    catalogue: &Catalogue,
    mut opening: TableOpening,
    spill: bool,
) -> Result<Option<FrameTable>, Code> {
    for _ in 0..4 {
        let need = opening.need();
        assert!(catalogue.blob().start <= need.start && need.end <= catalogue.blob().end);
        let start = if spill { 0 } else { need.start };
        let step = opening.feed(start, &file[start as usize..need.end as usize]);
        match step.map_err(|error| {
            same::printable(&error);
            error.code()
        })? {
            TableStep::More(_) => {}
            TableStep::Ready(table) => return Ok(Some(table)),
            TableStep::Absent => return Ok(None),
        }
    }
    panic!("more than four steps");
}

/// What the frames hold, one after the other; none when one is refused.
fn decode(table: &FrameTable, blob: &[u8], data_bytes: u64) -> Option<Vec<u8>> {
    let emitted = table.emit();
    let (stored, data) = table.totals();
    assert_eq!(data, data_bytes);
    assert!(stored + emitted.len() as u64 <= blob.len() as u64);
    let mut out = Vec::new();
    let mut sound = true;
    let mut at = (0, 0);
    for frame in table.frames() {
        assert_eq!((frame.stored.start, frame.data.start), at);
        at = (frame.stored.end, frame.data.end);
        let length = frame.data.end - frame.data.start;
        assert!(length <= LONGEST);
        let stored = &blob[frame.stored.start as usize..frame.stored.end as usize];
        match zstd::decode(stored, length as usize) {
            Ok(data) => out.extend(data),
            Err(_) => sound = false,
        }
    }
    assert_eq!(at, (stored, data));
    sound.then_some(out)
}

/// A reader of the whole file sees the same: a table that is refused is refused when a
/// tensor is read.
fn refused(file: &[u8]) {
    let path = disk::write("frames.deathtensors", file);
    let Ok(opened) = Way::Positioned.open(&path, file) else {
        return;
    };
    assert!(opened.frames().is_err());
}

/// Each tensor is its part of what the frames hold, however it is read.
fn read(file: &[u8], lengths: &[u64], expected: Option<&[u8]>) {
    let path = disk::write("frames.deathtensors", file);
    let mut first: Option<Vec<Result<Vec<u8>, Code>>> = None;
    for way in Way::ALL {
        let opened = way
            .open(&path, file)
            .expect("a file that was put together by the rules");
        let tensors: Vec<_> = (0..lengths.len())
            .map(|nth| {
                let read = opened.read(&nth.to_string()).map(|data| data.to_vec());
                read.map_err(|error| error.code())
            })
            .collect();
        if let Some(expected) = expected {
            let mut at = 0;
            for (tensor, length) in tensors.iter().zip(lengths) {
                let end = at + *length as usize;
                let tensor = tensor.as_ref().expect("sound frames are read");
                assert!(*tensor == expected[at..end], "other bytes");
                at = end;
            }
        }
        match &first {
            Some(first) => assert_eq!(*first, tensors, "{way:?} differs"),
            None => first = Some(tensors),
        }
    }
}
