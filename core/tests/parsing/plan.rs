//! Planned files: where everything goes, and that readers agree.

use crate::support::{code, file, map, open, options, pairs, parse, plan, specs, why, written};
use deathtensors_core::digest::{self, Digest};
use deathtensors_core::{
    BLOB_ALIGNMENT, Code, Dtype, Error, Limits, TensorSpec, WriteOptions, WritePlan,
};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn refused(specs: &[TensorSpec], options: &WriteOptions) -> Error {
    WritePlan::new(specs, &BTreeMap::new(), options, &Limits::DEFAULT).unwrap_err()
}

#[test]
fn a_small_file_byte_for_byte() {
    let mut w = TensorSpec::new("w", Dtype::F32, [1]);
    w.metadata = map(&[("b", "2"), ("a", "1")]);
    let tied = TensorSpec {
        alias_of: Some(0),
        ..TensorSpec::new("t", Dtype::F32, [1])
    };
    let plan = plan(&[w, tied], &map(&[("k", "v")]), &WriteOptions::default());
    let created_by = concat!("deathtensors ", env!("CARGO_PKG_VERSION"));
    let mut json = format!(
        r#"{{"format":"deathtensors","format_version":1,"created_by":"{created_by}","global_metadata":{{"k":"v"}},"tensors":{{"w":{{"dtype":"F32","shape":[1],"data_offsets":[0,4],"metadata":{{"a":"1","b":"2"}}}},"t":{{"dtype":"F32","shape":[1],"data_offsets":[0,4],"metadata":{{}}}}}}}}"#
    );
    let length = (24 + json.len()).next_multiple_of(64) - 24;
    json.push_str(&" ".repeat(length - json.len()));
    assert_eq!(plan.head(), file(0, json.as_bytes(), &[]));
    assert_eq!(
        (plan.slot(0), plan.slot(1), plan.data_bytes()),
        (Some(0..4), None, 4)
    );
}

#[test]
fn what_cannot_be_planned() {
    let w = || TensorSpec::new("w", Dtype::F32, [2]);
    let options = WriteOptions::default();
    let check = |specs: &[TensorSpec], wanted: Code, name: &str| {
        assert_eq!(
            why(Err::<(), _>(refused(specs, &options))),
            (wanted, Some(name.into()))
        );
    };
    check(&[w(), w()], Code::UsageDuplicateName, "w");
    check(
        &[TensorSpec::new("a\0", Dtype::F32, [2])],
        Code::TensorNameNul,
        "a\0",
    );
    check(
        &[TensorSpec::new("n", Dtype::F4, [3])],
        Code::TensorBits,
        "n",
    );
    check(
        &[TensorSpec::new("n", Dtype::F32, [1 << 62, 4])],
        Code::TensorOverflow,
        "n",
    );
    check(
        &[TensorSpec::new("n", Dtype::F32, vec![1; 65])],
        Code::LimitRank,
        "n",
    );
    let huge = |nth: u64| TensorSpec::new(format!("t{nth}"), Dtype::U8, [1 << 60]);
    check(
        &(0..17).map(huge).collect::<Vec<_>>(),
        Code::TensorOverflow,
        "t15",
    );
    let mut heavy = w();
    heavy.metadata = map(&[("k", &"v".repeat(1 << 20))]);
    check(&[heavy], Code::LimitMetadata, "w");
    for of in [0, 1, 7, usize::MAX] {
        check(
            &[TensorSpec {
                alias_of: Some(of),
                ..w()
            }],
            Code::UsageValue,
            "w",
        );
    }
    for other in [
        TensorSpec::new("o", Dtype::I32, [2]),
        TensorSpec::new("o", Dtype::F32, [2, 1]),
    ] {
        check(
            &[
                other,
                TensorSpec {
                    alias_of: Some(0),
                    ..w()
                },
            ],
            Code::UsageValue,
            "w",
        );
    }
    assert_eq!(
        refused(&[TensorSpec::new("", Dtype::F32, [])], &options).code(),
        Code::TensorNameEmpty
    );
    let mut limits = Limits::DEFAULT;
    limits.header_bytes = 100;
    let long = WritePlan::new(&[w()], &BTreeMap::new(), &options, &limits);
    assert_eq!(code(long), Code::LimitHeader);
}

