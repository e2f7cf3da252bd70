//! Summaries of a tensor's parts, in a form that merges.

use super::ahead::Ahead;
#[cfg(feature = "wide")]
use super::ahead::Prefetch;
use super::element::{Batches, Bf16, C64, C128, F16, F32, F64};
use super::float::{self, FloatSummary};
use super::integer::{self, IntSummary};
use super::isa::Isa;
use super::{Number, Stats, codes, exact};
use crate::Dtype;

/// Length in bytes of a canonical block: 768 KiB, which holds a whole number of
/// elements of every dtype, and four of which are three MiB.
///
/// For parallel work: give each thread blocks that start at multiples of this
/// from the tensor's start, and merge their [`Partial`]s in order.
pub const BLOCK_BYTES: usize = 32 * SUB_BYTES;

/// Bytes that are summarised at once, 24 KiB: enough to forget the cost of
/// merging, few enough that a second look finds them in the nearest cache.
pub(super) const SUB_BYTES: usize = 24 << 10;

/// Summary of one or more blocks.
#[derive(Clone, Copy, Debug)]
pub struct Partial(Kind);

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Empty,
    Float(FloatSummary),
    Int(IntSummary),
}

/// Summarises one canonical block: [`BLOCK_BYTES`] bytes, or fewer at the
/// tensor's end. A last element that is cut short is ignored.
pub fn block(dtype: Dtype, bytes: &[u8]) -> Partial {
    let mut all = Partial::EMPTY;
    for sub in bytes.chunks(SUB_BYTES) {
        touch(sub);
        all.merge(&sub_block(dtype, sub, &mut Ahead::nothing()));
    }
    all
}

/// The same, for bytes in main memory: `prefetch` is given those that will be needed
/// soon, a few kilobytes at a time, and should ask for them without waiting.
#[cfg(feature = "wide")]
pub fn block_ahead(dtype: Dtype, bytes: &[u8], prefetch: Prefetch) -> Partial {
    let mut all = Partial::EMPTY;
    let mut ahead = Ahead::of(bytes, prefetch);
    for sub in bytes.chunks(SUB_BYTES) {
        all.merge(&sub_block(dtype, sub, &mut ahead));
    }
    all
}

impl Partial {
    /// Of no bytes: merging it, or into it, changes nothing.
    pub const EMPTY: Self = Self(Kind::Empty);

    /// Adds the summary of what comes right after, of the same dtype. (Of two
    /// dtypes there is no common summary: `next` is ignored.)
    pub fn merge(&mut self, next: &Self) {
        match (&mut self.0, &next.0) {
            (Kind::Float(a), Kind::Float(b)) => a.merge(b),
            (Kind::Int(a), Kind::Int(b)) => a.merge(b),
            (Kind::Empty, _) => *self = *next,
            (_, Kind::Empty) => {}
            _ => debug_assert!(false, "partials of different dtypes"),
        }
    }

    /// The statistics of all that was merged.
    pub fn finish(self) -> Stats {
        match self.0 {
            Kind::Empty => finish_float(&FloatSummary::EMPTY),
            Kind::Float(summary) => finish_float(&summary),
            Kind::Int(summary) if summary.count == 0 => finish_float(&FloatSummary::EMPTY),
            Kind::Int(summary) => finish_int(&summary),
        }
    }
}

