//! Frame plans and seek tables.

use crate::support::{COMPRESSED, code, file, header, json, open};
use deathtensors_core::{
    Catalogue, Code, Dtype, FrameTable, Header, Limits, Result, TableOpening, TableStep,
    TensorSpec, WriteOptions, WritePlan, plan_frames,
};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::ops::Range;

/// A header of byte tensors at these spans.
fn bytes_at(spans: &[(u64, u64)]) -> Header {
    let entries = spans.iter().enumerate().map(|(nth, (start, end))| {
        format!(
            r#""t{nth}":{{"dtype":"U8","shape":[{}],"data_offsets":[{start},{end}]}}"#,
            end - start
        )
    });
    header(&entries.collect::<Vec<_>>().join(","))
}

#[test]
fn planned_by_hand() {
    let plan = |spans: &[(u64, u64)]| plan_frames(&bytes_at(spans), 10);
    assert_eq!(plan(&[]), []);
    assert_eq!(plan(&[(0, 0)]), []);
    // Small neighbours share.
    assert_eq!(plan(&[(0, 4), (4, 8), (8, 12)]), [0..8, 8..12]);
    assert_eq!(plan(&[(0, 5), (5, 10)]), vec![Range { start: 0, end: 10 }]);
    // A long tensor is alone in its frames.
    assert_eq!(
        plan(&[(0, 4), (4, 29), (29, 31)]),
        [0..4, 4..14, 14..24, 24..29, 29..31]
    );
    assert_eq!(plan(&[(0, 20), (20, 25)]), [0..10, 10..20, 20..25]);
    // Ties and order do not matter; gaps go with what follows.
    assert_eq!(
        plan(&[(4, 8), (0, 4), (4, 8)]),
        vec![Range { start: 0, end: 8 }]
    );
    assert_eq!(plan(&[(0, 4), (8, 12)]), [0..4, 4..12]);
    assert_eq!(plan(&[(0, 4), (30, 32)]), [0..4, 4..14, 14..24, 24..32]);
}

#[test]
fn new_frames_begin_where_the_old_data_ends() {
    let old = bytes_at(&[(0, 5000)]);
    let mut options = WriteOptions::default();
    options.compress = Some(3);
    options.frame_bytes = 1024;
    let specs = [
        TensorSpec::new("n", Dtype::F64, [100]),
        TensorSpec::new("m", Dtype::F64, [200]),
    ];
    let plan = WritePlan::extend(
        &old,
        &specs,
        &Default::default(),
        &options,
        &Limits::DEFAULT,
    )
    .unwrap();
    assert_eq!(
        plan.frames_from(plan.old_bytes()),
        [5000..5800, 5800..6824, 6824..7400]
    );
}

/// Spans in order with gaps and ties, as lengths.
fn spans() -> impl Strategy<Value = Vec<(u64, u64)>> {
    prop::collection::vec(
        (0u64..3, prop_oneof![0u64..12, 0u64..60], any::<bool>()),
        0..20,
    )
    .prop_map(|all| {
        let mut spans: Vec<(u64, u64)> = Vec::new();
        let mut end = 0;
        for (gap, size, tie) in all {
            match spans.last() {
                Some(&last) if tie => spans.push(last),
                _ => {
                    spans.push((end + gap, end + gap + size));
                    end += gap + size;
                }
            }
        }
        spans
    })
}

