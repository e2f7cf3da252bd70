//! Differences between headers.

use crate::support::{header, parse, plan, specs};
use deathtensors_core::diff::{Diff, compare};
use deathtensors_core::{Dtype, Header, WriteOptions};
use proptest::prelude::*;

fn tensor(name: &str, rest: &str) -> String {
    format!(r#""{name}":{{{rest}}}"#)
}

const F32_2: &str = r#""dtype":"F32","shape":[2],"data_offsets":[0,8]"#;

fn model(tensors: &[(&str, &str)]) -> Header {
    header(
        &tensors
            .iter()
            .map(|(name, rest)| tensor(name, rest))
            .collect::<Vec<_>>()
            .join(","),
    )
}

#[test]
fn every_kind_of_change() {
    let a = model(&[
        ("same", F32_2),
        ("z.gone", F32_2),
        ("a.gone", F32_2),
        ("shape", F32_2),
        ("dtype", F32_2),
        (
            "both",
            r#""dtype":"F32","shape":[2],"data_offsets":[0,8],"metadata":{"k":"1"}"#,
        ),
        (
            "meta",
            r#""dtype":"F32","shape":[2],"data_offsets":[0,8],"metadata":{"k":"1","l":"2"}"#,
        ),
        (
            "order",
            r#""dtype":"F32","shape":[2],"data_offsets":[0,8],"metadata":{"k":"1","l":"2"}"#,
        ),
    ]);
    let b = model(&[
        (
            "order",
            r#""dtype":"F32","shape":[2],"data_offsets":[0,8],"metadata":{"l":"2","k":"1"}"#,
        ),
        (
            "meta",
            r#""dtype":"F32","shape":[2],"data_offsets":[0,8],"metadata":{"k":"1"}"#,
        ),
        ("both", r#""dtype":"F64","shape":[1],"data_offsets":[8,16]"#),
        ("dtype", r#""dtype":"I32","shape":[2],"data_offsets":[0,8]"#),
        (
            "shape",
            r#""dtype":"F32","shape":[2,1],"data_offsets":[0,8]"#,
        ),
        ("new", F32_2),
        ("Added", F32_2),
        (
            "same",
            r#""dtype":"F32","shape":[2],"data_offsets":[16,24]"#,
        ),
    ]);
    let diff = compare(&a, &b, true);
    assert_eq!(diff.added, ["Added", "new"]);
    assert_eq!(diff.removed, ["a.gone", "z.gone"]);
    assert_eq!(
        diff.shape_changed,
        [("both", &[2][..], &[1][..]), ("shape", &[2], &[2, 1])]
    );
    assert_eq!(
        diff.dtype_changed,
        [
            ("both", Dtype::F32, Dtype::F64),
            ("dtype", Dtype::F32, Dtype::I32)
        ]
    );
    let metadata: Vec<_> = diff
        .metadata_changed
        .iter()
        .map(|(name, a, b)| (*name, a.len(), b.len()))
        .collect();
    assert_eq!(metadata, [("both", 1, 0), ("meta", 2, 1)]);
    assert_eq!(
        diff.undecided,
        [(6, 1), (7, 0), (0, 7)],
        "meta, order, same"
    );
    assert!(
        diff.global_metadata_changed.is_none() && diff.value_changed.is_empty() && !diff.is_empty()
    );
}

#[test]
fn digests_decide_if_trusted() {
    let with = |digit: &str| format!(r#"{F32_2},"sha256":"{}""#, digit.repeat(64));
    let (zero, one) = (with("0"), with("1"));
    let empty = r#""dtype":"F32","shape":[0],"data_offsets":[0,0]"#;
    let a = model(&[
        ("equal", &zero),
        ("changed", &zero),
        ("half", &zero),
        ("none", F32_2),
        ("void", empty),
    ]);
    let b = model(&[
        ("equal", &zero),
        ("changed", &one),
        ("half", F32_2),
        ("none", F32_2),
        ("void", empty),
    ]);
    let diff = compare(&a, &b, true);
    assert_eq!(
        (diff.value_changed, diff.undecided),
        (vec!["changed"], vec![(2, 2), (3, 3)])
    );
    let diff = compare(&a, &b, false);
    assert_eq!(
        (diff.value_changed.len(), diff.undecided),
        (0, vec![(1, 1), (0, 0), (2, 2), (3, 3)])
    );
}

#[test]
fn metadata_of_the_file() {
    let with = |pairs: &str| {
        parse(format!(r#"{{"format":"deathtensors","format_version":1,"global_metadata":{pairs},"tensors":{{}}}}"#)).unwrap()
    };
    let (a, b, c) = (
        with(r#"{"x":"1","y":"2"}"#),
        with(r#"{"y":"2","x":"1"}"#),
        with(r#"{"x":"1","y":"3"}"#),
    );
    assert!(compare(&a, &b, true).is_empty());
    let diff = compare(&a, &c, true);
    let (from, to) = diff.global_metadata_changed.as_ref().unwrap();
    assert_eq!(
        (from.get("y"), to.get("y"), diff.is_empty()),
        (Some("2"), Some("3"), false)
    );
}

proptest! {
    #[test]
    fn every_name_is_somewhere(a in specs(), b in specs(), cut in any::<prop::sample::Index>()) {
        // Two models that share some tensors.
        let mut b = b;
        let shared: Vec<_> = a
            .iter()
            .take(cut.index(a.len() + 1))
            .filter(|s| !b.iter().any(|o| o.name == s.name))
            .cloned()
            .collect();
        b.extend(shared.into_iter().map(|mut s| {
            s.alias_of = None;
            s
        }));
        let (a, b) = (
            plan(&a, &Default::default(), &WriteOptions::default()),
            plan(&b, &Default::default(), &WriteOptions::default()),
        );
        let (a, b) = (a.header(), b.header());
        let diff: Diff<'_> = compare(a, b, true);
        for t in a.tensors() {
            prop_assert_eq!(diff.removed.contains(&t.name), b.find(t.name).is_none());
        }
        for t in b.tensors() {
            prop_assert_eq!(diff.added.contains(&t.name), a.find(t.name).is_none());
        }
        prop_assert!(diff.added.is_sorted() && diff.removed.is_sorted());
        for t in a.tensors() {
            let Some(other) = b.find(t.name) else {
                continue;
            };
            let (shape, dtype) = (t.shape != other.shape, t.dtype != other.dtype);
            let places = (a.position(t.name).unwrap(), b.position(t.name).unwrap());
            prop_assert_eq!(diff.shape_changed.iter().any(|c| c.0 == t.name), shape);
            prop_assert_eq!(diff.dtype_changed.iter().any(|c| c.0 == t.name), dtype);
            prop_assert_eq!(
                diff.metadata_changed.iter().any(|c| c.0 == t.name),
                !t.metadata.same_as(&other.metadata)
            );
            prop_assert_eq!(
                diff.undecided.contains(&places),
                !shape && !dtype && t.nbytes() > 0
            );
        }
        prop_assert!(compare(a, a, true).is_empty());
    }
}
