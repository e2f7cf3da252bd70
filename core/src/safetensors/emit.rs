//! Writing a safetensors header for the tensors of one of our files.

use super::{
    CONVERTED_FROM, LENGTH_BYTES, LONGEST_HEADER, METADATA, SAFETENSORS, TENSOR_METADATA,
    has_dtype, invalid, metadata,
};
use crate::error::{Code, Error, Result};
use crate::header::Header;
use crate::json::{push_string, push_strings, push_u64s};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

/// The start of a safetensors file with the tensors of `header`: length, JSON, and
/// spaces up to a multiple of 8. With it, for each tensor in the header's order,
/// the span of our uncompressed blob whose bytes come next in that file. Tied
/// tensors are written twice, since safetensors does not tie.
///
/// A file that safetensors wrote comes back as it was, byte for byte, when its
/// metadata is in sorted order.
///
/// # Errors
/// `safetensors.dtype` for a tensor of a dtype that safetensors lacks,
/// `safetensors.invalid` for one named `__metadata__`, `tensor.overflow` and
/// `limit.header_bytes` when the file would be too long.
pub fn emit(header: &Header) -> Result<(Vec<u8>, Vec<Range<u64>>)> {
    let mut json = String::from("{");
    push_metadata(&mut json, header);
    let mut spans = Vec::with_capacity(header.len());
    let mut end = 0u64;
    for tensor in header.tensors() {
        if tensor.name == METADATA {
            return Err(invalid("safetensors keeps this name for itself").tensor(tensor.name));
        }
        if !has_dtype(tensor.dtype) {
            return Err(
                Error::new(Code::SafetensorsDtype, "safetensors has no such dtype")
                    .tensor(tensor.name)
                    .found(tensor.dtype),
            );
        }
        let start = end;
        end = start.checked_add(tensor.nbytes()).ok_or_else(|| {
            Error::new(Code::TensorOverflow, "the file would be too long").tensor(tensor.name)
        })?;
        if json.len() > 1 {
            json.push(',');
        }
        push_string(&mut json, tensor.name);
        json.push_str(":{\"dtype\":\"");
        json.push_str(tensor.dtype.as_str());
        json.push_str("\",\"shape\":");
        push_u64s(&mut json, tensor.shape);
        json.push_str(",\"data_offsets\":");
        push_u64s(&mut json, &[start, end]);
        json.push('}');
        spans.push(tensor.data());
    }
    json.push('}');
    Ok((frame(json)?, spans))
}

fn push_metadata(json: &mut String, header: &Header) {
    let aside = metadata::set_aside(header);
    let global = header.global_metadata();
    let kept = global.iter().filter(|&(key, value)| match key {
        CONVERTED_FROM => value != SAFETENSORS,
        TENSOR_METADATA => aside.is_none(),
        _ => true,
    });
    let aside = aside.as_deref().map(|text| (TENSOR_METADATA, text));
    let mut pairs = kept.chain(aside).peekable();
    if pairs.peek().is_some() {
        push_string(json, METADATA);
        json.push(':');
        push_strings(json, pairs);
    }
}

/// Puts the length before the JSON and spaces after it.
fn frame(json: String) -> Result<Vec<u8>> {
    let length = (json.len() as u64).next_multiple_of(LENGTH_BYTES);
    if length > LONGEST_HEADER {
        return Err(Error::new(
            Code::LimitHeader,
            "the header is longer than safetensors allows",
        )
        .expected(format!("at most {LONGEST_HEADER} bytes"))
        .found(format!("{length} bytes")));
    }
    let mut out = Vec::with_capacity(json.len() + 2 * LENGTH_BYTES as usize);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(json.as_bytes());
    out.resize(out.len().next_multiple_of(LENGTH_BYTES as usize), b' ');
    Ok(out)
}
