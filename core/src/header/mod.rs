//! The header: who is where (spec, "Header").
//!
//! Names, shapes and metadata live in three shared buffers, so that a header of
//! a hundred thousand tensors costs a handful of allocations.

mod emit;
mod index;
mod parse;

use crate::digest::Digest;
use crate::dtype::Dtype;
use crate::error::{Code, Error, Result};
use crate::order;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::num::NonZeroU32;
use core::ops::Range;
use index::NameIndex;

pub(crate) use parse::{Builder, NewTensor, check_name, missing, once, read_global, read_tensors};

/// A part of one of the shared buffers.
type Span = Range<u32>;

/// A parsed or planned header. Its fields are consistent with each other; that
/// its offsets fit a file is what a [`crate::Catalogue`] adds.
#[derive(Clone, Debug, Default)]
pub struct Header {
    text: String,
    dims: Vec<u64>,
    pairs: Vec<(Span, Span)>,
    tensors: Vec<Entry>,
    digests: Vec<Digest>,
    created_by: Option<Span>,
    global: Span,
    root: Option<Root>,
    index: NameIndex,
    json_bytes: u64,
}

#[derive(Clone, Debug)]
struct Entry {
    name: Span,
    dims: Span,
    pairs: Span,
    data: Range<u64>,
    dtype: Dtype,
    /// The place among the digests.
    sha256: Option<NonZeroU32>,
}

/// The root digest and where its digits stand in the JSON text.
#[derive(Clone, Debug)]
struct Root {
    digest: Digest,
    digits: Range<usize>,
}

/// One tensor's entry.
#[derive(Clone, Copy, Debug)]
pub struct TensorInfo<'a> {
    /// Its name.
    pub name: &'a str,
    /// The type of its elements.
    pub dtype: Dtype,
    /// Its dimensions, outermost first; empty for a scalar.
    pub shape: &'a [u64],
    /// Where its bytes start in the uncompressed blob.
    pub start: u64,
    /// Where they end, exclusive.
    pub end: u64,
    /// Its metadata.
    pub metadata: Metadata<'a>,
    /// SHA-256 of its uncompressed bytes, if the file carries it.
    pub sha256: Option<&'a Digest>,
}

impl TensorInfo<'_> {
    /// Its bytes in the uncompressed blob.
    pub fn data(&self) -> Range<u64> {
        self.start..self.end
    }

    /// Its size in bytes.
    pub fn nbytes(&self) -> u64 {
        self.end - self.start
    }

    /// Its number of elements.
    pub fn elements(&self) -> u64 {
        // The size was checked to fit, so the count does.
        self.shape
            .iter()
            .fold(1u64, |count, &dim| count.saturating_mul(dim))
    }

    /// The bytes of rows `start..start + count` of the first axis, relative to
    /// the tensor's own start.
    ///
    /// # Errors
    /// `usage.range` for a scalar, for rows outside the tensor, and for rows of a
    /// sub-byte dtype that do not start and end on whole bytes.
    pub fn rows(&self, start: u64, count: u64) -> Result<Range<u64>> {
        let refuse = |message: &str| Error::new(Code::UsageRange, message).tensor(self.name);
        let Some((&rows, inner)) = self.shape.split_first() else {
            return Err(refuse("a scalar has no rows"));
        };
        let end = start
            .checked_add(count)
            .filter(|&end| end <= rows)
            .ok_or_else(|| {
                refuse("rows are outside the tensor")
                    .expected(format!("rows within 0 to {rows}, end exclusive"))
                    .found(format!("{count} rows from {start}"))
            })?;
        let row_bits = inner
            .iter()
            .fold(self.dtype.bits(), |bits, &dim| bits.saturating_mul(dim));
        match (start.saturating_mul(row_bits), end.saturating_mul(row_bits)) {
            (a, b) if a % 8 == 0 && b % 8 == 0 => Ok(a / 8..b / 8),
            _ => Err(refuse("rows do not start and end on whole bytes")
                .expected(format!("a multiple of {} rows", 8 / gcd(row_bits, 8)))
                .found(format!("{count} rows from {start}"))),
        }
    }
}

const fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// String pairs, in the file's order.
#[derive(Clone, Copy)]
pub struct Metadata<'a> {
    text: &'a str,
    pairs: &'a [(Span, Span)],
}

impl<'a> Metadata<'a> {
    /// The pairs.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&'a str, &'a str)> + Clone + use<'a> {
        let text = self.text;
        self.pairs
            .iter()
            .map(move |(key, value)| (slice(text, key), slice(text, value)))
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&'a str> {
        self.iter().find(|(k, _)| *k == key).map(|(_, value)| value)
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Whether both hold the same pairs, in any order.
    pub fn same_as(&self, other: &Metadata<'_>) -> bool {
        fn sorted<'a>(metadata: &Metadata<'a>) -> Vec<(&'a str, &'a str)> {
            let mut pairs: Vec<_> = metadata.iter().collect();
            order::sort(&mut pairs);
            pairs
        }
        self.iter().eq(other.iter()) || (self.len() == other.len() && sorted(self) == sorted(other))
    }
}