#[test]
fn options_out_of_range() {
    let with = |change: fn(&mut WriteOptions)| {
        let mut options = WriteOptions::default();
        change(&mut options);
        refused(&[], &options).code()
    };
    assert_eq!(with(|o| o.compress = Some(0)), Code::UsageOption);
    assert_eq!(with(|o| o.compress = Some(23)), Code::UsageOption);
    assert_eq!(with(|o| o.compress = Some(-1)), Code::UsageOption);
    assert_eq!(with(|o| o.alignment = 0), Code::UsageOption);
    assert_eq!(with(|o| o.alignment = 48), Code::UsageOption);
    assert_eq!(with(|o| o.alignment = 1 << 31), Code::UsageOption);
    assert_eq!(with(|o| o.frame_bytes = 1023), Code::UsageOption);
    assert_eq!(with(|o| o.frame_bytes = 0), Code::UsageOption);
}

#[test]
fn digests_of_known_text() {
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(digest::hex(&digest::sha256(b"abc")), abc);
    let mut pieces = digest::Sha256::new();
    pieces.update(b"a");
    pieces.update(b"bc");
    assert_eq!(pieces.finish(), digest::parse_hex(abc).unwrap());
    for bad in [
        "",
        "ba",
        &abc.to_uppercase(),
        &format!("{abc}0"),
        &abc.replace('a', "g"),
        &"é".repeat(32),
    ] {
        assert_eq!(code(digest::parse_hex(bad)), Code::TensorDigest);
    }
}

#[test]
fn the_root_commits_to_the_header() {
    let mut options = WriteOptions::default();
    options.digests = true;
    let mut plan = plan(
        &[TensorSpec::new("w", Dtype::U8, [3])],
        &map(&[("k", "v")]),
        &options,
    );
    let before = plan.head();
    plan.set_digest(0, digest::sha256(b"abc"));
    let bytes = written(&plan);
    assert_eq!(plan.head().len(), before.len());
    let catalogue = open(&bytes).unwrap();
    let range = catalogue.header_range();
    let json = bytes[range.start as usize..range.end as usize].to_vec();
    let root = *catalogue.header().root().unwrap();

    // The same by hand: the root's digits read as zeros, without the spaces.
    let text = String::from_utf8(json.clone()).unwrap();
    let zeroed = text
        .trim_end()
        .replace(&digest::hex(&root), &"0".repeat(64));
    assert_eq!(digest::sha256(zeroed.as_bytes()), root);
    assert_eq!(catalogue.computed_root(&json), Some(root));

    assert!(catalogue.check_root(&json, None).is_ok());
    assert!(catalogue.check_root(&json, Some(&root)).is_ok());
    assert_eq!(
        code(catalogue.check_root(&json, Some(&Digest::default()))),
        Code::IntegrityRoot
    );
    for (at, _) in text.trim_end().char_indices() {
        let mut damaged = json.clone();
        damaged[at] ^= 1;
        let digits = catalogue.header().root_digits().unwrap();
        // The root's own digits are not covered by it, but compared with it.
        if !digits.contains(&at) {
            assert_eq!(
                code(catalogue.check_root(&damaged, None)),
                Code::IntegrityRoot,
                "byte {at}"
            );
        }
    }
    let plain = open(&file(0, crate::support::json("").as_bytes(), &[])).unwrap();
    assert!(plain.check_root(b"", None).is_ok());
    assert_eq!(
        code(plain.check_root(b"", Some(&root))),
        Code::IntegrityRoot
    );
}

