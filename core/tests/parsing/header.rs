//! Parsing and emitting headers.

use crate::support::{code, header, json, options, pairs, parse, plan, specs, why};
use deathtensors_core::{Code, Dtype, Header, Limits};
use proptest::prelude::*;
use serde_json::Value;
use std::collections::HashMap;

fn entry(fields: &str) -> String {
    json(&format!(r#""w":{{{fields}}}"#))
}

const GOOD: &str = r#""dtype":"F32","shape":[2],"data_offsets":[0,8]"#;

#[test]
fn fields_that_may_be_absent() {
    let header = parse(entry(GOOD)).unwrap();
    assert_eq!((header.created_by(), header.root()), (None, None));
    assert!(header.global_metadata().is_empty() && !header.has_digests());
    let w = header.find("w").unwrap();
    assert_eq!(
        (w.dtype, w.shape, w.data(), w.nbytes()),
        (Dtype::F32, &[2][..], 0..8, 8)
    );
    assert!(w.metadata.is_empty() && w.sha256.is_none());
}

#[test]
fn trailing_spaces_and_unknown_fields_are_ignored() {
    let text = entry(&format!(r#"{GOOD},"codec":{{"planes":[1,2]}}"#));
    let header = parse(format!("{text}   ")).unwrap();
    assert_eq!(header.json_bytes(), text.len() as u64);
    assert_eq!(header.len(), 1);
}

#[test]
fn refused_headers() {
    let valid = entry(GOOD);
    let refused = |json: &str, wanted: Code| assert_eq!(code(parse(json)), wanted, "{json}");
    for text in [
        "",
        " {}",
        "[]",
        "null",
        "{",
        "{\"format\"",
        "{\"format\":\"deathtensors\",}",
        &valid[..valid.len() - 1],
    ] {
        refused(text, Code::HeaderJson);
    }
    for tail in ["x", "\n", "\0", " {}", "  ,"] {
        refused(&format!("{valid}{tail}"), Code::HeaderTrailing);
    }
    refused(
        &valid.replace("deathtensors", "safetensors"),
        Code::HeaderFormat,
    );
    refused(
        &valid.replace(r#"version":1"#, r#"version":2"#),
        Code::HeaderFormatVersion,
    );
    for (from, to) in [
        (r#""format":"deathtensors","#, ""),
        (r#""format_version":1,"#, ""),
        (r#""tensors":"#, r#""tensor":"#),
    ] {
        refused(&valid.replace(from, to), Code::HeaderMissingField);
    }
    for (from, to) in [
        (r#""deathtensors""#, "1"),
        (r#"version":1"#, r#"version":"1""#),
        (r#"version":1"#, r#"version":1.0"#),
        (r#"version":1"#, r#"version":-1"#),
        (r#"version":1"#, r#"version":1,"created_by":null"#),
        (r#"version":1"#, r#"version":1,"global_metadata":[]"#),
        (r#"version":1"#, r#"version":1,"global_metadata":{"a":1}"#),
        (r#"version":1"#, r#"version":1,"root_sha256":0"#),
    ] {
        refused(&valid.replace(from, to), Code::HeaderFieldType);
    }
    refused(&json("").replace("{}", "[]"), Code::HeaderFieldType);
    let bad_root = format!(r#"version":1,"root_sha256":"{}""#, "A".repeat(64));
    refused(
        &valid.replace(r#"version":1"#, &bad_root),
        Code::TensorDigest,
    );
    let escaped_root = format!(r#"version":1,"root_sha256":"\u0030{}""#, "0".repeat(63));
    refused(
        &valid.replace(r#"version":1"#, &escaped_root),
        Code::TensorDigest,
    );
    let mut bytes = valid.into_bytes();
    bytes[20] = 0xff;
    assert_eq!(code(parse(bytes)), Code::HeaderUtf8);
}

#[test]
fn refused_tensors_are_named() {
    let swap = |from: &str, to: &str| entry(&GOOD.replacen(from, to, 1));
    let long_metadata = format!(r#",[0,8],"metadata":{{"k":"{}"}}"#, "v".repeat(1 << 20));
    let rank_65 = format!("[{}2]", "1,".repeat(64));
    let cases = [
        (swap(r#""dtype":"F32","#, ""), Code::HeaderMissingField),
        (swap(r#""shape":[2],"#, ""), Code::HeaderMissingField),
        (
            swap(r#","data_offsets":[0,8]"#, ""),
            Code::HeaderMissingField,
        ),
        (swap(r#""F32""#, "32"), Code::HeaderFieldType),
        (swap("[2]", "2"), Code::HeaderFieldType),
        (swap("[2]", "[2.0]"), Code::HeaderFieldType),
        (swap("[2]", "[[2]]"), Code::HeaderFieldType),
        (swap("[2]", "null"), Code::HeaderFieldType),
        (swap("[0,8]", "[8]"), Code::HeaderFieldType),
        (swap("[0,8]", "[0,8,8]"), Code::HeaderFieldType),
        (swap("[0,8]", "[]"), Code::HeaderFieldType),
        (swap("[0,8]", "[-8,0]"), Code::HeaderFieldType),
        (
            swap("[0,8]", r#"[0,8],"metadata":null"#),
            Code::HeaderFieldType,
        ),
        (
            swap("[0,8]", r#"[0,8],"metadata":{"a":null}"#),
            Code::HeaderFieldType,
        ),
        (
            swap("[0,8]", r#"[0,8],"sha256":null"#),
            Code::HeaderFieldType,
        ),
        (
            swap("[0,8]", r#"[0,8],"shape":[2]"#),
            Code::HeaderDuplicateKey,
        ),
        (
            swap("[0,8]", r#"[0,8],"x":1,"x":1"#),
            Code::HeaderDuplicateKey,
        ),
        (
            swap("[0,8]", r#"[0,8],"metadata":{"a":"","a":""}"#),
            Code::HeaderDuplicateKey,
        ),
        (swap("F32", "F33"), Code::TensorDtype),
        (swap("F32", "f32"), Code::TensorDtype),
        (swap("[2]", "[4611686018427387904,4]"), Code::TensorOverflow),
        (
            swap("[2]", "[4611686018427387904,4,0]"),
            Code::TensorOverflow,
        ),
        (
            swap("[2]", "[0,4611686018427387904,4]"),
            Code::TensorOverflow,
        ),
        (swap("[2]", "[9223372036854775808,0]"), Code::TensorOverflow),
        (
            swap(r#""F32","shape":[2]"#, r#""F4","shape":[17]"#),
            Code::TensorBits,
        ),
        (swap("[0,8]", "[8,0]"), Code::TensorOffsets),
        (swap("[0,8]", "[0,7]"), Code::TensorSize),
        (swap("[0,8]", "[0,16]"), Code::TensorSize),
        (
            swap("[0,8]", &format!(r#"[0,8],"sha256":"{}""#, "0".repeat(63))),
            Code::TensorDigest,
        ),
        (
            swap("[0,8]", &format!(r#"[0,8],"sha256":"{}g""#, "0".repeat(63))),
            Code::TensorDigest,
        ),
        (
            swap(",[0,8]", ",[0,8]").replace(r#":[0,8]"#, &format!(":{}", &long_metadata[1..])),
            Code::LimitMetadata,
        ),
        (swap("[2]", &rank_65), Code::LimitRank),
        (
            json(&format!(r#""w":{{{GOOD}}},"v":{{{GOOD}}},"w":{{{GOOD}}}"#)),
            Code::HeaderDuplicateKey,
        ),
        (json(r#""w":[]"#), Code::HeaderFieldType),
    ];
    for (text, wanted) in cases {
        let shown = &text[..text.len().min(200)];
        assert_eq!(why(parse(&text)), (wanted, Some("w".into())), "{shown}");
    }
}

#[test]
fn refused_names() {
    let named = |name: &str| json(&format!(r#""{name}":{{{GOOD}}}"#));
    assert_eq!(why(parse(named(""))), (Code::TensorNameEmpty, None));
    assert_eq!(code(parse(named(r"a\u0000b"))), Code::TensorNameNul);
    assert!(parse(named(&"n".repeat(4096))).is_ok());
    assert_eq!(code(parse(named(&"n".repeat(4097)))), Code::LimitName);
    // Bytes count, not characters.
    assert_eq!(code(parse(named(&"é".repeat(2049)))), Code::LimitName);
}

#[test]
fn every_limit_is_the_callers() {
    type Change = fn(&mut Limits, u64);
    let text = json(
        r#""ab":{"dtype":"U8","shape":[1,1],"data_offsets":[0,1],"metadata":{"k":"v"}},"c":{"dtype":"U8","shape":[],"data_offsets":[1,2]}"#,
    );
    let with = |change: Change, value: u64| {
        let mut limits = Limits::DEFAULT;
        change(&mut limits, value);
        Header::parse(text.as_bytes(), &limits)
    };
    // Each limit with the smallest value that is enough.
    let limits: [(Change, u64, Code); 6] = [
        (
            |l, v| l.header_bytes = v,
            text.len() as u64,
            Code::LimitHeader,
        ),
        (|l, v| l.tensors = v, 2, Code::LimitTensors),
        (|l, v| l.name_bytes = v, 2, Code::LimitName),
        (|l, v| l.metadata_bytes = v, 10, Code::LimitMetadata),
        (|l, v| l.rank = v, 2, Code::LimitRank),
        (|l, v| l.depth = v, 4, Code::HeaderDepth),
    ];
    for (change, enough, wanted) in limits {
        assert!(with(change, enough).is_ok(), "{wanted:?}");
        assert_eq!(code(with(change, enough - 1)), wanted);
    }
}

#[test]
fn lookup_suggests_the_nearest_name() {
    let tensor = |name: &str| format!(r#""{name}":{{{GOOD}}}"#);
    let header = header(
        &[
            tensor("layer.0.weight"),
            tensor("layer.0.bias"),
            tensor("x"),
        ]
        .join(","),
    );
    let error = header.get("layer.0.wieght").unwrap_err();
    assert_eq!(
        (error.code(), error.tensor_name()),
        (Code::TensorNotFound, Some("layer.0.wieght"))
    );
    assert_eq!(error.expected_text(), Some("perhaps 'layer.0.weight'"));
    assert_eq!(
        header.get("something.else").unwrap_err().expected_text(),
        None
    );
    assert_eq!(header.get("x").unwrap().name, "x");
}

#[test]
fn rows_are_whole_bytes() {
    let header = header(
        r#""a":{"dtype":"F32","shape":[10,3],"data_offsets":[0,120]},"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]},
           "q":{"dtype":"F4","shape":[4,3],"data_offsets":[0,6]},"e":{"dtype":"F32","shape":[0,3],"data_offsets":[0,0]}"#,
    );
    let rows = |name: &str, start, count| header.get(name).unwrap().rows(start, count);
    assert_eq!(rows("a", 2, 3).unwrap(), 24..60);
    assert_eq!(rows("a", 10, 0).unwrap(), 120..120);
    assert_eq!(rows("q", 2, 2).unwrap(), 3..6);
    assert_eq!(rows("e", 0, 0).unwrap(), 0..0);
    for (name, start, count) in [
        ("a", 8, 3),
        ("a", u64::MAX, 2),
        ("s", 0, 1),
        ("q", 1, 1),
        ("e", 0, 1),
    ] {
        assert_eq!(
            why(rows(name, start, count)),
            (Code::UsageRange, Some(name.into()))
        );
    }
}

proptest! {
    #[test]
    fn emitted_headers_parse_to_the_same(
        specs in specs(),
        global in pairs(),
        options in options(),
    ) {
        let planned = plan(&specs, &global, &options);
        let text = planned.header().to_json();
        let header = parse(&text).unwrap();
        prop_assert_eq!(header.to_json(), text.as_str(), "one spelling");
        prop_assert_eq!(header.json_bytes(), text.len() as u64);

        // serde_json, which keeps order, sees the same.
        let seen: Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&seen["format"], "deathtensors");
        prop_assert_eq!(&seen["format_version"], 1);
        prop_assert_eq!(
            &seen["global_metadata"],
            &serde_json::to_value(&global).unwrap()
        );
        let names: Vec<_> = seen["tensors"].as_object().unwrap().keys().collect();
        prop_assert_eq!(names, specs.iter().map(|s| &s.name).collect::<Vec<_>>());
        for (spec, tensor) in specs.iter().zip(header.tensors()) {
            let seen = &seen["tensors"][&spec.name];
            prop_assert_eq!(tensor.name, &spec.name);
            prop_assert_eq!(tensor.dtype, spec.dtype);
            prop_assert_eq!(tensor.shape, &spec.shape);
            prop_assert!(
                tensor
                    .metadata
                    .iter()
                    .eq(spec.metadata.iter().map(|(k, v)| (&**k, &**v)))
            );
            prop_assert_eq!(&seen["dtype"], spec.dtype.as_str());
            prop_assert_eq!(&seen["shape"], &Value::from(spec.shape.clone()));
            prop_assert_eq!(
                &seen["data_offsets"],
                &Value::from(vec![tensor.start, tensor.end])
            );
            prop_assert_eq!(
                &seen["metadata"],
                &serde_json::to_value(&spec.metadata).unwrap()
            );
            prop_assert_eq!(seen.get("sha256").is_some(), options.digests);
        }
    }

    #[test]
    fn names_are_found_like_in_a_map(specs in specs(), other in crate::support::name()) {
        let header = plan(&specs, &Default::default(), &Default::default())
            .header()
            .clone();
        let map: HashMap<_, _> = specs
            .iter()
            .enumerate()
            .map(|(nth, s)| (s.name.clone(), nth))
            .collect();
        for name in map.keys().chain([&other]) {
            prop_assert_eq!(header.position(name), map.get(name).copied());
        }
    }

    #[test]
    fn damaged_headers_never_panic(
        specs in specs(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let mut text = plan(&specs, &Default::default(), &Default::default())
            .header()
            .to_json()
            .into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        if cut {
            text.truncate(at);
        }
        if let Ok(header) = parse(&text) {
            for t in header.tensors() {
                prop_assert_eq!(t.dtype.nbytes(t.shape).unwrap(), t.nbytes());
            }
        }
    }
}