impl core::fmt::Debug for Metadata<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Header {
    /// Number of tensors.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there are no tensors.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// All tensors, in the file's order.
    pub fn tensors(
        &self,
    ) -> impl ExactSizeIterator<Item = TensorInfo<'_>> + DoubleEndedIterator + Clone {
        self.tensors.iter().map(|entry| self.view(entry))
    }

    /// The tensor at that place in the file's order.
    pub fn at(&self, nth: usize) -> Option<TensorInfo<'_>> {
        self.tensors.get(nth).map(|entry| self.view(entry))
    }

    /// The place of the tensor of that name.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.index.find(name, |nth| self.name(nth))
    }

    /// The tensor of that name.
    pub fn find(&self, name: &str) -> Option<TensorInfo<'_>> {
        self.position(name).and_then(|nth| self.at(nth))
    }

    /// The tensor of that name.
    ///
    /// # Errors
    /// `not_found.tensor`, naming the nearest name there is.
    pub fn get(&self, name: &str) -> Result<TensorInfo<'_>> {
        self.find(name).ok_or_else(|| {
            let error = Error::new(Code::TensorNotFound, "no such tensor in the file").tensor(name);
            match nearest(name, self.tensors().map(|t| t.name)) {
                Some(near) => error.expected(format!("perhaps '{near}'")),
                None => error,
            }
        })
    }

    /// The metadata of the whole file.
    pub fn global_metadata(&self) -> Metadata<'_> {
        self.metadata(&self.global)
    }

    /// What wrote the file, in its own words.
    pub fn created_by(&self) -> Option<&str> {
        self.created_by.as_ref().map(|span| slice(&self.text, span))
    }

    /// The root digest that the header carries, not checked.
    pub fn root(&self) -> Option<&Digest> {
        self.root.as_ref().map(|root| &root.digest)
    }

    /// Where the root's 64 digits stand in the JSON text, in bytes.
    pub fn root_digits(&self) -> Option<Range<usize>> {
        self.root.as_ref().map(|root| root.digits.clone())
    }

    /// Whether every tensor carries a digest, and there is a tensor or a root.
    pub fn has_digests(&self) -> bool {
        (self.root.is_some() || !self.is_empty()) && self.tensors.iter().all(|t| t.sha256.is_some())
    }

    /// Bytes and elements of all tensors, tied ones counted once.
    pub fn tied_once(&self) -> (u64, u64) {
        let spans = self.tensors().map(|t| (t.start, t.end, t.elements()));
        let mut spans: Vec<_> = spans.collect();
        order::sort(&mut spans);
        spans.dedup_by_key(|&mut (start, end, _)| (start, end));
        spans.iter().fold((0, 0), |(bytes, elements), span| {
            (bytes + (span.1 - span.0), elements + span.2)
        })
    }

    /// Length in bytes of the JSON text without its trailing spaces.
    pub fn json_bytes(&self) -> u64 {
        self.json_bytes
    }

    /// Length in bytes of the uncompressed blob: the largest end.
    pub fn data_bytes(&self) -> u64 {
        self.tensors.iter().map(|t| t.data.end).max().unwrap_or(0)
    }

    /// Sets a tensor's digest. Planning only: it changes what the root covers.
    pub(crate) fn set_digest(&mut self, nth: usize, digest: Digest) {
        let Some(entry) = self.tensors.get_mut(nth) else {
            return;
        };
        match entry
            .sha256
            .and_then(|at| self.digests.get_mut(at.get() as usize - 1))
        {
            Some(held) => *held = digest,
            None => {
                self.digests.push(digest);
                entry.sha256 = place(self.digests.len());
            }
        }
    }

    fn view<'a>(&'a self, entry: &'a Entry) -> TensorInfo<'a> {
        TensorInfo {
            name: slice(&self.text, &entry.name),
            dtype: entry.dtype,
            shape: part(&self.dims, &entry.dims),
            start: entry.data.start,
            end: entry.data.end,
            metadata: self.metadata(&entry.pairs),
            sha256: entry
                .sha256
                .and_then(|at| self.digests.get(at.get() as usize - 1)),
        }
    }

    fn metadata(&self, span: &Span) -> Metadata<'_> {
        Metadata {
            text: &self.text,
            pairs: part(&self.pairs, span),
        }
    }

    fn name(&self, nth: u32) -> &str {
        self.tensors
            .get(nth as usize)
            .map_or("", |entry| slice(&self.text, &entry.name))
    }
}

/// A place counted from 1, so that none takes no room.
fn place(count: usize) -> Option<NonZeroU32> {
    u32::try_from(count).ok().and_then(NonZeroU32::new)
}

fn slice<'a>(text: &'a str, span: &Span) -> &'a str {
    text.get(span.start as usize..span.end as usize)
        .unwrap_or_default()
}

fn part<'a, T>(items: &'a [T], span: &Span) -> &'a [T] {
    items
        .get(span.start as usize..span.end as usize)
        .unwrap_or_default()
}

/// The candidate most like `name`, if one is alike enough to be meant.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    const MOST: usize = 20_000;
    let most = 2 + name.len() / 8;
    candidates
        .take(MOST)
        .filter(|c| c.len() <= 200 && c.len().abs_diff(name.len()) <= most)
        .map(|c| (distance(name.as_bytes(), c.as_bytes(), most), c))
        .filter(|(d, _)| *d <= most)
        .min_by_key(|(d, _)| *d)
        .map(|(_, c)| c)
}

/// Levenshtein distance, given up once it is above `most`.
fn distance(a: &[u8], b: &[u8], most: usize) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let mut least = left;
        let (first, rest) = row.split_at_mut(1);
        if let Some(cell) = first.first_mut() {
            *cell = left;
        }
        for (cell, y) in rest.iter_mut().zip(b) {
            let value = (diagonal + usize::from(x != y))
                .min(left + 1)
                .min(*cell + 1);
            diagonal = core::mem::replace(cell, value);
            left = value;
            least = least.min(value);
        }
        if least > most {
            return usize::MAX;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}
