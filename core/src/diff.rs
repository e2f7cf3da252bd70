//! What two files differ in, as far as their headers tell.

use crate::dtype::Dtype;
use crate::header::{Header, Metadata};
use crate::order;
use alloc::vec::Vec;
use core::cmp::Ordering;

/// The differences from `a` to `b`. Every list is sorted by tensor name.
#[derive(Clone, Debug, Default)]
pub struct Diff<'a> {
    /// Names that only `b` has.
    pub added: Vec<&'a str>,
    /// Names that only `a` has.
    pub removed: Vec<&'a str>,
    /// Tensors of another shape: name, shape in `a`, shape in `b`.
    pub shape_changed: Vec<(&'a str, &'a [u64], &'a [u64])>,
    /// Tensors of another dtype: name, dtype in `a`, dtype in `b`.
    pub dtype_changed: Vec<(&'a str, Dtype, Dtype)>,
    /// Tensors with other metadata: name, metadata in `a`, metadata in `b`.
    pub metadata_changed: Vec<(&'a str, Metadata<'a>, Metadata<'a>)>,
    /// The metadata of the whole files, where they differ.
    pub global_metadata_changed: Option<(Metadata<'a>, Metadata<'a>)>,
    /// Tensors of the same dtype and shape whose bytes are known to differ.
    pub value_changed: Vec<&'a str>,
    /// Tensors of the same dtype and shape whose bytes have to be compared:
    /// their places in `a` and `b`.
    pub undecided: Vec<(usize, usize)>,
}

impl Diff<'_> {
    /// Whether nothing differs, provided that the undecided tensors do not.
    pub fn is_empty(&self) -> bool {
        let tensors = self.added.len() + self.removed.len() + self.value_changed.len();
        let changed =
            self.shape_changed.len() + self.dtype_changed.len() + self.metadata_changed.len();
        tensors + changed == 0 && self.global_metadata_changed.is_none()
    }
}

/// Compares two headers. Metadata counts as a set of pairs, without order.
///
/// With `trust_digests`, tensors that carry a digest on both sides are decided by
/// it; without, every tensor's bytes are left to be compared. Empty tensors are
/// equal either way.
pub fn compare<'a>(a: &'a Header, b: &'a Header, trust_digests: bool) -> Diff<'a> {
    let mut diff = Diff::default();
    let (global_a, global_b) = (a.global_metadata(), b.global_metadata());
    if !global_a.same_as(&global_b) {
        diff.global_metadata_changed = Some((global_a, global_b));
    }
    let (names_a, names_b) = (sorted_names(a), sorted_names(b));
    let (mut left, mut right) = (names_a.iter().peekable(), names_b.iter().peekable());
    loop {
        let order = match (left.peek(), right.peek()) {
            (None, None) => return diff,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => a.0.cmp(b.0),
        };
        let from_a = left.next_if(|_| order.is_le());
        let from_b = right.next_if(|_| order.is_ge());
        match (from_a, from_b) {
            (Some(from), Some(to)) => diff.push_common(a, b, (from.1, to.1), trust_digests),
            (Some(from), None) => diff.removed.push(from.0),
            (None, Some(to)) => diff.added.push(to.0),
            (None, None) => return diff,
        }
    }
}

fn sorted_names(header: &Header) -> Vec<(&str, usize)> {
    let names = header.tensors().enumerate().map(|(nth, t)| (t.name, nth));
    let mut names: Vec<_> = names.collect();
    order::sort(&mut names);
    names
}

impl<'a> Diff<'a> {
    fn push_common(
        &mut self,
        a: &'a Header,
        b: &'a Header,
        places: (usize, usize),
        trust_digests: bool,
    ) {
        let (Some(a), Some(b)) = (a.at(places.0), b.at(places.1)) else {
            return;
        };
        let name = a.name;
        if a.shape != b.shape {
            self.shape_changed.push((name, a.shape, b.shape));
        }
        if a.dtype != b.dtype {
            self.dtype_changed.push((name, a.dtype, b.dtype));
        }
        if !a.metadata.same_as(&b.metadata) {
            self.metadata_changed.push((name, a.metadata, b.metadata));
        }
        if a.shape != b.shape || a.dtype != b.dtype || a.nbytes() == 0 {
            return;
        }
        match (a.sha256, b.sha256) {
            (Some(a), Some(b)) if trust_digests => {
                if a != b {
                    self.value_changed.push(name);
                }
            }
            _ => self.undecided.push(places),
        }
    }
}
