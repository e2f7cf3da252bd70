//! Headers of safetensors files.

use crate::support::{
    code, dtype, map, name, open, options, pairs, plan, shape, specs, text, why, written,
};
use deathtensors_core::safetensors::{Safetensors, emit, header_bytes, parse};
use deathtensors_core::{Code, Dtype, Header, Limits, Result, TensorSpec, WriteOptions};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const LIMITS: Limits = Limits::DEFAULT;

/// As safetensors 0.8 wrote it, five tensors and 33 bytes of data.
const REAL: &str = concat!(
    r#"{"__metadata__":{"format":"pt"},"s":{"dtype":"F64","shape":[],"data_offsets":[0,8]},"#,
    r#""b":{"dtype":"I32","shape":[3],"data_offsets":[8,20]},"a":{"dtype":"BF16","shape":[2,2],"data_offsets":[20,28]},"#,
    r#""u8":{"dtype":"U8","shape":[5],"data_offsets":[28,33]},"é\"\n":{"dtype":"BOOL","shape":[0,3],"data_offsets":[33,33]}}      "#,
);

fn read(json: &str, data: u64) -> Result<Safetensors> {
    parse(json.as_bytes(), 8 + json.len() as u64 + data, &LIMITS)
}

/// The start of a safetensors file with this header.
fn head(json: &str) -> Vec<u8> {
    let mut out = (json.len() as u64).to_le_bytes().to_vec();
    out.extend(json.as_bytes());
    out
}

fn converted(file: &Safetensors) -> Header {
    let (specs, global) = file.specs(&LIMITS).unwrap();
    plan(&specs, &global, &WriteOptions::default())
        .header()
        .clone()
}

#[test]
fn a_real_file_there_and_back() {
    let bytes = head(REAL);
    assert_eq!(
        header_bytes(&bytes[..8], bytes.len() as u64 + 33, &LIMITS).unwrap(),
        320
    );
    let file = read(REAL, 33).unwrap();
    assert_eq!(file.data_start, 328);
    assert_eq!(file.metadata, [("format".to_string(), "pt".to_string())]);
    let seen: Vec<_> = file
        .tensors
        .iter()
        .map(|t| (&*t.name, t.dtype, &*t.shape, t.data.clone()))
        .collect();
    let wanted = [
        ("s", Dtype::F64, &[][..], 0..8),
        ("b", Dtype::I32, &[3], 8..20),
        ("a", Dtype::Bf16, &[2, 2], 20..28),
        ("u8", Dtype::U8, &[5], 28..33),
        ("é\"\n", Dtype::Bool, &[0, 3], 33..33),
    ];
    assert_eq!(seen, wanted);
    let header = converted(&file);
    let global: Vec<_> = header.global_metadata().iter().collect();
    assert_eq!(
        global,
        [
            ("deathtensors.converted_from", "safetensors"),
            ("format", "pt")
        ]
    );
    let (again, spans) = emit(&header).unwrap();
    assert_eq!(again, bytes);
    assert_eq!(spans, [0..8, 8..20, 20..28, 28..33, 33..33]);
}

#[test]
fn the_smallest_files() {
    assert_eq!(read("{}      ", 0).unwrap().tensors, []);
    let (head, spans) = emit(
        &plan(&[], &map(&[]), &WriteOptions::default())
            .header()
            .clone(),
    )
    .unwrap();
    assert_eq!(
        (head.as_slice(), spans.len()),
        (&b"\x08\0\0\0\0\0\0\0{}      "[..], 0)
    );
    assert!(
        read(r#"{"__metadata__":null}"#, 0)
            .unwrap()
            .metadata
            .is_empty()
    );
    assert!(
        read(
            r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"more":[{}]}}"#,
            1
        )
        .is_ok()
    );
}

#[test]
fn order_need_not_be_that_of_the_bytes() {
    let text = r#"{"x":{"dtype":"U8","shape":[3],"data_offsets":[2,5]},"y":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}"#;
    let file = read(text, 5).unwrap();
    assert_eq!(
        file.tensors.iter().map(|t| &*t.name).collect::<Vec<_>>(),
        ["x", "y"]
    );
}

