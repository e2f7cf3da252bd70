//! What is worked out from a tensor's bytes as they come.

use crate::convert::{place, whole, wholes};
use crate::failure::{Failure, Result};
use crate::globals::{Float64Array, Object, set};
use alloc::string::String;
use alloc::vec::Vec;
use deathtensors_core::stats::{Accumulator, Channels, Histogram, Number};
use deathtensors_core::{Dtype, digest};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

/// Statistics of a tensor's elements.
#[wasm_bindgen]
pub struct StatsReducer {
    dtype: Dtype,
    all: Accumulator,
}

#[wasm_bindgen]
impl StatsReducer {
    /// For a tensor of that dtype.
    #[wasm_bindgen(constructor)]
    pub fn new(dtype: &str) -> Result<StatsReducer, Failure> {
        let dtype = Dtype::parse(dtype)?;
        Ok(Self {
            dtype,
            all: Accumulator::new(dtype),
        })
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.all.update(bytes);
    }

    /// The statistics.
    #[wasm_bindgen(unchecked_return_type = "StatsOfBytes")]
    pub fn finish(self) -> Object {
        let stats = self.all.finish();
        let object = Object::new();
        set(&object, "dtype", self.dtype.as_str());
        for (key, value) in [
            ("min", stats.min),
            ("max", stats.max),
            ("absmax", stats.absmax),
        ] {
            set(&object, key, number(value));
        }
        for (key, value) in [
            ("mean", stats.mean),
            ("stddev", stats.stddev),
            ("l2", stats.l2),
        ] {
            set(&object, key, value);
        }
        for (key, value) in [
            ("count", stats.count),
            ("nnz", stats.nnz),
            ("nan", stats.nan),
            ("posinf", stats.posinf),
            ("neginf", stats.neginf),
        ] {
            set(&object, key, value as f64);
        }
        object
    }
}

/// A bigint for what a number would round.
fn number(value: Number) -> JsValue {
    const SAFE: i128 = 1 << 53;
    match value {
        Number::Float(x) => x.into(),
        Number::Int(n) if (-SAFE..=SAFE).contains(&n) => (n as f64).into(),
        // The largest integers are those of U64 and the smallest those of I64.
        Number::Int(n) => i64::try_from(n).map_or_else(|_| (n as u64).into(), Into::into),
    }
}

/// How many elements fall into each of some equal intervals.
#[wasm_bindgen]
pub struct HistogramReducer(Histogram);

#[wasm_bindgen]
impl HistogramReducer {
    /// For a tensor of that dtype.
    #[wasm_bindgen(constructor)]
    pub fn new(dtype: &str, lo: f64, hi: f64, bins: f64) -> Result<HistogramReducer, Failure> {
        let bins = place(bins, "the number of bins")?;
        Ok(Self(Histogram::new(Dtype::parse(dtype)?, lo, hi, bins)?))
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The counts.
    #[wasm_bindgen(unchecked_return_type = "HistogramOfBytes")]
    pub fn finish(self) -> Object {
        let object = Object::new();
        set(&object, "edges", Float64Array::new(self.0.edges()));
        let found = self.0.finish();
        let counts: Vec<f64> = found.counts.iter().map(|&count| count as f64).collect();
        set(&object, "counts", Float64Array::new(&counts[..]));
        for (key, value) in [
            ("below", found.under - found.neginf),
            ("above", found.over - found.posinf),
            ("nan", found.nan),
            ("posinf", found.posinf),
            ("neginf", found.neginf),
        ] {
            set(&object, key, value as f64);
        }
        object
    }
}

/// Statistics along one axis.
#[wasm_bindgen]
pub struct ChannelReducer(Channels);

#[wasm_bindgen]
impl ChannelReducer {
    /// For a tensor of that dtype and shape.
    #[wasm_bindgen(constructor)]
    pub fn new(dtype: &str, shape: &[f64], axis: f64) -> Result<ChannelReducer, Failure> {
        let shape = wholes(shape, "the shape")?;
        Ok(Self(Channels::new(
            Dtype::parse(dtype)?,
            &shape,
            place(axis, "the axis")?,
        )?))
    }

    /// Goes to another place of the tensor.
    pub fn seek(&mut self, byte: f64) -> Result<(), Failure> {
        Ok(self.0.seek(whole(byte, "the place")?)?)
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The statistics for every place on the axis.
    #[wasm_bindgen(unchecked_return_type = "ChannelsOfBytes")]
    pub fn finish(self) -> Object {
        let found = self.0.finish();
        let object = Object::new();
        let field = |key: &str, value: &dyn Fn(usize) -> f64| {
            let values: Vec<f64> = (0..found.len()).map(value).collect();
            set(&object, key, Float64Array::new(&values[..]));
        };
        let of = |nth: usize| found.get(nth);
        field("count", &|nth| of(nth).map_or(0.0, |c| c.count as f64));
        field("min", &|nth| of(nth).map_or(f64::NAN, |c| c.min));
        field("max", &|nth| of(nth).map_or(f64::NAN, |c| c.max));
        field("mean", &|nth| of(nth).map_or(f64::NAN, |c| c.mean));
        field("stddev", &|nth| of(nth).map_or(f64::NAN, |c| c.stddev));
        object
    }
}

/// SHA-256, for places where `crypto.subtle` is not, or bytes come in pieces.
#[wasm_bindgen]
#[derive(Default)]
pub struct Sha256(digest::Sha256);

#[wasm_bindgen]
impl Sha256 {
    /// Of nothing yet.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest in lower-case hexadecimal digits.
    pub fn finish(self) -> String {
        digest::hex(&self.0.finish())
    }
}
