//! How many elements fall into each of some equal intervals.

use super::decode::decode_f64;
use crate::{Code, Dtype, Error, Result};
use alloc::vec::Vec;

/// Counts a tensor's elements by value, from its bytes as they come.
///
/// The bins are those of `numpy.histogram(values, bins, (lo, hi))`: equally wide
/// and closed below, the last closed above too. Where `lo` equals `hi`, the range
/// is half a unit to both sides.
#[derive(Clone, Debug)]
pub struct Histogram {
    dtype: Dtype,
    /// The lower end of every bin, then the upper end of the last.
    edges: Vec<f64>,
    /// Bins per unit, about.
    density: f64,
    counts: HistogramCounts,
    /// Bytes of an element that is not complete yet.
    rest: Vec<u8>,
    /// The elements at hand; kept for its memory.
    values: Vec<f64>,
}

/// What a [`Histogram`] counted. Together the fields are all elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistogramCounts {
    /// Elements in each bin.
    pub counts: Vec<u64>,
    /// Elements below the range, negative infinity among them.
    pub under: u64,
    /// Elements above the range, infinity among them.
    pub over: u64,
    /// Elements that are NaN.
    pub nan: u64,
}

/// Bytes decoded at once: a whole number of elements of every dtype.
const BATCH_BYTES: usize = 12 << 10;

impl Histogram {
    /// Most bins there may be.
    pub const MAX_BINS: usize = 1 << 20;

    /// For a tensor of that dtype: `bins` bins from `lo` to `hi`, both included.
    ///
    /// # Errors
    /// `usage.option` when `bins` is zero or above [`Self::MAX_BINS`], when an
    /// end is not finite, when `lo` is above `hi`, or when the range is wider
    /// than a float can say.
    pub fn new(dtype: Dtype, lo: f64, hi: f64, bins: usize) -> Result<Self> {
        if bins == 0 || bins > Self::MAX_BINS {
            return Err(
                Error::new(Code::UsageOption, "number of bins is out of range")
                    .expected(alloc::format!("1 to {}", Self::MAX_BINS))
                    .found(bins),
            );
        }
        if !(hi - lo).is_finite() || lo > hi {
            return Err(
                Error::new(Code::UsageOption, "histogram range is not a range")
                    .expected("two finite ends, the lower first, a finite distance apart")
                    .found(alloc::format!("{lo} to {hi}")),
            );
        }
        let (lo, hi) = if lo == hi {
            (lo - 0.5, hi + 0.5)
        } else {
            (lo, hi)
        };
        let width = (hi - lo) / bins as f64;
        let mut edges: Vec<f64> = (0..bins).map(|i| i as f64 * width + lo).collect();
        edges.push(hi);
        Ok(Self {
            dtype,
            edges,
            density: bins as f64 / (hi - lo),
            counts: HistogramCounts {
                counts: alloc::vec![0; bins],
                under: 0,
                over: 0,
                nan: 0,
            },
            rest: Vec::new(),
            values: Vec::new(),
        })
    }

    /// The ends of the bins, one more than there are bins.
    pub fn edges(&self) -> &[f64] {
        &self.edges
    }

    /// Takes the tensor's next bytes. They may end anywhere, also within an
    /// element.
    pub fn update(&mut self, mut bytes: &[u8]) {
        // What elements fill together: three bytes where each has six bits.
        let unit = (self.dtype.bits() as usize).next_multiple_of(8) / 8;
        let unit = if self.dtype.bits() == 6 { 3 } else { unit };
        if !self.rest.is_empty() {
            let missing = unit - self.rest.len();
            let (head, tail) = bytes.split_at(missing.min(bytes.len()));
            self.rest.extend_from_slice(head);
            bytes = tail;
            if self.rest.len() < unit {
                return;
            }
            let whole = core::mem::take(&mut self.rest);
            self.count(&whole);
        }
        let (whole, rest) = bytes.split_at(bytes.len() - bytes.len() % unit);
        for batch in whole.chunks(BATCH_BYTES) {
            self.count(batch);
        }
        self.rest.extend_from_slice(rest);
    }

    /// The counts of all whole elements taken.
    pub fn finish(self) -> HistogramCounts {
        self.counts
    }

    /// Counts whole elements.
    fn count(&mut self, bytes: &[u8]) {
        let mut values = core::mem::take(&mut self.values);
        values.clear();
        decode_f64(self.dtype, bytes, &mut values);
        let (lo, hi) = (self.edges[0], self.edges[self.edges.len() - 1]);
        for &x in &values {
            if x < lo {
                self.counts.under += 1;
            } else if x > hi {
                self.counts.over += 1;
            } else if x.is_nan() {
                self.counts.nan += 1;
            } else {
                let bin = self.bin(x);
                self.counts.counts[bin] += 1;
            }
        }
        self.values = values;
    }

    /// The bin of a value within the range.
    fn bin(&self, x: f64) -> usize {
        let last = self.edges.len() - 2;
        let guess = (((x - self.edges[0]) * self.density) as usize).min(last);
        // The guess is off by one where rounding moved the value or the edge.
        if self.edges[guess] <= x && (x < self.edges[guess + 1] || guess == last) {
            return guess;
        }
        self.edges
            .partition_point(|&edge| edge <= x)
            .saturating_sub(1)
            .min(last)
    }
}