#[test]
fn refused_beginnings() {
    let refused = |head: &[u8], file_bytes, wanted: &str| {
        let error = header_bytes(head, file_bytes, &LIMITS).unwrap_err();
        assert_eq!(error.code(), Code::SafetensorsInvalid);
        assert!(error.to_string().contains(wanted), "{error}");
    };
    refused(b"", 0, "empty");
    refused(b"\x02\0\0\0{}", 6, "6 bytes");
    refused(b"\x02\0\0\0\0\0\0\0{", 9, "past the end");
    refused(&100_000_001u64.to_le_bytes(), u64::MAX, "at most 100000000");
    refused(&u64::MAX.to_le_bytes(), u64::MAX, "at most 100000000");
    refused(b"DTLEGION\x01\0\0\0", 1000, "deathtensors file already");
    refused(b"PK\x03\x04\x14\0\x08\x08", 1000, "zip");
    refused(b"\x80\x02}q\0(X\x01", 1000, "pickle");
    refused(b"<!DOCTYPE html>", 1000, "HTML");
    // A header of 640 bytes starts like a pickle, and is none.
    assert_eq!(
        header_bytes(b"\x80\x02\0\0\0\0\0\0", 648, &LIMITS).unwrap(),
        640
    );
    let mut limits = LIMITS;
    limits.header_bytes = 7;
    assert_eq!(
        code(header_bytes(&head("{}      "), 16, &limits)),
        Code::LimitHeader
    );
}

