//! A header's JSON text.

use crate::{limits, same};
use deathtensors_core::Header;
use serde_json::{Value, json};

/// See the table in the crate's documentation.
pub fn check(data: &[u8]) {
    let header = match Header::parse(data, &limits()) {
        Ok(header) => header,
        Err(error) => return same::printable(&error),
    };
    let text = header.to_json();
    let again = Header::parse(text.as_bytes(), &deathtensors_core::Limits::DEFAULT);
    let again = again.expect("what was emitted is parsed");
    same::headers(&header, &again);
    assert_eq!(header.created_by(), again.created_by());
    assert_eq!(text, again.to_json());
    if let Some(other) = same::second_opinion(data) {
        check_with(&header, &other);
    }
    for (nth, tensor) in header.tensors().enumerate() {
        assert_eq!(header.position(tensor.name), Some(nth));
    }
}

/// A second parser's opinion.
fn check_with(header: &Header, other: &Value) {
    let tensors = other["tensors"].as_object().expect("an object");
    assert_eq!(tensors.len(), header.len());
    for tensor in header.tensors() {
        let other = &tensors[tensor.name];
        assert_eq!(other["dtype"], tensor.dtype.as_str());
        assert_eq!(other["shape"], json!(tensor.shape));
        assert_eq!(other["data_offsets"], json!([tensor.start, tensor.end]));
        for (key, value) in tensor.metadata.iter() {
            assert_eq!(other["metadata"][key], value);
        }
    }
    for (key, value) in header.global_metadata().iter() {
        assert_eq!(other["global_metadata"][key], value);
    }
}