proptest! {
    #[test]
    fn frames_are_as_promised(spans in spans().prop_shuffle(), frame in 1u64..24) {
        let frames = plan_frames(&bytes_at(&spans), frame);
        let filled: BTreeSet<_> = spans.iter().copied().filter(|s| s.0 < s.1).collect();
        let data_bytes = filled.iter().map(|s| s.1).max().unwrap_or(0);
        // They cut the data into pieces, none empty, none too long.
        let mut end = 0;
        for f in &frames {
            prop_assert_eq!(f.start, end);
            prop_assert!(f.start < f.end && f.end - f.start <= frame);
            end = f.end;
        }
        prop_assert_eq!(end, data_bytes);
        let within = |f: &Range<u64>| {
            filled
                .iter()
                .copied()
                .filter(|s| s.0 < f.end && f.start < s.1)
                .collect::<Vec<_>>()
        };
        let long = |s: &(u64, u64)| s.1 - s.0 > frame;
        for (f, next) in frames
            .iter()
            .zip(frames.iter().skip(1).map(Some).chain([None]))
        {
            let tensors = within(f);
            // A tensor longer than a frame shares none.
            prop_assert!(
                tensors.len() == 1 || !tensors.iter().any(long),
                "{tensors:?} in {f:?}"
            );
            // Small neighbours share: the next did not fit. Only what is too long,
            // a gap before it included, is cut elsewhere than at a tensor's end.
            let Some(next) = next else { continue };
            let following = within(next);
            let at_end = |at: u64| at == 0 || filled.iter().any(|s| s.1 == at);
            if let (Some(first), true) = (following.first(), at_end(f.start) && at_end(f.end)) {
                let small = !tensors.iter().chain(&following).any(long);
                prop_assert!(
                    !small || first.1 - f.start > frame,
                    "{f:?} could hold {first:?}"
                );
            }
        }
    }

    #[test]
    fn tables_come_back(
        frames in prop::collection::vec((1u64..300, 0u64..300), 0..20),
        queries in prop::collection::vec((0u64..4000, 0u64..900), 8),
    ) {
        let table = table(&frames);
        let file = compressed(&table);
        let catalogue = open(&file).unwrap();
        for opening in [
            TableOpening::new(&catalogue),
            TableOpening::guessing(&catalogue),
        ] {
            let found = read(opening, &file).unwrap();
            prop_assert_eq!(found.as_ref(), Some(&table));
        }
        prop_assert_eq!(table.len(), frames.len());
        prop_assert_eq!(table.frames().len(), frames.len());
        let listed: Vec<_> = table
            .frames()
            .map(|f| (f.stored.end - f.stored.start, f.data.end - f.data.start))
            .collect();
        prop_assert_eq!(listed, frames);
        for (start, size) in queries {
            let range = start..(start + size).min(table.totals().1);
            let covering = table.covering(&range);
            for (nth, f) in table.frames().enumerate() {
                let touches = !range.is_empty()
                    && f.data.start < range.end
                    && range.start < f.data.end
                    && f.data.start < f.data.end;
                let between = covering.contains(&nth);
                prop_assert!(!touches || between, "{f:?} is needed for {range:?}");
                // Empty frames between others come along, nothing else does.
                prop_assert!(
                    !between || touches || f.data.is_empty(),
                    "{f:?} is not needed for {range:?}"
                );
            }
        }
    }

    #[test]
    fn damaged_tables_never_panic(
        frames in prop::collection::vec((1u64..30, 1u64..30), 0..6),
        hits in prop::collection::vec((1usize..80, any::<u8>()), 1..4),
        cut in 0usize..20,
    ) {
        let table = table(&frames);
        let mut file = compressed(&table);
        let head = open(&file).unwrap().blob().start as usize;
        for (back, byte) in hits {
            if let Some(at) = file.len().checked_sub(back).filter(|&at| at >= head) {
                file[at] = byte;
            }
        }
        file.truncate(file.len().saturating_sub(cut).max(head));
        let catalogue = open(&file).unwrap();
        for opening in [
            TableOpening::new(&catalogue),
            TableOpening::guessing(&catalogue),
        ] {
            if let Ok(Some(found)) = read(opening, &file) {
                prop_assert_eq!(found.totals().1, catalogue.data_bytes());
                prop_assert!(found.totals().0 <= catalogue.blob().end - catalogue.blob().start);
                prop_assert!(
                    found
                        .frames()
                        .all(|f| f.stored.start <= f.stored.end && f.data.start <= f.data.end)
                );
            }
        }
    }
}

fn table(frames: &[(u64, u64)]) -> FrameTable {
    let mut table = FrameTable::default();
    for &(stored, data) in frames {
        table.push(stored, data).unwrap();
    }
    table
}

/// A compressed file with one tensor; the frames' bytes are not zstd here.
fn compressed(table: &FrameTable) -> Vec<u8> {
    let (stored, data) = table.totals();
    let mut blob = vec![b'z'; stored as usize];
    blob.extend(table.emit());
    with_blob(data, &blob)
}

