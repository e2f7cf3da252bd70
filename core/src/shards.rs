//! Models in several files: the index, the shards' names, who is where
//! (spec, "Shards").

mod index_text;
mod path;

use crate::digest::{Digest, hex};
use crate::error::{Code, Error, Result};
use crate::header::{Header, check_name, nearest};
use crate::json::{push_string, push_u64};
use crate::limits::Limits;
use crate::order;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;
use path::check_path;

/// Every key that sharding adds to a file's metadata starts with this.
const PREFIX: &str = "deathtensors.shard";
const SHARDED: &str = "deathtensors.sharded";
const LIST: &str = "deathtensors.shards";
const NTH: &str = "deathtensors.shard.index";
const COUNT: &str = "deathtensors.shard.count";

/// One of the files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shard {
    /// Its file name; it lies beside the index.
    pub path: String,
    /// The names of its tensors, in its order.
    pub tensors: Vec<String>,
    /// Bytes of its tensors, uncompressed; zero where an index of safetensors
    /// does not say.
    pub bytes: u64,
    /// Its root digest, if the index pins it.
    pub root: Option<Digest>,
}

/// Which shard holds which tensor. No name stands in two of them.
#[derive(Clone, Debug, Default)]
pub struct ShardIndex {
    /// The shards, in order.
    pub shards: Vec<Shard>,
    /// Places of all names, shard and tensor, sorted by name.
    sorted: Vec<(u32, u32)>,
}

impl ShardIndex {
    /// Makes an index of shards that were written, or are about to be.
    ///
    /// # Errors
    /// `shards.path` for a path that is not a plain file name, `shards.list` for
    /// a path or name that stands twice and for sizes that overflow, and the
    /// codes of names that no file may hold.
    pub fn new(shards: Vec<Shard>) -> Result<Self> {
        Self::checked(shards, &Limits::DEFAULT)
    }

    fn checked(shards: Vec<Shard>, limits: &Limits) -> Result<Self> {
        check_paths(&shards)?;
        let sizes = shards
            .iter()
            .try_fold(0u64, |sum, shard| sum.checked_add(shard.bytes));
        sizes.ok_or_else(|| Error::new(Code::ShardsList, "the shards' sizes overflow"))?;
        let count = shards
            .iter()
            .map(|shard| shard.tensors.len() as u64)
            .sum::<u64>();
        if count > limits.tensors.min(u64::from(u32::MAX)) {
            return Err(
                Error::new(Code::LimitTensors, "the shards have too many tensors")
                    .expected(format!("at most {}", limits.tensors))
                    .found(count),
            );
        }
        let mut index = Self {
            shards,
            sorted: Vec::new(),
        };
        let mut sorted: Vec<_> = index.places().collect();
        for &place in &sorted {
            check_name(index.name(place), limits)?;
        }
        order::sort_by(&mut sorted, |&a, &b| {
            index.name(a).cmp(index.name(b)).then(a.cmp(&b))
        });
        for (&a, &b) in sorted.iter().zip(sorted.iter().skip(1)) {
            if index.name(a) == index.name(b) {
                return Err(
                    Error::new(Code::ShardsList, "the index names the tensor twice")
                        .tensor(index.name(a))
                        .found(format!("'{}' and '{}'", index.path(a), index.path(b))),
                );
            }
        }
        index.sorted = sorted;
        Ok(index)
    }

    /// Whether a file says that it is a shard index: it has no tensors, and the
    /// metadata that marks it.
    pub fn is_index(header: &Header) -> bool {
        header.is_empty() && header.global_metadata().get(SHARDED) == Some("true")
    }

    /// Reads the index that a file's header holds.
    ///
    /// # Errors
    /// `shards.not_index` when it holds none, `shards.list` when the list is
    /// malformed, and those of [`ShardIndex::new`].
    pub fn parse(header: &Header, limits: &Limits) -> Result<Self> {
        if !Self::is_index(header) {
            return Err(
                Error::new(Code::ShardsNotIndex, "the file is not a shard index").expected(
                    format!("no tensors, and '{SHARDED}' in its metadata to be 'true'"),
                ),
            );
        }
        let global = header.global_metadata();
        let field = |key: &str| {
            let missing = || Error::new(Code::ShardsList, "the shard index lacks a field");
            global
                .get(key)
                .ok_or_else(|| missing().expected(format!("'{key}'")))
        };
        let (list, count) = (field(LIST)?, field(COUNT)?);
        let shards = index_text::read_list(list, limits)?;
        if count != shards.len().to_string() {
            return Err(
                Error::new(Code::ShardsList, "the shard index counts another number")
                    .expected(format!("'{}'", shards.len()))
                    .found(format!("'{count}'")),
            );
        }
        Self::checked(shards, limits)
    }

    /// Reads the index that safetensors models have, `model.safetensors.index.json`.
    /// It gives no sizes of shards; they come in the order in which they are first
    /// mentioned, and so do their tensors.
    ///
    /// # Errors
    /// `shards.not_index` when it is not JSON, or has no `weight_map`;
    /// `shards.list` when the map is malformed, and those of [`ShardIndex::new`].
    pub fn parse_safetensors_index(bytes: &[u8], limits: &Limits) -> Result<Self> {
        Self::checked(index_text::read_weight_map(bytes, limits)?, limits)
    }

    /// The metadata of an index or a shard without what sharding added.
    pub fn user_metadata(header: &Header) -> impl Iterator<Item = (&str, &str)> {
        header
            .global_metadata()
            .iter()
            .filter(|(key, _)| !is_reserved_key(key))
    }

