//! Elements as JavaScript's numbers, and as a NumPy file.

use crate::convert::{place, wholes};
use crate::failure::{Failure, Result, no_memory};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;
use deathtensors_core::stats::{decode_f32, decode_f64};
use deathtensors_core::{Dtype, Unit};
use wasm_bindgen::prelude::wasm_bindgen;

/// What the functions here answer, for TypeScript.
#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/** What is thrown: a plain object. */
export interface Failure {
  kind: string;
  code: string;
  message: string;
  tensor?: string;
  expected?: string;
  found?: string;
}

export interface StatsOfBytes {
  dtype: string;
  count: number;
  min: number | bigint;
  max: number | bigint;
  absmax: number | bigint;
  mean: number;
  stddev: number;
  l2: number;
  nnz: number;
  nan: number;
  posinf: number;
  neginf: number;
}

export interface HistogramOfBytes {
  edges: Float64Array;
  counts: Float64Array;
  below: number;
  above: number;
  nan: number;
  posinf: number;
  neginf: number;
}

export interface ChannelsOfBytes {
  count: Float64Array;
  min: Float64Array;
  max: Float64Array;
  mean: Float64Array;
  stddev: Float64Array;
}
"#;

/// Elements from `first` on as 32-bit floats.
#[wasm_bindgen(js_name = decodeFloats)]
pub fn decode_floats(
    dtype: &str,
    bytes: &[u8],
    first: Option<f64>,
    count: Option<f64>,
) -> Result<Vec<f32>, Failure> {
    decode(dtype, bytes, first, count, decode_f32)
}

/// Elements from `first` on as 64-bit floats.
#[wasm_bindgen(js_name = decodeDoubles)]
pub fn decode_doubles(
    dtype: &str,
    bytes: &[u8],
    first: Option<f64>,
    count: Option<f64>,
) -> Result<Vec<f64>, Failure> {
    decode(dtype, bytes, first, count, decode_f64)
}

fn decode<T>(
    dtype: &str,
    bytes: &[u8],
    first: Option<f64>,
    count: Option<f64>,
    into: impl Fn(Dtype, &[u8], &mut Vec<T>),
) -> Result<Vec<T>> {
    let dtype = Dtype::parse(dtype)?;
    let Unit {
        bytes: unit,
        elements,
    } = dtype.unit();
    let (unit, elements) = (unit as usize, elements as usize);
    let all = bytes.len() / unit * elements;
    let first = first.map_or(Ok(0), |first| place(first, "the first element"))?;
    let count = match count {
        Some(count) => place(count, "the count")?,
        None => all.saturating_sub(first),
    };
    let end = first.checked_add(count).filter(|&end| end <= all);
    let Some(end) = end else {
        return Err(
            Failure::new("usage.range", "the elements are outside the bytes")
                .but(format!("at most {all}"), format!("{count} from {first}")),
        );
    };
    let from = first / elements;
    let part = bytes
        .get(from * unit..end.div_ceil(elements) * unit)
        .unwrap_or_default();
    let mut out = Vec::new();
    let room = part.len() / unit * elements;
    out.try_reserve_exact(room)
        .map_err(|_| no_memory((room * size_of::<T>()) as u64))?;
    into(dtype, part, &mut out);
    out.drain(..(first - from * elements).min(out.len()));
    out.truncate(count);
    Ok(out)
}

/// NumPy's own name for the dtype, where it has one without other packages.
#[wasm_bindgen(js_name = npyDtype)]
pub fn npy_dtype(dtype: &str) -> Result<Option<String>, Failure> {
    Ok(numpys_own(Dtype::parse(dtype)?).map(Into::into))
}

fn numpys_own(dtype: Dtype) -> Option<&'static str> {
    dtype
        .numpy_name()
        .filter(|name| name.starts_with(['<', '|']))
}

/// The start of a `.npy` file; the elements follow, as float32 where NumPy has no such
/// dtype.
#[wasm_bindgen(js_name = npyHeader)]
pub fn npy_header(dtype: &str, shape: &[f64]) -> Result<Vec<u8>, Failure> {
    const ALIGNMENT: usize = 64;
    const LENGTH_AT: usize = 8;
    let name = numpys_own(Dtype::parse(dtype)?).unwrap_or("<f4");
    let shape = wholes(shape, "the shape")?;
    let mut text = format!("{{'descr': '{name}', 'fortran_order': False, 'shape': (");
    for dim in &shape {
        // Writing to a string does not fail. The comma makes a single number a tuple.
        let _always_ok = write!(text, "{dim}, ");
    }
    text.push_str("), }");
    let mut out = b"\x93NUMPY\x01\x00\x00\x00".to_vec();
    out.extend_from_slice(text.as_bytes());
    out.resize((out.len() + 1).next_multiple_of(ALIGNMENT) - 1, b' ');
    out.push(b'\n');
    let Ok(length) = u16::try_from(out.len() - LENGTH_AT - 2) else {
        return Err(Failure::new(
            "usage.range",
            "the shape has too many dimensions",
        ));
    };
    for (byte, value) in out.iter_mut().skip(LENGTH_AT).zip(length.to_le_bytes()) {
        *byte = value;
    }
    Ok(out)
}
