//! Opening whole files: prefix, padding, footer, and how tensors lie.

use crate::support::{
    CHECKSUM, COMPRESSED, code, file, json, open, open_with, options, pairs, plan, specs, why,
    written,
};
use deathtensors_core::{Catalogue, Code, Error, Limits, Opening, Step};
use proptest::prelude::*;

const TWO: &str = r#""a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}"#;

/// A header whose padding is seven bytes long.
fn two_json() -> Vec<u8> {
    let mut text = json(TWO).into_bytes();
    text.resize(text.len().next_multiple_of(8) + 1, b' ');
    text
}

fn two(flags: u32) -> Vec<u8> {
    file(flags, &two_json(), &[7; 8])
}

#[test]
fn the_parts_of_a_file() {
    let bytes = two(CHECKSUM);
    let catalogue = open(&bytes).unwrap();
    let length = two_json().len() as u64;
    let start = (24 + length).next_multiple_of(8);
    assert_eq!(catalogue.header_range(), 24..24 + length);
    assert_eq!(catalogue.blob(), start..start + 8);
    assert_eq!(catalogue.footer(), Some(start + 8..bytes.len() as u64));
    assert_eq!(catalogue.footed(), 24..start + 8);
    assert_eq!(
        (catalogue.file_bytes(), catalogue.data_bytes()),
        (bytes.len() as u64, 8)
    );
    assert_eq!(catalogue.locate(4..8), Some(start + 4..start + 8));
    assert_eq!(catalogue.locate(4..9), None);
    assert!(catalogue.flags().checksum && !catalogue.flags().compressed);
    let compressed = open(&two(COMPRESSED)).unwrap();
    assert_eq!((compressed.locate(0..4), compressed.footer()), (None, None));
}

#[test]
fn every_cut_is_refused() {
    for (flags, footer) in [(0, 0), (CHECKSUM, 32)] {
        let whole = two(flags);
        let blob = open(&whole).unwrap().blob().start as usize;
        for length in 0..whole.len() {
            let wanted = match length {
                0..24 => Code::PrefixTruncated,
                _ if length < blob => Code::HeaderTruncated,
                _ if length < blob + footer => Code::FooterTruncated,
                _ => Code::TensorBounds,
            };
            assert_eq!(code(open(&whole[..length])), wanted, "{length} bytes");
        }
    }
    let empty = file(CHECKSUM, json("").as_bytes(), &[]);
    assert_eq!(code(open(&empty[..empty.len() - 1])), Code::FooterTruncated);
}

#[test]
fn refused_prefixes() {
    let with = |at: usize, bytes: &[u8]| {
        let mut file = two(0);
        file[at..at + bytes.len()].copy_from_slice(bytes);
        code(open(&file))
    };
    assert_eq!(with(0, b"DTLEGIOM"), Code::PrefixMagic);
    assert_eq!(with(0, b"\x80\x04\x95ABCDE"), Code::PrefixMagic);
    for version in [0u32, 2, u32::MAX] {
        assert_eq!(with(8, &version.to_le_bytes()), Code::PrefixVersion);
    }
    assert_eq!(with(12, &4u32.to_le_bytes()), Code::PrefixEncrypted);
    assert_eq!(with(12, &7u32.to_le_bytes()), Code::PrefixEncrypted);
    for bit in 3..32 {
        assert_eq!(
            with(12, &(1u32 << bit).to_le_bytes()),
            Code::PrefixFlags,
            "bit {bit}"
        );
    }
    for length in [100_000_001, u64::MAX, u64::MAX - 7, 1 << 63] {
        assert_eq!(with(16, &length.to_le_bytes()), Code::LimitHeader);
    }
    for length in [10_000u64, 100_000_000] {
        assert_eq!(with(16, &length.to_le_bytes()), Code::HeaderTruncated);
    }
    assert_eq!(with(16, &0u64.to_le_bytes()), Code::HeaderJson);
    let mut limits = Limits::DEFAULT;
    limits.header_bytes = 10;
    assert_eq!(code(open_with(&two(0), limits)), Code::LimitHeader);
}

#[test]
fn padding_is_nul() {
    let (text, good) = (two_json(), two(0));
    assert!(open(&good).is_ok());
    for at in 0..7 {
        let mut bad = good.clone();
        bad[24 + text.len() + at] = b' ';
        assert_eq!(code(open(&bad)), Code::HeaderPadding);
    }
}