fn with_blob(data: u64, blob: &[u8]) -> Vec<u8> {
    let entry = format!(r#""w":{{"dtype":"U8","shape":[{data}],"data_offsets":[0,{data}]}}"#);
    file(COMPRESSED, json(&entry).as_bytes(), blob)
}

fn read(mut opening: TableOpening, file: &[u8]) -> Result<Option<FrameTable>> {
    for _ in 0..3 {
        let need = opening.need();
        let part = &file[need.start as usize..need.end as usize];
        match opening.feed(need.start, part)? {
            TableStep::Ready(table) => return Ok(Some(table)),
            TableStep::Absent => return Ok(None),
            TableStep::More(range) => assert_eq!(range, opening.need()),
        }
    }
    panic!("the table took more than its two steps");
}

fn read_file(file: &[u8]) -> Result<Option<FrameTable>> {
    let catalogue: Catalogue = open(file)?;
    read(TableOpening::new(&catalogue), file)
}

#[test]
fn a_table_byte_for_byte() {
    // zstd's contrib/seekable_format: magic 0x184D2A5E, length, entries, then the
    // number of frames, a descriptor without checksums, magic 0x8F92EAB1.
    let wanted = [
        [0x5e, 0x2a, 0x4d, 0x18, 25, 0, 0, 0].as_slice(),
        &[5, 0, 0, 0, 0, 4, 0, 0],
        &[7, 0, 0, 0, 1, 2, 0, 0],
        &[2, 0, 0, 0, 0, 0xb1, 0xea, 0x92, 0x8f],
    ];
    assert_eq!(table(&[(5, 1024), (7, 513)]).emit(), wanted.concat());
}

#[test]
fn entries_may_carry_checksums() {
    let mut blob = vec![b'z'; 12];
    blob.extend([0x5e, 0x2a, 0x4d, 0x18, 33, 0, 0, 0]);
    blob.extend([5, 0, 0, 0, 30, 0, 0, 0, 1, 2, 3, 4]);
    blob.extend([7, 0, 0, 0, 10, 0, 0, 0, 5, 6, 7, 8]);
    blob.extend([2, 0, 0, 0, 0x80, 0xb1, 0xea, 0x92, 0x8f]);
    assert_eq!(
        read_file(&with_blob(40, &blob)).unwrap(),
        Some(table(&[(5, 30), (7, 10)]))
    );
}

#[test]
fn lengths_fit_32_bits() {
    let mut table = FrameTable::default();
    table.push(u32::MAX.into(), u32::MAX.into()).unwrap();
    assert_eq!(code(table.push(1 << 32, 1)), Code::LimitInflated);
    assert_eq!(code(table.push(1, 1 << 32)), Code::LimitInflated);
    assert_eq!(table.len(), 1);
}

#[test]
fn blobs_without_a_table() {
    for blob in [
        &b""[..],
        b"z",
        b"12345678",
        b"a frame of zstd, let us say, and no table after it",
    ] {
        assert_eq!(read_file(&with_blob(40, blob)).unwrap(), None);
    }
}

#[test]
fn hostile_tables() {
    let good = compressed(&table(&[(5, 30), (7, 10)]));
    let size = good.len();
    assert!(read_file(&good).unwrap().is_some());
    let with = |back: usize, bytes: &[u8]| {
        let mut file = good.clone();
        file[size - back..size - back + bytes.len()].copy_from_slice(bytes);
        code(read_file(&file))
    };
    // From the end: magic 4, descriptor 5, count 9, entries 17 and 25, length 29, magic 33.
    for count in [0u32, 1, 3, 4, 1000, 1 << 27, u32::MAX] {
        assert_eq!(
            with(9, &count.to_le_bytes()),
            Code::FramesTable,
            "{count} frames"
        );
    }
    for bit in 2..7 {
        assert_eq!(
            with(5, &[1 << bit]),
            Code::FramesTable,
            "descriptor bit {bit}"
        );
    }
    assert_eq!(
        with(5, &[0x80]),
        Code::FramesTable,
        "entries of another length"
    );
    assert_eq!(
        with(33, &[0x5d]),
        Code::FramesTable,
        "another skippable frame"
    );
    for length in [0u32, 24, 26, u32::MAX] {
        assert_eq!(
            with(29, &length.to_le_bytes()),
            Code::FramesTable,
            "length {length}"
        );
    }
    for at in [25, 17] {
        assert_eq!(with(at, &[0; 4]), Code::FramesTable, "no bytes");
        for stored in [4u32, 8, u32::MAX] {
            assert_eq!(
                with(at, &stored.to_le_bytes()),
                Code::FramesTableSizes,
                "stored {stored}"
            );
        }
        for data in [0u32, 11, 29, 1 << 30, u32::MAX] {
            assert_eq!(
                with(at - 4, &data.to_le_bytes()),
                Code::FramesTableSizes,
                "data {data}"
            );
        }
    }
    // Stored bytes that nobody lists, or that are missing.
    let blob = open(&good).unwrap().blob().start as usize;
    let mut longer = good.clone();
    longer.insert(blob, b'z');
    assert_eq!(code(read_file(&longer)), Code::FramesTableSizes);
    let mut shorter = good.clone();
    shorter.remove(blob);
    assert_eq!(code(read_file(&shorter)), Code::FramesTableSizes);
    // A table whose start was cut away.
    let mut cut = good.clone();
    cut.drain(blob..size - 20);
    assert_eq!(code(read_file(&cut)), Code::FramesTable);
    // A frame that no zstd frame could inflate to: 4 bytes hold at most 128 KiB.
    assert!(read_file(&compressed(&table(&[(4, 131_072)]))).is_ok());
    for impossible in [(1, 131_072), (4, 131_073), (4, u32::MAX.into())] {
        assert_eq!(
            code(read_file(&compressed(&table(&[impossible])))),
            Code::FramesShort
        );
    }
    // The guess of a header that promises more than any file holds costs nothing.
    let huge = with_blob(1 << 60, b"some bytes that are no table");
    let catalogue = open(&huge).unwrap();
    let guess = TableOpening::guessing(&catalogue);
    assert_eq!(guess.need(), catalogue.blob());
    assert_eq!(read(guess, &huge).unwrap(), None);
}

#[test]
fn bytes_may_come_in_any_portion() {
    let file = compressed(&table(&[(5, 30), (7, 10)]));
    let catalogue = open(&file).unwrap();
    let mut opening = TableOpening::new(&catalogue);
    assert!(matches!(
        opening.feed(0, &file[..10]).unwrap(),
        TableStep::More(_)
    ));
    assert!(matches!(
        opening.feed(file.len() as u64, b"").unwrap(),
        TableStep::More(_)
    ));
    assert!(matches!(opening.feed(0, &file).unwrap(), TableStep::Ready(t) if t.len() == 2));
}
