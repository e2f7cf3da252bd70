//! Reading the two kinds of index: ours, and that of safetensors.

use super::Shard;
use crate::digest::parse_hex;
use crate::error::{Code, Error, Result};
use crate::header::{missing, once};
use crate::json::{Keys, Reader};
use crate::limits::Limits;
use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Reads the list in the metadata of an index: `[{"path", "tensors", "bytes"}]`.
pub(super) fn read_list(text: &str, limits: &Limits) -> Result<Vec<Shard>> {
    let mut reader = Reader::new(text, limits.depth);
    let read = |reader: &mut Reader<'_>| {
        let mut shards = Vec::new();
        let mut inside = reader.array_field("shards")?;
        while reader.item(&mut inside)? {
            shards.push(read_shard(reader)?);
        }
        reader.end()?;
        Ok(shards)
    };
    read(&mut reader).map_err(malformed)
}

fn read_shard(reader: &mut Reader<'_>) -> Result<Shard> {
    let (mut path, mut tensors, mut bytes, mut root) = (None, None, None, None);
    let mut unknown = Keys::default();
    let mut inside = reader.object_field("shards")?;
    while let Some(key) = reader.key(&mut inside)? {
        match &*key {
            "path" => once(&mut path, reader.string_field(&key)?.into(), &key)?,
            "tensors" => once(&mut tensors, read_names(reader)?, &key)?,
            "bytes" => once(&mut bytes, reader.u64(&key)?, &key)?,
            "root_sha256" => once(&mut root, parse_hex(&reader.string_field(&key)?)?, &key)?,
            _ => {
                unknown.push(key);
                reader.skip()?;
            }
        }
    }
    unknown.check()?;
    Ok(Shard {
        path: path.ok_or_else(|| missing("path"))?,
        tensors: tensors.ok_or_else(|| missing("tensors"))?,
        bytes: bytes.ok_or_else(|| missing("bytes"))?,
        root,
    })
}

fn read_names(reader: &mut Reader<'_>) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let mut inside = reader.array_field("tensors")?;
    while reader.item(&mut inside)? {
        names.push(reader.string_field("tensors")?.into());
    }
    Ok(names)
}

/// Reads `{"metadata": …, "weight_map": {name: path}}`.
pub(super) fn read_weight_map(bytes: &[u8], limits: &Limits) -> Result<Vec<Shard>> {
    limits.check_header(bytes.len() as u64)?;
    let text = core::str::from_utf8(bytes).map_err(|e| {
        Error::new(
            Code::ShardsNotIndex,
            "the file is not a shard index: it is not UTF-8",
        )
        .found(format!("an invalid byte at {}", e.valid_up_to()))
    })?;
    let mut reader = Reader::new(text, limits.depth);
    if reader.next_byte() != Some(b'{') {
        return Err(
            Error::new(Code::ShardsNotIndex, "the file is not a shard index")
                .expected("a JSON object"),
        );
    }
    let shards = read_index(&mut reader).map_err(malformed)?;
    shards.ok_or_else(|| {
        Error::new(Code::ShardsNotIndex, "the file is not a shard index").expected("'weight_map'")
    })
}

fn read_index(reader: &mut Reader<'_>) -> Result<Option<Vec<Shard>>> {
    let mut shards = None;
    let mut unknown = Keys::default();
    let mut inside = reader.object()?;
    while let Some(key) = reader.key(&mut inside)? {
        if key == "weight_map" {
            once(&mut shards, read_map(reader)?, &key)?;
        } else {
            unknown.push(key);
            reader.skip()?;
        }
    }
    unknown.check()?;
    reader.end()?;
    Ok(shards)
}

fn read_map(reader: &mut Reader<'_>) -> Result<Vec<Shard>> {
    let mut shards: Vec<Shard> = Vec::new();
    let mut places: BTreeMap<Cow<'_, str>, usize> = BTreeMap::new();
    let mut inside = reader.object_field("weight_map")?;
    while let Some(name) = reader.key(&mut inside)? {
        let path = reader.string_field("weight_map")?;
        let place = *places.entry(path).or_insert_with_key(|path| {
            shards.push(Shard {
                path: path.clone().into(),
                ..Shard::default()
            });
            shards.len() - 1
        });
        if let Some(shard) = shards.get_mut(place) {
            shard.tensors.push(name.into());
        }
    }
    Ok(shards)
}

/// Whatever is wrong with the text, it is the list of shards that is malformed.
fn malformed(error: Error) -> Error {
    error
        .with_code(Code::ShardsList)
        .context("malformed shard index")
}
