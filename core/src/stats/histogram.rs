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

/// What a [`Histogram`] counted. The bins, what is below and above them and what is
/// NaN are all elements.
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
    /// Elements that are infinite and positive; also counted as above the range.
    pub posinf: u64,
    /// Elements that are infinite and negative; also counted as below the range.
    pub neginf: u64,
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
                    .found(if lo > hi {
                        "a higher one first"
                    } else {
                        "another"
                    }),
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
                posinf: 0,
                neginf: 0,
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
        // The bytes of an element, or of the fewest that fill whole bytes.
        let unit = self.dtype.unit().bytes as usize;
        if !self.rest.is_empty() {
            let missing = unit - self.rest.len();
            let (head, tail) = bytes.split_at(missing.min(bytes.len()));
            self.rest.extend_from_slice(head);
            bytes = tail;
            if self.rest.len() < unit {
                return;
            }
            let element = core::mem::take(&mut self.rest);
            self.count(&element);
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
        self.values.clear();
        decode_f64(self.dtype, bytes, &mut self.values);
        let [first, .., end] = self.edges[..] else {
            return;
        };
        let last = self.edges.len() - 2;
        for &x in &self.values {
            // What is below the range, or NaN, guesses zero; what is above, the last.
            let guess = (((x - first) * self.density) as usize).min(last);
            let bin = if self.edges[guess] <= x && x < self.edges[guess + 1] {
                guess
            } else if x < first {
                self.counts.under += 1;
                self.counts.neginf += u64::from(x == f64::NEG_INFINITY);
                continue;
            } else if x > end {
                self.counts.over += 1;
                self.counts.posinf += u64::from(x == f64::INFINITY);
                continue;
            } else if x.is_nan() {
                self.counts.nan += 1;
                continue;
            } else {
                // Rounding moved the value or the edge to the other side, or this
                // is the end of the range.
                self.edges
                    .partition_point(|&edge| edge <= x)
                    .saturating_sub(1)
                    .min(last)
            };
            self.counts.counts[bin] += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn counted(dtype: Dtype, (lo, hi): (f64, f64), bins: usize, bytes: &[u8]) -> HistogramCounts {
        let mut histogram = Histogram::new(dtype, lo, hi, bins).unwrap();
        histogram.update(bytes);
        histogram.finish()
    }

    fn doubles(values: &[f64]) -> Vec<u8> {
        values.iter().flat_map(|x| x.to_le_bytes()).collect()
    }

    #[test]
    fn ends_and_strays() {
        let values = [
            -1.0,
            0.0,
            0.25,
            0.5,
            1.0,
            1.5,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
        ];
        let found = counted(Dtype::F64, (0.0, 1.0), 4, &doubles(&values));
        assert_eq!(found.counts, [1, 1, 1, 1]);
        assert_eq!((found.under, found.over, found.nan), (2, 2, 1));
        assert_eq!((found.neginf, found.posinf), (1, 1));
    }

    #[test]
    fn a_range_of_one_value_is_widened() {
        let found = counted(Dtype::U8, (3.0, 3.0), 2, &[2, 3, 3, 4]);
        assert_eq!((found.counts, found.under, found.over), (vec![0, 2], 1, 1));
    }

    #[test]
    fn edges_are_numpys() {
        // The counts that numpy 2.4 gives: 0.3 is below the edge 3 · 0.1.
        let values: Vec<f64> = (0..=10).map(|k| f64::from(k) / 10.0).collect();
        let found = counted(Dtype::F64, (0.0, 1.0), 10, &doubles(&values));
        assert_eq!(found.counts, [1, 1, 2, 0, 1, 2, 1, 0, 1, 2]);
    }

    #[test]
    fn refused() {
        let refused = |lo, hi, bins| {
            let error = Histogram::new(Dtype::F32, lo, hi, bins).unwrap_err();
            assert_eq!(error.code(), Code::UsageOption);
        };
        refused(0.0, 1.0, 0);
        refused(0.0, 1.0, usize::MAX);
        refused(1.0, 0.0, 4);
        refused(f64::NAN, 1.0, 4);
        refused(0.0, f64::INFINITY, 4);
        refused(f64::MIN, f64::MAX, 4);
    }

    proptest! {
        #[test]
        fn as_comparing_with_the_edges(
            values in prop::collection::vec(-2.0f64..2.0, 0..60),
            (lo, width) in (-1.5f64..1.5, prop_oneof![Just(1e-300), Just(0.0), 0f64..2.0]),
            bins in 1usize..40,
        ) {
            let mut histogram = Histogram::new(Dtype::F64, lo, lo + width, bins).unwrap();
            let edges = histogram.edges().to_vec();
            // The edges themselves are the hard values.
            let values = [values, edges.clone()].concat();
            histogram.update(&doubles(&values));
            let found = histogram.finish();
            let mut counts = vec![0; bins];
            for &x in values.iter().filter(|x| (edges[0]..=edges[bins]).contains(x)) {
                let above = edges.iter().filter(|&&edge| edge <= x).count();
                counts[above.clamp(1, bins) - 1] += 1;
            }
            prop_assert_eq!(found.counts, counts);
            prop_assert_eq!(found.under, values.iter().filter(|&&x| x < edges[0]).count() as u64);
            prop_assert_eq!(found.over, values.iter().filter(|&&x| x > edges[bins]).count() as u64);
        }

        #[test]
        fn any_pieces(
            dtype in prop::sample::select(Dtype::ALL),
            bytes in prop::collection::vec(any::<u8>(), 0..500),
            pieces in prop::collection::vec(0usize..40, 1..5),
        ) {
            let whole = counted(dtype, (-8.0, 100.0), 20, &bytes);
            let mut histogram = Histogram::new(dtype, -8.0, 100.0, 20).unwrap();
            let mut rest = &bytes[..];
            for &piece in [&pieces[..], &[1]].concat().iter().cycle() {
                let (head, tail) = rest.split_at(piece.min(rest.len()));
                histogram.update(head);
                rest = tail;
                if rest.is_empty() {
                    break;
                }
            }
            let mut all = Vec::new();
            decode_f64(dtype, &bytes, &mut all);
            let total = whole.counts.iter().sum::<u64>() + whole.under + whole.over + whole.nan;
            prop_assert_eq!(total, all.len() as u64);
            prop_assert_eq!(histogram.finish(), whole);
        }
    }
}