#[test]
fn bounds_hold_for_plain_files_only() {
    let text = json(r#""a":{"dtype":"U8","shape":[9],"data_offsets":[0,9]}"#);
    assert_eq!(
        why(open(&file(0, text.as_bytes(), &[0; 8]))),
        (Code::TensorBounds, Some("a".into()))
    );
    assert!(open(&file(COMPRESSED, text.as_bytes(), &[0; 8])).is_ok());
    // An empty tensor beyond the end is no better.
    let text = json(r#""e":{"dtype":"U8","shape":[0],"data_offsets":[9,9]}"#);
    assert_eq!(
        why(open(&file(0, text.as_bytes(), &[0; 8]))),
        (Code::TensorBounds, Some("e".into()))
    );
}

#[test]
fn aliases_and_gaps_are_fine_overlaps_are_not() {
    let at = |spans: &[(u64, u64)]| {
        let entries = spans.iter().enumerate().map(|(nth, (start, end))| {
            format!(
                r#""t{nth}":{{"dtype":"U8","shape":[{}],"data_offsets":[{start},{end}]}}"#,
                end - start
            )
        });
        open(&file(
            0,
            json(&entries.collect::<Vec<_>>().join(",")).as_bytes(),
            &[0; 32],
        ))
    };
    for fine in [
        &[(0, 8), (0, 8)][..],
        &[(8, 16), (0, 8), (8, 16), (0, 8)],
        &[(24, 32), (3, 5)],
        &[(0, 8), (4, 4), (8, 8), (8, 16)],
    ] {
        assert!(at(fine).is_ok(), "{fine:?}");
    }
    for (bad, named) in [
        (&[(0, 8), (7, 15)][..], "t1"),
        (&[(4, 12), (0, 8)], "t0"),
        (&[(0, 8), (0, 4)], "t0"),
        (&[(0, 8), (4, 8)], "t1"),
        (&[(0, 8), (0, 8), (2, 3)], "t2"),
        (&[(0, 32), (1, 2), (30, 31)], "t1"),
    ] {
        assert_eq!(
            why(at(bad)),
            (Code::TensorOverlap, Some(named.into())),
            "{bad:?}"
        );
    }
}

/// What can be compared of an opening's outcome.
fn outcome(result: Result<Catalogue, Error>) -> String {
    match result {
        Ok(catalogue) => format!("{catalogue:?}"),
        Err(error) => format!("{:?} {:?}", error.code(), error.tensor_name()),
    }
}

proptest! {
    #[test]
    fn overlaps_are_found_like_by_comparing_all(
        spans in prop::collection::vec((0u64..40, 0u64..8), 0..8),
    ) {
        let entries = spans.iter().enumerate().map(|(nth, (start, size))| {
            format!(
                r#""t{nth}":{{"dtype":"U8","shape":[{size}],"data_offsets":[{start},{}]}}"#,
                start + size
            )
        });
        let result = open(&file(
            0,
            json(&entries.collect::<Vec<_>>().join(",")).as_bytes(),
            &[0; 64],
        ));
        let overlap =
            |a: &(u64, u64), b: &(u64, u64)| a != b && a.0.max(b.0) < (a.0 + a.1).min(b.0 + b.1);
        let any = spans.iter().any(|a| spans.iter().any(|b| overlap(a, b)));
        prop_assert_eq!(result.is_err(), any);
        if any {
            prop_assert_eq!(code(result), Code::TensorOverlap);
        }
    }

    #[test]
    fn however_the_bytes_come(
        specs in specs(),
        global in pairs(),
        options in options(),
        damage in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        windows in prop::collection::vec(
            (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
            0..6,
        ),
    ) {
        let mut bytes = written(&plan(&specs, &global, &options));
        if let Some((at, byte)) = damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let at_once = open(&bytes);
        let mut opening = Opening::new(bytes.len() as u64, Limits::DEFAULT);
        let mut result = None;
        for (from, to) in windows {
            let (from, to) = (from.index(bytes.len()), to.index(bytes.len() + 1));
            let part = bytes.get(from..to).unwrap_or_default();
            match opening.feed(from as u64, part) {
                Ok(Step::More(range)) => {
                    prop_assert_eq!(&range, &opening.need());
                    prop_assert!(range.end <= bytes.len() as u64);
                }
                Ok(Step::Ready(catalogue)) => result = Some(Ok(catalogue)),
                Err(error) => result = Some(Err(error)),
            }
            if result.is_some() {
                break;
            }
        }
        let result = result.unwrap_or_else(|| match opening.feed(0, &bytes)? {
            Step::Ready(catalogue) => Ok(catalogue),
            Step::More(range) => panic!("{range:?} of a whole file"),
        });
        prop_assert_eq!(outcome(result), outcome(at_once));
    }

    #[test]
    fn whatever_opens_is_consistent(
        specs in specs(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = written(&plan(&specs, &Default::default(), &Default::default()));
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let Ok(catalogue) = open(&bytes) else {
            return Ok(());
        };
        prop_assert!(catalogue.blob().end <= bytes.len() as u64);
        for t in catalogue.header().tensors() {
            prop_assert_eq!(t.dtype.nbytes(t.shape).unwrap(), t.nbytes());
            if let Some(range) = catalogue.locate(t.data()) {
                prop_assert!(
                    bytes
                        .get(range.start as usize..range.end as usize)
                        .is_some()
                );
            }
        }
    }
}
