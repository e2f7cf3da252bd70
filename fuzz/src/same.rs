//! Comparing what two readers made of the same bytes.

use deathtensors_core::{Code, Dtype, Header, Metadata};
use safetensors::SafeTensors;
use std::fmt::Display;

/// Panics unless both headers say the same, apart from the texts they came from.
pub fn headers(a: &Header, b: &Header) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.tensors().zip(b.tensors()) {
        assert_eq!((a.name, a.dtype, a.shape), (b.name, b.dtype, b.shape));
        assert_eq!((a.data(), a.sha256), (b.data(), b.sha256));
        pairs(&a.metadata, &b.metadata);
    }
    pairs(&a.global_metadata(), &b.global_metadata());
    assert_eq!(a.root(), b.root());
    assert_eq!(a.data_bytes(), b.data_bytes());
}

fn pairs(a: &Metadata<'_>, b: &Metadata<'_>) {
    assert!(a.iter().eq(b.iter()), "{a:?} became {b:?}");
}

/// Panics unless safetensors found the same tensor under that name.
pub fn tensors(theirs: &SafeTensors<'_>, name: &str, dtype: Dtype, shape: &[u64], data: &[u8]) {
    let other = theirs.tensor(name).expect("every tensor");
    let dims = other.shape().iter().map(|&n| n as u64);
    assert!(
        dims.eq(shape.iter().copied()),
        "{name}: {:?}",
        other.shape()
    );
    assert_eq!(other.dtype().to_string(), dtype.as_str(), "{name}");
    assert!(other.data() == data, "{name}: other bytes");
}

/// Panics unless both worked, or were refused with the same code.
pub fn verdicts<T, U>(what: &str, a: &Result<T, Code>, b: &Result<U, Code>) {
    assert_eq!(a.as_ref().err(), b.as_ref().err(), "{what}");
}

/// An error's text is one line that can do nothing to a terminal, and not long.
pub fn printable(error: &impl Display) {
    let text = error.to_string();
    assert!(!text.chars().any(char::is_control), "{text:?}");
    // Two names, each cut to 400 characters, which may take nine bytes each.
    assert!(text.len() < 8000, "{} bytes: {text}", text.len());
}

/// What a second parser makes of text that ours accepted. None for the one thing in
/// which it is stricter: numbers beyond binary64, which ours skips in ignored fields.
pub fn second_opinion(json: &[u8]) -> Option<serde_json::Value> {
    match serde_json::from_slice(json) {
        Ok(value) => Some(value),
        Err(error) if error.to_string().starts_with("number out of range") => None,
        Err(error) => panic!("serde_json refuses it: {error}"),
    }
}