impl Default for Partial {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// Summarises a sub-block: [`SUB_BYTES`] bytes, or fewer at the tensor's end.
/// `ahead` is what follows in the tensor.
#[inline]
pub(super) fn sub_block(dtype: Dtype, bytes: &[u8], ahead: &mut Ahead<'_>) -> Partial {
    if bytes.is_empty() {
        return Partial::EMPTY;
    }
    Partial(sub_block_on(Isa::best(), dtype, bytes, ahead))
}

#[inline]
pub(super) fn sub_block_on(isa: Isa, dtype: Dtype, bytes: &[u8], ahead: &mut Ahead<'_>) -> Kind {
    match dtype {
        Dtype::Bool => Kind::Int(isa.run(
            #[inline(always)]
            || integer::booleans(bytes, ahead),
        )),
        Dtype::I8 => Kind::Int(isa.run(
            #[inline(always)]
            || integer::i8s(bytes, ahead),
        )),
        Dtype::U8 => Kind::Int(isa.run(
            #[inline(always)]
            || integer::u8s(bytes, ahead),
        )),
        Dtype::I16 => Kind::Int(isa.run(
            #[inline(always)]
            || integer::i16s(bytes, ahead),
        )),
        Dtype::U16 => Kind::Int(isa.run(
            #[inline(always)]
            || integer::u16s(bytes, ahead),
        )),
        Dtype::I32 => Kind::Int(isa.run(
            #[inline(always)]
            || integer::i32s(bytes, ahead),
        )),
        Dtype::U32 => Kind::Int(isa.run(
            #[inline(always)]
            || integer::u32s(bytes, ahead),
        )),
        Dtype::I64 => Kind::Int(isa.run(
            #[inline(always)]
            || integer::i64s(bytes, ahead),
        )),
        Dtype::U64 => Kind::Int(isa.run(
            #[inline(always)]
            || integer::u64s(bytes, ahead),
        )),
        Dtype::F16 => floats(isa, &F16, bytes, ahead),
        Dtype::Bf16 => floats(isa, &Bf16, bytes, ahead),
        Dtype::F32 => floats(isa, &F32, bytes, ahead),
        Dtype::F64 => floats(isa, &F64, bytes, ahead),
        Dtype::C64 => floats(isa, &C64, bytes, ahead),
        Dtype::C128 => floats(isa, &C128, bytes, ahead),
        Dtype::F8_E4M3 => Kind::Float(codes::eight_bits(&codes::E4M3, bytes, ahead)),
        Dtype::F8_E5M2 => Kind::Float(codes::eight_bits(&codes::E5M2, bytes, ahead)),
        Dtype::F8_E8M0 => Kind::Float(codes::eight_bits(&codes::E8M0, bytes, ahead)),
        Dtype::F8_E4M3FNUZ => Kind::Float(codes::eight_bits(&codes::E4M3FNUZ, bytes, ahead)),
        Dtype::F8_E5M2FNUZ => Kind::Float(codes::eight_bits(&codes::E5M2FNUZ, bytes, ahead)),
        Dtype::F6_E2M3 => Kind::Float(codes::six_bits(&codes::E2M3, bytes, ahead)),
        Dtype::F6_E3M2 => Kind::Float(codes::six_bits(&codes::E3M2, bytes, ahead)),
        Dtype::F4 => Kind::Float(codes::four_bits(&codes::E2M1, bytes, ahead)),
    }
}

#[cfg(feature = "wide")]
fn floats<S: Batches>(isa: Isa, source: &S, bytes: &[u8], ahead: &mut Ahead<'_>) -> Kind {
    Kind::Float(isa.run(
        #[inline(always)]
        || float::summarise(source, bytes, ahead),
    ))
}

/// One kernel for all dtypes with that kind of values.
#[cfg(not(feature = "wide"))]
fn floats<V: super::element::Real>(
    isa: Isa,
    source: &dyn Batches<Value = V>,
    bytes: &[u8],
    ahead: &mut Ahead<'_>,
) -> Kind {
    Kind::Float(isa.run(|| float::summarise(source, bytes, ahead)))
}

/// Brings bytes into the nearest cache.
///
/// For where nothing can be asked for ahead. Reading one byte of every cache line keeps
/// as many lines under way as the processor can; a kernel's arithmetic would fill its
/// queues and leave memory idle. From main memory both together took a sixth (AVX-512) to a half (SSE2)
/// less time than the kernel alone; from the cache, a few hundredths more.
#[inline]
fn touch(bytes: &[u8]) {
    let mut any = 0;
    for line in bytes.as_chunks::<64>().0 {
        any |= line[0];
    }
    core::hint::black_box(any);
}

fn finish_float(of: &FloatSummary) -> Stats {
    // Adding zero turns -0.0, which compares as equal, into 0.0.
    let (min, max) = if of.min <= of.max {
        (of.min + 0.0, of.max + 0.0)
    } else {
        (f64::NAN, f64::NAN)
    };
    let mean = of.moments.mean();
    Stats {
        count: of.count,
        min: Number::Float(min),
        max: Number::Float(max),
        mean: if min <= max {
            mean.clamp(min, max)
        } else {
            mean
        },
        stddev: if min == max { 0.0 } else { of.moments.stddev() },
        nnz: of.count - of.zeros,
        nan: of.nan,
        posinf: of.posinf,
        neginf: of.neginf,
        absmax: Number::Float(min.abs().max(max.abs())),
        l2: of.moments.norm(),
    }
}

fn finish_int(of: &IntSummary) -> Stats {
    let magnitude = exact::quotient(of.sum.unsigned_abs().into(), of.count.into());
    // n²·variance = n·Σx² - (Σx)², exactly.
    let sum = of.sum.unsigned_abs();
    let spread = of
        .squares
        .times(of.count)
        .minus(exact::U256::product(sum, sum));
    let count = u128::from(of.count);
    Stats {
        count: of.count,
        min: Number::Int(of.min),
        max: Number::Int(of.max),
        mean: if of.sum < 0 { -magnitude } else { magnitude },
        stddev: exact::sqrt(exact::quotient(spread, count * count)),
        nnz: of.count - of.zeros,
        nan: 0,
        posinf: 0,
        neginf: 0,
        absmax: Number::Int(of.max.max(-of.min)),
        l2: exact::sqrt(exact::quotient(of.squares, 1)),
    }
}