#[test]
fn extending_keeps_what_there_is() {
    // Bytes in another order and with a hole, as other writers may leave them.
    let old = parse(
        r#"{"format":"deathtensors","format_version":1,"global_metadata":{"z":"old","a":"old"},"tensors":{
           "late":{"dtype":"U8","shape":[3],"data_offsets":[20,23],"metadata":{"y":"1","x":"2"}},
           "early":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}}}"#,
    )
    .unwrap();
    let new = [
        TensorSpec::new("new", Dtype::F64, [1]),
        TensorSpec::new("byte", Dtype::U8, [1]),
    ];
    let global = map(&[("a", "new"), ("b", "new")]);
    let limits = Limits::DEFAULT;
    let plan = WritePlan::extend(&old, &new, &global, &WriteOptions::default(), &limits).unwrap();
    let spans: Vec<_> = plan
        .header()
        .tensors()
        .map(|t| (t.name, t.start, t.end))
        .collect();
    assert_eq!(
        spans,
        [
            ("late", 20, 23),
            ("early", 0, 3),
            ("new", 24, 32),
            ("byte", 32, 33)
        ]
    );
    assert_eq!(
        (plan.old_bytes(), plan.old_tensors(), plan.data_bytes()),
        (23, 2, 33)
    );
    assert_eq!(
        (plan.slot(0), plan.slot(1), plan.slot(2)),
        (Some(24..32), Some(32..33), None)
    );
    let pairs: Vec<_> = plan.header().global_metadata().iter().collect();
    assert_eq!(pairs, [("a", "old"), ("b", "new"), ("z", "old")]);
    let again = WritePlan::extend(
        &old,
        &[TensorSpec::new("late", Dtype::U8, [])],
        &global,
        &WriteOptions::default(),
        &limits,
    );
    assert_eq!(why(again), (Code::UsageDuplicateName, Some("late".into())));
}

proptest! {
    #[test]
    fn planned_files_open(specs in specs(), global in pairs(), options in options()) {
        let plan = plan(&specs, &global, &options);
        let mut bytes = written(&plan);
        if options.checksum {
            bytes.extend([0; 32]);
        }
        prop_assert_eq!(
            plan.head(),
            WritePlan::new(&specs, &global, &options, &Limits::DEFAULT)
                .unwrap()
                .head()
        );
        let catalogue = open(&bytes).unwrap();
        prop_assert_eq!(catalogue.flags().checksum, options.checksum);
        prop_assert_eq!(catalogue.data_bytes(), plan.data_bytes());
        prop_assert_eq!(
            catalogue.blob().end - catalogue.blob().start,
            plan.data_bytes()
        );
        prop_assert!(
            catalogue
                .blob()
                .start
                .is_multiple_of(options.alignment.max(BLOB_ALIGNMENT))
        );
        let header = catalogue.header();
        let read: Vec<_> = global.iter().map(|(k, v)| (&**k, &**v)).collect();
        prop_assert_eq!(header.global_metadata().iter().collect::<Vec<_>>(), read);
        prop_assert_eq!(header.root().is_some(), options.digests);

        // Tensors follow each other, and gaps are only where alignment needs them.
        let mut end = 0u64;
        for (nth, (spec, t)) in specs.iter().zip(header.tensors()).enumerate() {
            prop_assert_eq!(t.nbytes(), spec.dtype.nbytes(&spec.shape).unwrap());
            if let Some(of) = spec.alias_of {
                prop_assert_eq!(t.data(), header.at(of).unwrap().data());
                prop_assert_eq!(plan.slot(nth), None);
                continue;
            }
            let alignment = if t.nbytes() == 0 {
                1
            } else {
                spec.dtype.alignment().max(options.alignment)
            };
            prop_assert_eq!(t.start, end.next_multiple_of(alignment));
            prop_assert_eq!(plan.slot(nth), Some(t.data()));
            end = t.end;
        }
        prop_assert_eq!(end, plan.data_bytes());
    }

    #[test]
    fn extending_twice_is_consistent(first in specs(), second in specs(), global in pairs()) {
        let base = plan(&first, &global, &WriteOptions::default());
        let second: Vec<_> = second
            .into_iter()
            .map(|mut s| {
                s.name.push_str(".2");
                s
            })
            .collect();
        let taken = second.iter().any(|s| base.header().find(&s.name).is_some());
        let longer = WritePlan::extend(
            base.header(),
            &second,
            &global,
            &WriteOptions::default(),
            &Limits::DEFAULT,
        );
        prop_assert_eq!(longer.is_err(), taken);
        if let Ok(longer) = longer {
            let catalogue = open(&written(&longer)).unwrap();
            for (old, new) in base.header().tensors().zip(catalogue.header().tensors()) {
                prop_assert_eq!((old.name, old.data()), (new.name, new.data()));
            }
            prop_assert_eq!(catalogue.header().len(), first.len() + second.len());
        }
    }
}
