//! Models in several files, and what two files differ in.

use crate::failure::Failure;
use crate::json::Json;
use crate::model::Model;
use crate::opening::read_limits;
use alloc::string::String;
use deathtensors_core::digest::hex;
use deathtensors_core::{diff, shards};
use wasm_bindgen::prelude::wasm_bindgen;

/// Which file of a sharded model holds which tensor.
#[wasm_bindgen]
pub struct ShardIndex(pub(crate) shards::ShardIndex);

#[wasm_bindgen]
impl ShardIndex {
    /// The shards with their tensors, as JSON.
    pub fn json(&self) -> String {
        let mut json = Json::default();
        json.open('{');
        json.key("shards");
        json.open('[');
        for shard in &self.0.shards {
            json.open('{');
            json.text_field("path", &shard.path);
            json.key("tensors");
            json.texts(shard.tensors.iter().map(String::as_str));
            json.number_field("bytes", shard.bytes);
            if let Some(root) = &shard.root {
                json.text_field("root", &hex(root));
            }
            json.close('}');
        }
        json.close(']');
        json.close('}');
        json.finish()
    }
}

/// The shard index that a file holds, if it is one.
#[wasm_bindgen(js_name = parseIndex)]
pub fn parse_index(model: &Model) -> Result<Option<ShardIndex>, Failure> {
    if !shards::ShardIndex::is_index(model.header()) {
        return Ok(None);
    }
    Ok(Some(ShardIndex(shards::ShardIndex::parse(
        model.header(),
        &model.limits,
    )?)))
}

/// The index of a sharded safetensors model.
#[wasm_bindgen(js_name = parseSafetensorsIndex)]
pub fn parse_safetensors_index(text: &str, limits: Option<String>) -> Result<ShardIndex, Failure> {
    let limits = read_limits(limits)?;
    Ok(ShardIndex(shards::ShardIndex::parse_safetensors_index(
        text.as_bytes(),
        &limits,
    )?))
}

/// What two files differ in as far as their headers tell, as JSON. `undecided` are the
/// places, in both, of tensors whose bytes have to be compared.
#[wasm_bindgen]
pub fn compare(a: &Model, b: &Model, trust_digests: bool) -> String {
    let found = diff::compare(a.header(), b.header(), trust_digests);
    let mut json = Json::default();
    json.open('{');
    for (key, names) in [
        ("added", &found.added),
        ("removed", &found.removed),
        ("valueChanged", &found.value_changed),
    ] {
        json.key(key);
        json.texts(names.iter().copied());
    }
    changes(
        &mut json,
        "shapeChanged",
        &found.shape_changed,
        |json, shape| json.numbers(shape),
    );
    changes(
        &mut json,
        "dtypeChanged",
        &found.dtype_changed,
        |json, dtype| {
            json.text(dtype.as_str());
        },
    );
    changes(
        &mut json,
        "metadataChanged",
        &found.metadata_changed,
        |json, pairs| {
            json.metadata(pairs);
        },
    );
    if let Some((a, b)) = &found.global_metadata_changed {
        json.key("globalMetadataChanged");
        json.open('{');
        json.key("a");
        json.metadata(a);
        json.key("b");
        json.metadata(b);
        json.close('}');
    }
    json.key("undecided");
    json.open('[');
    for &(a, b) in &found.undecided {
        json.numbers(&[a as u64, b as u64]);
    }
    json.close(']');
    json.close('}');
    json.finish()
}

/// A list of `{name, a, b}`.
fn changes<T>(json: &mut Json, key: &str, all: &[(&str, T, T)], write: impl Fn(&mut Json, &T)) {
    json.key(key);
    json.open('[');
    for (name, a, b) in all {
        json.open('{');
        json.text_field("name", name);
        for (key, value) in [("a", a), ("b", b)] {
            json.key(key);
            write(json, value);
        }
        json.close('}');
    }
    json.close(']');
}
