//! Building files by hand, and generated tensors.

use deathtensors_core::{
    Catalogue, Code, Dtype, Error, Header, Limits, Opening, Result, Step, TensorSpec, WriteOptions,
    WritePlan,
};
use proptest::prelude::*;
use std::collections::BTreeMap;

pub const COMPRESSED: u32 = 1;
pub const CHECKSUM: u32 = 2;

/// A file put together from its parts, with the padding after the header.
pub fn file(flags: u32, json: &[u8], blob: &[u8]) -> Vec<u8> {
    let mut out = b"DTLEGION".to_vec();
    out.extend(1u32.to_le_bytes());
    out.extend(flags.to_le_bytes());
    out.extend((json.len() as u64).to_le_bytes());
    out.extend(json);
    out.resize(out.len().next_multiple_of(8), 0);
    out.extend(blob);
    if flags & CHECKSUM != 0 {
        out.extend([0; 32]);
    }
    out
}

/// A header with these entries in `tensors`.
pub fn json(tensors: &str) -> String {
    format!(r#"{{"format":"deathtensors","format_version":1,"tensors":{{{tensors}}}}}"#)
}

pub fn parse(json: impl AsRef<[u8]>) -> Result<Header> {
    Header::parse(json.as_ref(), &Limits::DEFAULT)
}

pub fn header(tensors: &str) -> Header {
    parse(json(tensors)).unwrap()
}

/// Opens a file as a reader would: only what is asked for, step by step.
pub fn open(bytes: &[u8]) -> Result<Catalogue> {
    open_with(bytes, Limits::DEFAULT)
}

pub fn open_with(bytes: &[u8], limits: Limits) -> Result<Catalogue> {
    let mut opening = Opening::new(bytes.len() as u64, limits);
    for _ in 0..3 {
        let need = opening.need();
        let part = &bytes[need.start as usize..need.end as usize];
        if let Step::Ready(catalogue) = opening.feed(need.start, part)? {
            return Ok(catalogue);
        }
    }
    panic!("opening took more than its two steps");
}

/// Code and tensor of a refusal.
pub fn why<T: std::fmt::Debug>(result: Result<T>) -> (Code, Option<String>) {
    let error: Error = result.unwrap_err();
    (error.code(), error.tensor_name().map(Into::into))
}

pub fn code<T: std::fmt::Debug>(result: Result<T>) -> Code {
    why(result).0
}

/// A file as planned, with bytes that count up in place of data.
pub fn written(plan: &WritePlan) -> Vec<u8> {
    let mut out = plan.head();
    out.extend((0..plan.data_bytes()).map(|n| n as u8));
    out
}

pub fn dtype() -> impl Strategy<Value = Dtype> {
    prop::sample::select(Dtype::ALL)
}

/// Text with everything that is hard to write down.
pub fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z0-9_.]{1,12}",
        2 => "\\PC{0,8}",
        2 => prop::collection::vec(any::<char>(), 0..6).prop_map(String::from_iter),
        1 => prop::sample::select(vec!["\"", "\\", "\u{7f}", "\u{0}", "\u{1f}", "é\n", "🦀\t", "\u{2028}"])
            .prop_map(String::from),
    ]
}

pub fn name() -> impl Strategy<Value = String> {
    text()
        .prop_map(|t| t.replace('\0', "0"))
        .prop_filter("empty", |t| !t.is_empty())
}

pub fn pairs() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map(text(), text(), 0..4)
}

pub fn shape(dtype: Dtype) -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(0u64..5, 0..4).prop_map(move |mut shape| {
        // Sub-byte elements fill whole bytes in multiples of 8 / gcd(bits, 8).
        if dtype.item_bytes().is_none() {
            shape.push(4);
        }
        shape
    })
}

/// Tensors with unique names; some are tied to an earlier one.
pub fn specs() -> impl Strategy<Value = Vec<TensorSpec>> {
    let one = dtype().prop_flat_map(|dtype| (Just(dtype), shape(dtype), pairs(), any::<u8>()));
    prop::collection::btree_map(name(), one, 0..12)
        .prop_map(|tensors| tensors.into_iter().collect::<Vec<_>>())
        .prop_shuffle()
        .prop_map(|tensors| {
            let mut specs: Vec<TensorSpec> = Vec::new();
            for (name, (dtype, shape, metadata, tie)) in tensors {
                let mut spec = TensorSpec::new(name, dtype, shape);
                spec.metadata = metadata;
                let of = usize::from(tie) % (2 * specs.len().max(1));
                if let Some(other) = specs.get(of) {
                    (spec.dtype, spec.shape) = (other.dtype, other.shape.clone());
                    spec.alias_of = Some(of);
                }
                specs.push(spec);
            }
            specs
        })
}

pub fn options() -> impl Strategy<Value = WriteOptions> {
    (any::<bool>(), any::<bool>(), 0u32..13).prop_map(|(checksum, digests, alignment)| {
        let mut options = WriteOptions::default();
        options.checksum = checksum;
        options.digests = digests;
        options.alignment = 1 << alignment;
        options
    })
}

pub fn plan(
    specs: &[TensorSpec],
    global: &BTreeMap<String, String>,
    options: &WriteOptions,
) -> WritePlan {
    WritePlan::new(specs, global, options, &Limits::DEFAULT).unwrap()
}

pub fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|&(k, v)| (k.into(), v.into())).collect()
}
