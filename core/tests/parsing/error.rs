//! Errors: codes for programs, one safe line for people.

use deathtensors_core::{Code, Error, Printable};
use std::collections::HashSet;

#[test]
fn codes_are_distinct_and_tell_their_kind() {
    let mut seen = HashSet::new();
    for code in Code::ALL {
        assert!(seen.insert(code.as_str()), "{} twice", code.as_str());
        let (group, name) = code.as_str().split_once('.').unwrap();
        let plain = |text: &str| {
            !text.is_empty()
                && text
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        };
        assert!(plain(group) && plain(name), "{}", code.as_str());
        assert!(!code.meaning().is_empty() && !code.kind().as_str().is_empty());
    }
}

#[test]
fn one_line() {
    let error = Error::new(Code::TensorSize, "the size is wrong")
        .tensor("a\nb")
        .expected("8 bytes")
        .found("9 bytes");
    assert_eq!(
        error.to_string(),
        r"tensor 'a\u{a}b': the size is wrong (expected 8 bytes, found 9 bytes)"
    );
    assert_eq!(
        format!("{:?}", Error::new(Code::Io, "no")),
        "[io.failed] no"
    );
    let error = error
        .tensor("another")
        .context("shard 3")
        .with_code(Code::ShardsList);
    assert_eq!(
        (error.tensor_name(), error.message()),
        (Some("a\nb"), "shard 3: the size is wrong")
    );
    assert_eq!(error.code(), Code::ShardsList);
}

#[test]
fn text_from_files_is_safe_to_print() {
    for c in [
        '\0',
        '\u{1b}',
        '\u{7f}',
        '\u{9b}',
        '\u{ad}',
        '\u{61c}',
        '\u{200b}',
        '\u{202e}',
        '\u{3164}',
        '\u{fe0f}',
        '\u{2066}',
        '\u{feff}',
        '\u{e0041}',
    ] {
        let shown = Printable(&c.to_string()).to_string();
        assert!(shown.is_ascii() && shown.starts_with("\\u{"), "{shown}");
    }
    assert_eq!(Printable("été 日本 🦀").to_string(), "été 日本 🦀");
    let long = Printable(&"é".repeat(10_000)).to_string();
    assert!(
        long.chars().count() < 450 && long.contains("9600 more"),
        "{long}"
    );
    let just = "x".repeat(400);
    assert_eq!(Printable(&just).to_string(), just);
}