    /// Number of tensors in all shards.
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether there are no tensors.
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// All names, shard after shard in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.shards
            .iter()
            .flat_map(|shard| shard.tensors.iter().map(String::as_str))
    }

    /// The place in `shards` of the one that holds the tensor.
    pub fn find(&self, name: &str) -> Option<usize> {
        let found = self
            .sorted
            .binary_search_by(|&place| self.name(place).cmp(name))
            .ok()?;
        self.sorted.get(found).map(|&(shard, _)| shard as usize)
    }

    /// The same.
    ///
    /// # Errors
    /// `not_found.tensor`, naming the nearest name there is.
    pub fn get(&self, name: &str) -> Result<usize> {
        self.find(name).ok_or_else(|| {
            let error =
                Error::new(Code::TensorNotFound, "no such tensor in any shard").tensor(name);
            match nearest(name, self.names()) {
                Some(near) => error.expected(format!("perhaps '{near}'")),
                None => error,
            }
        })
    }

    /// Checks that a shard holds exactly the tensors that the index promises.
    ///
    /// # Errors
    /// `shards.mismatch`, naming a tensor that is missing or too many.
    pub fn check_shard(&self, nth: usize, header: &Header) -> Result<()> {
        let Some(shard) = self.shards.get(nth) else {
            return Err(
                Error::new(Code::ShardsMismatch, "the index has no such shard")
                    .expected(format!("a number below {}", self.shards.len()))
                    .found(nth),
            );
        };
        let refuse = |message: &str, name: &str| {
            let message = format!("shard '{}' {message}", shard.path);
            Err(Error::new(Code::ShardsMismatch, message).tensor(name))
        };
        if let Some(name) = shard
            .tensors
            .iter()
            .find(|name| header.position(name).is_none())
        {
            return refuse("lacks a tensor that the index promises", name);
        }
        match header.tensors().find(|t| self.find(t.name) != Some(nth)) {
            Some(t) => refuse("has a tensor that the index does not promise", t.name),
            None => Ok(()),
        }
    }

    /// The metadata of the index file: the user's own and the list of shards.
    pub fn metadata(&self, user: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut all = without_ours(user);
        all.insert(SHARDED.into(), "true".into());
        all.insert(COUNT.into(), self.shards.len().to_string());
        all.insert(LIST.into(), self.list_text());
        all
    }

    fn list_text(&self) -> String {
        let mut out = String::from("[");
        for (nth, shard) in self.shards.iter().enumerate() {
            out.push_str(if nth > 0 { ",{\"path\":" } else { "{\"path\":" });
            push_string(&mut out, &shard.path);
            out.push_str(",\"tensors\":[");
            for (nth, name) in shard.tensors.iter().enumerate() {
                if nth > 0 {
                    out.push(',');
                }
                push_string(&mut out, name);
            }
            out.push_str("],\"bytes\":");
            push_u64(&mut out, shard.bytes);
            if let Some(root) = &shard.root {
                out.push_str(",\"root_sha256\":");
                push_string(&mut out, &hex(root));
            }
            out.push('}');
        }
        out.push(']');
        out
    }

    fn places(&self) -> impl Iterator<Item = (u32, u32)> {
        // Both numbers are below the number of names or shards, which fit 32 bits.
        (0u32..)
            .zip(&self.shards)
            .flat_map(|(shard, s)| (0u32..).zip(&s.tensors).map(move |(nth, _)| (shard, nth)))
    }

    fn name(&self, (shard, nth): (u32, u32)) -> &str {
        let shard = self.shards.get(shard as usize);
        shard
            .and_then(|s| s.tensors.get(nth as usize))
            .map_or("", String::as_str)
    }

    fn path(&self, (shard, _): (u32, u32)) -> &str {
        self.shards.get(shard as usize).map_or("", |s| &s.path)
    }
}

fn check_paths(shards: &[Shard]) -> Result<()> {
    let mut paths: Vec<&str> = Vec::with_capacity(shards.len());
    for shard in shards {
        check_path(&shard.path)?;
        paths.push(&shard.path);
    }
    order::sort(&mut paths);
    match paths.windows(2).find(|pair| pair.first() == pair.last()) {
        Some(pair) => Err(
            Error::new(Code::ShardsList, "the index names a shard twice")
                .found(format!("'{}' again", pair.first().unwrap_or(&""))),
        ),
        None => Ok(()),
    }
}

fn without_ours(user: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let own = user.iter().filter(|(key, _)| !is_reserved_key(key));
    own.map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Whether a metadata key is one of those that sharding uses.
pub fn is_reserved_key(key: &str) -> bool {
    key.starts_with(PREFIX)
}

/// The metadata of the nth shard, from zero, of `count`.
pub fn shard_metadata(
    nth: usize,
    count: usize,
    user: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut all = without_ours(user);
    all.insert(NTH.into(), nth.to_string());
    all.insert(COUNT.into(), count.to_string());
    all
}

/// The file name of the nth shard, from zero: `model-00001-of-00010.deathtensors`.
pub fn shard_name(stem: &str, nth: usize, count: usize, extension: &str) -> String {
    format!(
        "{stem}-{:05}-of-{count:05}{extension}",
        nth.saturating_add(1)
    )
}

/// Distributes tensors of these sizes over shards, in order: a shard is full when
/// the next tensor would bring it above `max_bytes`. A tensor that is larger gets a
/// shard of its own. Answers the places that go into each shard.
pub fn assign(sizes: &[u64], max_bytes: u64) -> Vec<Range<usize>> {
    let mut shards = Vec::new();
    let (mut start, mut total) = (0, 0u64);
    for (nth, &size) in sizes.iter().enumerate() {
        let sum = total.saturating_add(size);
        if nth > start && sum > max_bytes {
            shards.push(start..nth);
            (start, total) = (nth, size);
        } else {
            total = sum;
        }
    }
    if start < sizes.len() {
        shards.push(start..sizes.len());
    }
    shards
}