#[test]
fn refused_headers() {
    let tensor = |name: &str, start: u64, end: u64| {
        format!(
            r#""{name}":{{"dtype":"U8","shape":[{}],"data_offsets":[{start},{end}]}}"#,
            end - start
        )
    };
    let invalid = |json: &str, data: u64, name: Option<&str>| {
        assert_eq!(
            why(read(json, data)),
            (Code::SafetensorsInvalid, name.map(Into::into)),
            "{json}"
        );
    };
    for json in [
        "",
        "[]",
        " {}",
        "{",
        "{}x",
        "{}\0",
        "nul",
        "{\"__metadata__\":5}",
        "{\"__metadata__\":{\"a\":1}}",
    ] {
        invalid(json, 0, None);
    }
    invalid(r#"{"__metadata__":{},"__metadata__":{}}"#, 0, None);
    invalid(r#"{"__metadata__":{"a":"","a":""}}"#, 0, None);
    // Holes, overlaps, and data that nobody owns or that is not there.
    invalid(&format!("{{{}}}", tensor("a", 1, 3)), 3, Some("a"));
    invalid(
        &format!("{{{},{}}}", tensor("a", 0, 3), tensor("b", 4, 5)),
        5,
        Some("b"),
    );
    invalid(
        &format!("{{{},{}}}", tensor("a", 0, 3), tensor("b", 2, 5)),
        5,
        Some("b"),
    );
    invalid(
        &format!("{{{},{}}}", tensor("a", 0, 3), tensor("b", 0, 3)),
        3,
        Some("b"),
    );
    invalid(&format!("{{{}}}", tensor("a", 0, 3)), 4, None);
    invalid(&format!("{{{}}}", tensor("a", 0, 3)), 2, None);
    invalid("{}", 1, None);
    invalid(
        &format!("{{{},{}}}", tensor("a", 0, 3), tensor("a", 3, 5)),
        5,
        Some("a"),
    );
    let good = tensor("a", 0, 2);
    for (from, to) in [
        (r#""U8""#, r#""u8""#),
        (r#""U8""#, r#""C128""#),
        (r#""U8""#, "8"),
        (r#""dtype":"U8","#, ""),
        (r#""shape":[2],"#, ""),
        (r#","data_offsets":[0,2]"#, ""),
        ("[2]", "[3]"),
        ("[2]", "[-2]"),
        ("[2]", "[2.0]"),
        ("[2]", "2"),
        ("[2]", "[9223372036854775807,4]"),
        ("[0,2]", "[2,0]"),
        ("[0,2]", "[0]"),
        ("[0,2]", "[0,1,2]"),
        ("[0,2]", r#"[0,2],"dtype":"U8""#),
        ("[0,2]", r#"[0,2],"x":1,"x":1"#),
        (r#""U8","shape":[2]"#, r#""F4","shape":[3]"#),
    ] {
        assert!(good.contains(from));
        invalid(&format!("{{{}}}", good.replacen(from, to, 1)), 2, Some("a"));
    }
    let rank = format!(
        "{{{}}}",
        good.replacen("[2]", &format!("[{}2]", "1,".repeat(64)), 1)
    );
    assert_eq!(why(read(&rank, 2)), (Code::LimitRank, Some("a".into())));
    let mut limits = LIMITS;
    limits.tensors = 0;
    assert_eq!(
        code(parse(format!("{{{good}}}").as_bytes(), 1000, &limits)),
        Code::LimitTensors
    );
}

#[test]
fn what_safetensors_cannot_say() {
    let one = |spec: TensorSpec| {
        why(emit(
            plan(&[spec], &map(&[]), &WriteOptions::default()).header(),
        ))
    };
    assert_eq!(
        one(TensorSpec::new("c", Dtype::C128, [1])),
        (Code::SafetensorsDtype, Some("c".into()))
    );
    assert_eq!(
        one(TensorSpec::new("__metadata__", Dtype::U8, [1])),
        (Code::SafetensorsInvalid, Some("__metadata__".into()))
    );
    let empty_name = read(r#"{"":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#, 0).unwrap();
    assert_eq!(code(empty_name.specs(&LIMITS)), Code::TensorNameEmpty);
}

#[test]
fn metadata_of_tensors_is_put_aside() {
    let mut a = TensorSpec::new("a\"", Dtype::U8, [1]);
    a.metadata = map(&[("k", "v"), ("l", "é")]);
    let specs = [a, TensorSpec::new("b", Dtype::U8, [1])];
    let header = plan(&specs, &map(&[("z", "1")]), &WriteOptions::default())
        .header()
        .clone();
    let (bytes, _) = emit(&header).unwrap();
    let json = std::str::from_utf8(&bytes[8..]).unwrap();
    let wanted = r#"{"__metadata__":{"z":"1","deathtensors.tensor_metadata":"{\"a\\\"\":{\"k\":\"v\",\"l\":\"é\"}}"},"#;
    assert!(json.starts_with(wanted), "{json}");
    let (again, global) = read(json, 2).unwrap().specs(&LIMITS).unwrap();
    assert_eq!(again[0].metadata, specs[0].metadata);
    assert!(again[1].metadata.is_empty());
    assert_eq!(
        global,
        map(&[("z", "1"), ("deathtensors.converted_from", "safetensors")])
    );

    // Somebody else's text under that key stays what it is.
    for foreign in [
        "",
        "{",
        "[]",
        "{}x",
        r#"{"c":{}}"#,
        r#"{"b":{"k":1}}"#,
        r#"{"b":{"k":{}}}"#,
        r#"{"b":{},"b":{}}"#,
    ] {
        let json = json!({
            "__metadata__": {"deathtensors.tensor_metadata": foreign, "deathtensors.converted_from": "elsewhere"},
            "b": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},
        });
        let file = read(&json.to_string(), 1).unwrap();
        let (specs, global) = file.specs(&LIMITS).unwrap();
        assert!(specs[0].metadata.is_empty());
        let wanted = map(&[
            ("deathtensors.tensor_metadata", foreign),
            ("deathtensors.converted_from", "elsewhere"),
        ]);
        assert_eq!(global, wanted);
        let (back, _) = emit(&converted(&file)).unwrap();
        let back = read(std::str::from_utf8(&back[8..]).unwrap(), 1).unwrap();
        assert_eq!(BTreeMap::from_iter(back.metadata), wanted);
    }
}

/// A header as safetensors writes it, of tensors in this order.
fn written_by_safetensors(
    tensors: &[(String, Dtype, Vec<u64>)],
    metadata: &BTreeMap<String, String>,
) -> (Vec<u8>, u64) {
    let mut all = Map::new();
    if !metadata.is_empty() {
        all.insert(
            "__metadata__".into(),
            serde_json::to_value(metadata).unwrap(),
        );
    }
    let mut end = 0;
    for (name, dtype, shape) in tensors {
        let start = end;
        end += dtype.nbytes(shape).unwrap();
        all.insert(
            name.clone(),
            json!({"dtype": dtype.as_str(), "shape": shape, "data_offsets": [start, end]}),
        );
    }
    let mut text = Value::Object(all).to_string();
    while !text.len().is_multiple_of(8) {
        text.push(' ');
    }
    (head(&text), end)
}

proptest! {
    #[test]
    fn converted_there_and_back(
        tensors in prop::collection::btree_map(
            name(),
            dtype()
                .prop_filter("not in safetensors", |&d| d != Dtype::C128)
                .prop_flat_map(|d| (Just(d), shape(d))),
            0..10,
        )
        .prop_map(|all| {
            all.into_iter()
                .map(|(name, (dtype, shape))| (name, dtype, shape))
                .collect::<Vec<_>>()
        })
        .prop_shuffle(),
        metadata in pairs(),
    ) {
        let (bytes, data) = written_by_safetensors(&tensors, &metadata);
        let length = header_bytes(&bytes[..8], bytes.len() as u64 + data, &LIMITS).unwrap();
        prop_assert_eq!(length, bytes.len() as u64 - 8);
        let file = parse(&bytes[8..], bytes.len() as u64 + data, &LIMITS).unwrap();
        let header = converted(&file);
        let (again, spans) = emit(&header).unwrap();
        prop_assert_eq!(String::from_utf8(again), String::from_utf8(bytes));
        for (span, t) in spans.iter().zip(header.tensors()) {
            prop_assert_eq!(span, &t.data());
        }
    }

    #[test]
    fn ours_there_and_back(
        specs in specs(),
        global in pairs(),
        options in options(),
        odd in text(),
    ) {
        let mut global = global;
        global.insert("odd".into(), odd);
        let specs: Vec<_> = specs
            .into_iter()
            .map(|mut s| {
                if s.dtype == Dtype::C128 {
                    s.dtype = Dtype::C64;
                }
                s
            })
            .collect();
        let planned = plan(&specs, &global, &options);
        prop_assert!(open(&written(&planned)).is_ok() || options.checksum);
        let (bytes, spans) = emit(planned.header()).unwrap();
        prop_assert!(bytes.len().is_multiple_of(8));
        // Tied tensors are written twice, and everything is contiguous.
        let data: u64 = spans.iter().map(|s| s.end - s.start).sum();
        let file = parse(&bytes[8..], bytes.len() as u64 + data, &LIMITS).unwrap();
        let (again, mut metadata) = file.specs(&LIMITS).unwrap();
        metadata.remove("deathtensors.converted_from");
        prop_assert_eq!(metadata, global);
        prop_assert_eq!(again.len(), specs.len());
        for (a, b) in again.iter().zip(&specs) {
            prop_assert_eq!(
                (&a.name, a.dtype, &a.shape, &a.metadata),
                (&b.name, b.dtype, &b.shape, &b.metadata)
            );
        }
    }

    #[test]
    fn damaged_headers_never_panic(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<bool>(),
        data in 0u64..70,
    ) {
        let mut text = REAL.as_bytes().to_vec();
        let at = at.index(text.len());
        text[at] = byte;
        if cut {
            text.truncate(at);
        }
        if let Ok(file) = parse(&text, 8 + text.len() as u64 + data, &LIMITS) {
            let mut spans: Vec<_> = file
                .tensors
                .iter()
                .map(|t| (t.data.start, t.data.end))
                .collect();
            spans.sort();
            let mut end = 0;
            for span in spans {
                prop_assert_eq!(span.0, end);
                end = span.1;
            }
            prop_assert_eq!(end, data);
        }
    }
}
