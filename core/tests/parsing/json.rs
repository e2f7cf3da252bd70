//! The JSON reader, held against serde_json.

use crate::support::{code, header, json, parse, text};
use deathtensors_core::{Code, Header, Limits};
use proptest::prelude::*;
use serde_json::Value;

/// A header with some JSON in a field that readers ignore.
fn with_unknown(value: &str) -> String {
    format!(r#"{{"format":"deathtensors","format_version":1,"x":{value},"tensors":{{}}}}"#)
}

/// Whether the text was understood as JSON, whatever it says.
fn is_json(error: Code) -> bool {
    !matches!(
        error,
        Code::HeaderJson | Code::HeaderTrailing | Code::HeaderUtf8
    )
}

fn check_against_serde(text: &str) -> Result<(), TestCaseError> {
    let ours = parse(text);
    match (serde_json::from_str::<Value>(text), ours) {
        // serde_json turns numbers into f64 and refuses those that are too large.
        (Err(e), _) if e.to_string().contains("out of range") => {}
        (Err(e), Ok(_)) => prop_assert!(false, "accepted, but {e}: {text}"),
        (Ok(_), Err(e)) => prop_assert!(is_json(e.code()), "{e:?} for valid {text}"),
        _ => {}
    }
    Ok(())
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(text(), inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Pieces that make nearly right JSON likely.
fn pieces() -> impl Strategy<Value = String> {
    const PIECES: &[&str] = &[
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        "\\u",
        "d83d",
        "\\ude00",
        "\\u0000",
        "\\n",
        "\\x",
        "0",
        "1",
        "-",
        "+",
        ".",
        "e",
        "E",
        "12",
        "00",
        "1.5",
        "-0",
        "1e5",
        "true",
        "false",
        "null",
        "nul",
        " ",
        "\n",
        "\t",
        "\r",
        "\u{b}",
        "\u{1}",
        "\u{7f}",
        "é",
        "\u{10ffff}",
        "\"a\"",
        "\"a\":1",
        "[]",
        "{}",
        "/",
        "\\/",
    ];
    prop::collection::vec(prop::sample::select(PIECES), 1..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn any_valid_value_is_skipped(value in any_json(), pretty in any::<bool>()) {
        let text = if pretty {
            serde_json::to_string_pretty(&value)
        } else {
            serde_json::to_string(&value)
        };
        prop_assert!(parse(with_unknown(&text.unwrap())).is_ok());
    }

    #[test]
    fn nearly_json_is_judged_like_serde(text in pieces()) {
        check_against_serde(&with_unknown(&text))?;
        check_against_serde(&with_unknown(&format!("[{text}]")))?;
        check_against_serde(&with_unknown(&format!("{{{text}}}")))?;
        check_against_serde(&with_unknown(&format!("\"{text}\"")))?;
    }

    #[test]
    fn damaged_json_is_judged_like_serde(
        value in any_json(),
        at in any::<prop::sample::Index>(),
        piece in pieces(),
        cut in 0usize..4,
    ) {
        let text = with_unknown(&value.to_string());
        let chars: Vec<char> = text.chars().collect();
        let at = at.index(chars.len());
        let mut damaged: String = chars[..at].iter().collect();
        damaged.push_str(&piece);
        damaged.extend(chars.iter().skip(at + cut));
        if damaged.starts_with('{') && damaged.ends_with('}') {
            check_against_serde(&damaged)?;
        }
    }

    #[test]
    fn strings_come_back(value in text(), key in text()) {
        let entry = |key: &str, value: &str| {
            let text = format!(
                r#"{{"format":"deathtensors","format_version":1,"global_metadata":{{{key}:{value}}},"tensors":{{}}}}"#
            );
            parse(text).unwrap()
        };
        let plain = entry(
            &Value::from(key.as_str()).to_string(),
            &Value::from(value.as_str()).to_string(),
        );
        let escaped = entry(&all_escaped(&key), &all_escaped(&value));
        for header in [plain, escaped] {
            prop_assert_eq!(header.global_metadata().get(&key), Some(value.as_str()));
            let again: Value = serde_json::from_str(&header.to_json()).unwrap();
            prop_assert_eq!(
                &again["global_metadata"][key.as_str()],
                &Value::from(value.as_str())
            );
        }
    }

    #[test]
    fn numbers_come_back(number in any::<u64>()) {
        // A size of zero, so that any dimension below 2^63 is fine.
        let text = json(&format!(
            r#""w":{{"dtype":"U8","shape":[0],"data_offsets":[{number}, {number}]}}"#
        ));
        prop_assert_eq!(parse(text).unwrap().at(0).unwrap().start, number);
    }
}

/// A JSON string in which every character is escaped.
fn all_escaped(text: &str) -> String {
    let units = text.encode_utf16().map(|unit| format!("\\u{unit:04X}"));
    format!("\"{}\"", units.collect::<String>())
}

#[test]
fn strings_end_where_they_should() {
    // Strings are read eight bytes at a time: try every place in such a word.
    for length in 0..26 {
        for at in 0..=length {
            for c in [
                '"', '\\', '\n', '\u{1f}', ' ', '!', '\u{7f}', '\u{80}', 'é', '\u{a2}', '\u{ffff}',
                '🦀', 'z',
            ] {
                let mut value = "a".repeat(length);
                value.insert(at, c);
                let text = format!(
                    r#""w":{{"dtype":"U8","shape":[0],"data_offsets":[0,0],"metadata":{{"k":{}}}}}"#,
                    Value::from(value.as_str())
                );
                assert_eq!(
                    header(&text).at(0).unwrap().metadata.get("k"),
                    Some(value.as_str())
                );
                if c < ' ' {
                    assert_eq!(
                        code(parse(with_unknown(&format!("\"{value}\"")))),
                        Code::HeaderJson
                    );
                }
            }
        }
    }
}

#[test]
fn numbers_of_another_kind_are_refused() {
    let size = |number: &str| {
        let entry = format!(r#""w":{{"dtype":"U8","shape":[{number}],"data_offsets":[0,0]}}"#);
        code(parse(json(&entry)))
    };
    for number in [
        "1.0",
        "1e0",
        "-1",
        "-0",
        "18446744073709551616",
        "\"1\"",
        "true",
        "null",
        "[1]",
        "1.",
        "1e",
    ] {
        assert_eq!(size(number), Code::HeaderFieldType, "{number}");
    }
    for number in ["01", "00", "0x1", "1_0", "+1", ".5", "1a", "NaN", ","] {
        assert_eq!(size(number), Code::HeaderJson, "{number}");
    }
    assert_eq!(size("18446744073709551615"), Code::TensorOverflow);
}

#[test]
fn surrogates_stand_in_pairs() {
    for lone in [
        r"\ud83d",
        r"\ude00",
        r"\ud83dx",
        r"\ud83d\n",
        r"\ud83d\ud83d",
        r"\ude00\ud83d",
        r"\ud83d\u0041",
        r"\ud83dxxde00",
        r"\ud83d\nde00",
    ] {
        assert_eq!(
            code(parse(with_unknown(&format!("\"{lone}\"")))),
            Code::HeaderJson,
            "{lone}"
        );
    }
    assert!(parse(with_unknown(r#""\ud83d\ude00""#)).is_ok());
}

#[test]
fn nesting_ends_at_the_limit() {
    let nested =
        |levels: usize| with_unknown(&format!("{}{}", "[".repeat(levels), "]".repeat(levels)));
    assert!(
        parse(nested(15)).is_ok(),
        "16 levels with the header itself"
    );
    assert_eq!(code(parse(nested(16))), Code::HeaderDepth);
    let objects = with_unknown(&format!("{}1{}", "{\"a\":".repeat(16), "}".repeat(16)));
    assert_eq!(code(parse(objects)), Code::HeaderDepth);
    // However high the limit, the stack is safe.
    let mut limits = Limits::DEFAULT;
    limits.depth = u64::MAX;
    assert!(Header::parse(nested(100).as_bytes(), &limits).is_ok());
    assert_eq!(
        code(Header::parse(nested(200_000).as_bytes(), &limits)),
        Code::HeaderDepth
    );
}

#[test]
fn a_key_stands_once_at_every_level() {
    for text in [
        with_unknown(r#"1,"x":2"#),
        with_unknown(r#"1,"\u0078":2"#),
        with_unknown(r#"{"a":1,"b":2,"a":1}"#),
        with_unknown(r#"[[{"a":1,"\u0061":2}]]"#),
        with_unknown(r#"1,"format":"deathtensors""#),
        with_unknown(r#"1,"format_version":1"#),
        with_unknown(r#"1,"tensors":{}"#),
        with_unknown(r#"1,"created_by":"a","created_by":"a""#),
        with_unknown(r#"1,"global_metadata":{},"global_metadata":{}"#),
        with_unknown(r#"1,"global_metadata":{"":"","":""}"#),
        with_unknown(&format!(
            r#"1,"root_sha256":"{0}","root_sha256":"{0}""#,
            "0".repeat(64)
        )),
    ] {
        assert_eq!(code(parse(&text)), Code::HeaderDuplicateKey, "{text}");
    }
}
