//! From a [`Header`] to its one canonical JSON text.

use super::Header;
use crate::digest::{Digest, hex};
use crate::json::{push_string, push_strings, push_u64s};
use alloc::string::String;
use core::ops::Range;

/// JSON text, and where the root's digits stand in it.
pub(crate) struct Emitted {
    pub json: String,
    pub root_digits: Option<Range<usize>>,
}

impl Header {
    /// The canonical JSON text: fixed key order, no white space, without the
    /// trailing spaces that align the blob. Parsing it gives the same header.
    pub fn to_json(&self) -> String {
        self.emit(self.root()).json
    }

    pub(crate) fn emit(&self, root: Option<&Digest>) -> Emitted {
        let mut out = String::with_capacity(128 * self.tensors.len() + self.text.len() + 256);
        out.push_str("{\"format\":\"deathtensors\",\"format_version\":1");
        if let Some(text) = self.created_by() {
            out.push_str(",\"created_by\":");
            push_string(&mut out, text);
        }
        out.push_str(",\"global_metadata\":");
        push_strings(&mut out, self.global_metadata().iter());
        let root_digits = root.map(|digest| {
            out.push_str(",\"root_sha256\":\"");
            let start = out.len();
            out.push_str(&hex(digest));
            out.push('"');
            start..start + 64
        });
        out.push_str(",\"tensors\":{");
        for (nth, tensor) in self.tensors().enumerate() {
            if nth > 0 {
                out.push(',');
            }
            push_string(&mut out, tensor.name);
            out.push_str(":{\"dtype\":\"");
            out.push_str(tensor.dtype.as_str());
            out.push_str("\",\"shape\":");
            push_u64s(&mut out, tensor.shape);
            out.push_str(",\"data_offsets\":");
            push_u64s(&mut out, &[tensor.start, tensor.end]);
            out.push_str(",\"metadata\":");
            push_strings(&mut out, tensor.metadata.iter());
            if let Some(digest) = tensor.sha256 {
                out.push_str(",\"sha256\":\"");
                out.push_str(&hex(digest));
                out.push('"');
            }
            out.push('}');
        }
        out.push_str("}}");
        Emitted {
            json: out,
            root_digits,
        }
    }
}
