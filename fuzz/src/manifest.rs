//! A manifest's JSON text.

use crate::{limits, same};
use deathtensors_core::manifest::{emit, parse};

/// See the table in the crate's documentation.
pub fn check(data: &[u8]) {
    let read = match parse(data, &limits()) {
        Ok(read) => read,
        Err(error) => return same::printable(&error),
    };
    let _ = same::second_opinion(data);
    let version = read.library_version.as_deref().unwrap_or("");
    let text = emit(
        &read.header,
        version,
        read.written_at.as_deref().unwrap_or(""),
    );
    let again = parse(text.as_bytes(), &deathtensors_core::Limits::DEFAULT);
    let again = again.expect("what was emitted is parsed");
    same::headers(&read.header, &again.header);
    let times = [&read, &again].map(|m| m.written_at.clone().unwrap_or_default());
    assert_eq!(times[0], times[1]);
    let once_more = emit(&again.header, version, &times[1]);
    assert_eq!(text, once_more);
}
