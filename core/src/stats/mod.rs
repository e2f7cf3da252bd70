//! Statistics of a tensor's elements, and histograms.
//!
//! The bytes are looked at once, in any pieces. Internally they are cut into
//! sub-blocks and blocks at fixed positions counted from the tensor's start,
//! each is summarised alone, and the summaries are merged in order. So the
//! result, to the last bit, depends on the bytes alone: not on how they were cut,
//! on the number of threads, or on the instructions that the processor has.

mod ahead;
mod channels;
mod codes;
mod complex;
mod decode;
mod element;
mod exact;
mod float;
mod histogram;
mod integer;
mod isa;
mod lanes;
mod moments;
mod summary;
mod twofold;

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;

#[cfg(feature = "wide")]
pub use ahead::Prefetch;
pub use channels::{ChannelStats, Channels};
pub use decode::{decode_f32, decode_f64};
pub use histogram::{Histogram, HistogramCounts};
#[cfg(feature = "wide")]
pub use summary::block_ahead;
pub use summary::{BLOCK_BYTES, Partial, block};

use crate::Dtype;
use ahead::Ahead;
use alloc::vec::Vec;
use summary::SUB_BYTES;

/// A value of the tensor's own kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// An exact integer, of an integer dtype or `BOOL`.
    Int(i128),
    /// A float; NaN where there is no value.
    Float(f64),
}

/// Statistics of a tensor's elements.
///
/// `min`, `max`, `mean`, `stddev`, `absmax` and `l2` are over the finite
/// elements, and NaN when there are none. A complex element is represented by
/// its magnitude: infinite if a part is, else NaN if a part is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stats {
    /// All elements.
    pub count: u64,
    /// The smallest finite element.
    pub min: Number,
    /// The largest finite element.
    pub max: Number,
    /// The arithmetic mean; of integers, rounded once from the exact sum.
    pub mean: f64,
    /// The standard deviation of the population: the divisor is the number of
    /// finite elements.
    pub stddev: f64,
    /// Elements that are not zero, NaN and infinities among them; -0.0 is zero.
    pub nnz: u64,
    /// Elements that are NaN.
    pub nan: u64,
    /// Elements that are infinite and positive.
    pub posinf: u64,
    /// Elements that are infinite and negative.
    pub neginf: u64,
    /// The largest magnitude of a finite element.
    pub absmax: Number,
    /// The square root of the sum of squares.
    pub l2: f64,
}

impl Stats {
    /// Of all of a tensor's bytes. A last element that is cut short is ignored.
    ///
    /// # Example
    /// ```
    /// use deathtensors_core::{Dtype, stats::{Number, Stats}};
    /// let stats = Stats::of(Dtype::I8, &[1, 0xff, 3, 1]);
    /// assert_eq!((stats.count, stats.min), (4, Number::Int(-1)));
    /// assert_eq!((stats.mean, stats.stddev), (1.0, 2f64.sqrt()));
    /// ```
    pub fn of(dtype: Dtype, bytes: &[u8]) -> Self {
        let mut all = Partial::EMPTY;
        for bytes in bytes.chunks(BLOCK_BYTES) {
            all.merge(&block(dtype, bytes));
        }
        all.finish()
    }
}

/// Gathers a tensor's statistics from its bytes as they come.
///
/// Its way to the kernels is marked `#[inline]`, so that the crate that uses it decides
/// how they are compiled: the module for browsers saves space everywhere else.
#[derive(Clone, Debug)]
pub struct Accumulator {
    dtype: Dtype,
    /// The blocks that are complete.
    blocks: Partial,
    /// The sub-blocks of the current block, and how many bytes they are.
    current: Partial,
    current_bytes: usize,
    /// The bytes of the current sub-block, fewer than [`SUB_BYTES`].
    rest: Vec<u8>,
}

impl Accumulator {
    /// For a tensor of that dtype, with no bytes seen yet.
    pub fn new(dtype: Dtype) -> Self {
        Self {
            dtype,
            blocks: Partial::EMPTY,
            current: Partial::EMPTY,
            current_bytes: 0,
            rest: Vec::new(),
        }
    }

    /// Takes the tensor's next bytes. They may end anywhere, also within an
    /// element: any cutting gives the same result.
    #[inline]
    pub fn update(&mut self, mut bytes: &[u8]) {
        if !self.rest.is_empty() {
            let missing = SUB_BYTES - self.rest.len();
            let (head, tail) = bytes.split_at(missing.min(bytes.len()));
            self.rest.extend_from_slice(head);
            bytes = tail;
            if self.rest.len() < SUB_BYTES {
                return;
            }
            let whole = core::mem::take(&mut self.rest);
            self.push(&whole);
            self.rest = whole;
            self.rest.clear();
        }
        let (subs, rest) = bytes.as_chunks::<SUB_BYTES>();
        for sub in subs {
            self.push(sub);
        }
        self.rest.extend_from_slice(rest);
    }

    /// The statistics of all bytes taken. A last element that is cut short is
    /// ignored.
    #[inline]
    pub fn finish(mut self) -> Stats {
        let rest = core::mem::take(&mut self.rest);
        self.push(&rest);
        self.blocks.merge(&self.current);
        self.blocks.finish()
    }

    /// Takes a sub-block.
    #[inline]
    fn push(&mut self, bytes: &[u8]) {
        self.current.merge(&summary::sub_block(
            self.dtype,
            bytes,
            &mut Ahead::nothing(),
        ));
        self.current_bytes += bytes.len();
        if self.current_bytes >= BLOCK_BYTES {
            self.blocks.merge(&self.current);
            (self.current, self.current_bytes) = (Partial::EMPTY, 0);
        }
    }
}
