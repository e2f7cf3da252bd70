//! Refusals on their way to JavaScript.

use crate::globals::{Object, set};
use crate::json::Json;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use deathtensors_core::Error;
use wasm_bindgen::JsValue;

pub(crate) type Result<T, E = Failure> = core::result::Result<T, E>;

/// What is thrown: a plain object, so that it can go from worker to page.
pub struct Failure(Box<Inner>);

struct Inner {
    kind: &'static str,
    code: &'static str,
    message: String,
    tensor: Option<String>,
    expected: Option<String>,
    found: Option<String>,
}

impl Failure {
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind: code.split_once('.').map_or(code, |(kind, _)| kind),
            code,
            message: message.into(),
            tensor: None,
            expected: None,
            found: None,
        }))
    }

    /// Says what would have been right, and what was there instead.
    pub fn but(mut self, expected: impl Into<String>, found: impl Into<String>) -> Self {
        let (expected, found) = (expected.into(), found.into());
        self.0.message = format!("{} (expected {expected}, found {found})", self.0.message);
        self.0.expected = Some(expected);
        self.0.found = Some(found);
        self
    }

    fn optional(&self) -> [(&'static str, Option<&str>); 3] {
        [
            ("tensor", self.0.tensor.as_deref()),
            ("expected", self.0.expected.as_deref()),
            ("found", self.0.found.as_deref()),
        ]
    }

    /// The same as JSON.
    pub(crate) fn write(&self, json: &mut Json) {
        json.open('{');
        json.text_field("kind", self.0.kind);
        json.text_field("code", self.0.code);
        json.text_field("message", &self.0.message);
        for (key, value) in self.optional() {
            if let Some(value) = value {
                json.text_field(key, value);
            }
        }
        json.close('}');
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self(Box::new(Inner {
            kind: error.kind().as_str(),
            code: error.code().as_str(),
            message: error.to_string(),
            tensor: error.tensor_name().map(Into::into),
            expected: error.expected_text().map(Into::into),
            found: error.found_text().map(Into::into),
        }))
    }
}

impl From<Failure> for JsValue {
    fn from(failure: Failure) -> Self {
        let object = Object::new();
        set(&object, "kind", failure.0.kind);
        set(&object, "code", failure.0.code);
        set(&object, "message", failure.0.message.as_str());
        for (key, value) in failure.optional() {
            if let Some(value) = value {
                set(&object, key, value);
            }
        }
        object.into()
    }
}

/// Memory for `bytes` bytes, or a refusal.
pub(crate) fn memory(bytes: u64) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let wanted = usize::try_from(bytes)
        .ok()
        .filter(|&n| n <= isize::MAX as usize);
    match wanted.map(|n| out.try_reserve_exact(n)) {
        Some(Ok(())) => Ok(out),
        _ => Err(no_memory(bytes)),
    }
}

pub(crate) fn no_memory(bytes: u64) -> Failure {
    Failure::new("limit.memory", "this does not fit into the memory there is")
        .but("less", format!("{bytes} bytes"))
}
