//! From stored bits to numbers, element by element.
//!
//! Everything here is branch-free integer or float arithmetic on one element, so
//! that a loop over it becomes vector code.

use super::complex::{c64_magnitude, c128_magnitude};
use super::isa::Isa;

/// A floating-point dtype of 16 bits or more, stored in `W` bytes, little-endian.
pub(super) trait Element<const W: usize> {
    /// What an element becomes without loss.
    type Value: Real;

    /// The largest magnitude that the fast path may sum and square as it is.
    const LARGEST: f64;
    /// The smallest such magnitude other than zero, for the largest of a
    /// sub-block: its square must be far from underflow.
    const SMALLEST: f64;

    /// The value of a finite element; for a NaN or an infinity either that or
    /// something larger than [`Self::LARGEST`].
    fn finite(raw: [u8; W]) -> Self::Value;

    /// The value of any element.
    #[inline(always)]
    fn any(raw: [u8; W]) -> Self::Value {
        Self::finite(raw)
    }

    /// The values of as many elements as there are instructions for, from the first on;
    /// how many.
    #[inline(always)]
    fn by_instruction(batch: &[[u8; W]], buffer: &mut [<Self::Value as Real>::Raw]) -> usize {
        let _ = (batch, buffer);
        0
    }
}

/// Elements of one dtype, a batch at a time.
///
/// An object, so that without the feature `wide` the kernels are compiled once for all
/// dtypes with the same kind of values. Then what is called here is called for half a
/// thousand elements together, which hides what the call costs.
pub(super) trait Batches {
    /// What an element becomes without loss.
    type Value: Real;

    /// Bytes of an element.
    fn width(&self) -> usize;

    /// The smallest and the largest magnitude, see [`Element`].
    fn safe(&self) -> (f64, f64);

    /// The values of a batch, of any elements if `masked`, else of finite ones,
    /// in the layout of binary32 or binary64.
    fn values<'a>(
        &self,
        batch: &'a [u8],
        masked: bool,
        buffer: &'a mut [<Self::Value as Real>::Raw],
    ) -> &'a [<Self::Value as Real>::Raw];
}

/// The elements' bytes are the values' own.
macro_rules! as_stored {
    ($batch:ident, $masked:ident, $buffer:ident, $element:ident) => {
        $batch.as_chunks().0
    };
}

macro_rules! one_by_one {
    ($batch:ident, $masked:ident, $buffer:ident, $element:ident) => {{
        let (batch, _) = $batch.as_chunks();
        let buffer = &mut $buffer[..batch.len()];
        let done = $element::by_instruction(batch, buffer);
        for (value, &raw) in buffer.iter_mut().zip(batch).skip(done) {
            *value = if $masked {
                $element::any(raw)
            } else {
                $element::finite(raw)
            }
            .store();
        }
        buffer
    }};
}

/// Those at even places, then those at odd ones: two neighbours are one word, which
/// comes apart with a shift and a mask. The order of the values decides no more than
/// the last bits of the sums, and is always the same.
macro_rules! even_then_odd {
    ($batch:ident, $masked:ident, $buffer:ident, $element:ident) => {{
        let (batch, _) = $batch.as_chunks::<2>();
        let buffer = &mut $buffer[..batch.len()];
        let (pairs, last) = batch.as_chunks::<2>();
        let (even, rest) = buffer.split_at_mut(pairs.len());
        let (odd, rest) = rest.split_at_mut(pairs.len());
        for ((even, odd), &[[a, b], [c, d]]) in even.iter_mut().zip(odd).zip(pairs) {
            let pair = u32::from_le_bytes([a, b, c, d]);
            *even = (pair << 16).to_le_bytes();
            *odd = (pair & 0xffff_0000).to_le_bytes();
        }
        for (value, &raw) in rest.iter_mut().zip(last) {
            *value = $element::finite(raw).store();
        }
        buffer
    }};
}

macro_rules! batches {
    ($($element:ident: $value:ident from $width:literal, $values:ident;)*) => {$(
        impl Batches for $element {
            type Value = $value;

            #[inline(always)]
            fn width(&self) -> usize {
                $width
            }

            #[inline(always)]
            fn safe(&self) -> (f64, f64) {
                (Self::SMALLEST, Self::LARGEST)
            }

            #[inline(always)]
            fn values<'a>(
                &self,
                batch: &'a [u8],
                _masked: bool,
                _buffer: &'a mut [<$value as Real>::Raw],
            ) -> &'a [<$value as Real>::Raw] {
                $values!(batch, _masked, _buffer, $element)
            }
        }
    )*};
}

batches! {
    F16: f32 from 2, one_by_one;
    Bf16: f32 from 2, even_then_odd;
    F32: f32 from 4, as_stored;
    F64: f64 from 8, as_stored;
    C64: f64 from 8, one_by_one;
    C128: f64 from 16, one_by_one;
}

/// `f32` or `f64`, whichever holds an element without loss.
pub(super) trait Real: Copy + PartialOrd {
    /// A counter as wide as the value, so that counting keeps to its lanes.
    type Count: Copy + Default;
    /// Its bytes, little-endian.
    type Raw: Copy + Default;
    const ZERO: Self;
    const INFINITY: Self;
    const NEG_INFINITY: Self;
    fn read(raw: Self::Raw) -> Self;
    fn store(self) -> Self::Raw;
    fn wide(self) -> f64;
    fn is_nan(self) -> bool;
    fn one(if_so: bool) -> Self::Count;
    fn plus(a: Self::Count, b: Self::Count) -> Self::Count;
    fn total(counter: Self::Count) -> u64;
}

macro_rules! real {
    ($real:ident counted in $count:ident) => {
        impl Real for $real {
            type Count = $count;
            type Raw = [u8; size_of::<$real>()];
            const ZERO: Self = 0.0;
            const INFINITY: Self = $real::INFINITY;
            const NEG_INFINITY: Self = $real::NEG_INFINITY;

            #[inline(always)]
            fn read(raw: Self::Raw) -> Self {
                $real::from_le_bytes(raw)
            }

            #[inline(always)]
            fn store(self) -> Self::Raw {
                self.to_le_bytes()
            }

            #[inline(always)]
            fn wide(self) -> f64 {
                self.into()
            }

            #[inline(always)]
            fn is_nan(self) -> bool {
                $real::is_nan(self)
            }

            #[inline(always)]
            fn one(if_so: bool) -> $count {
                if_so.into()
            }

            #[inline(always)]
            fn plus(a: $count, b: $count) -> $count {
                a + b
            }

            #[inline(always)]
            fn total(counter: $count) -> u64 {
                counter.into()
            }
        }
    };
}

real!(f32 counted in u32);
real!(f64 counted in u64);

/// IEEE 754 binary16.
pub(super) struct F16;
/// The upper half of a binary32.
pub(super) struct Bf16;
/// Two binary32, measured by their magnitude.
pub(super) struct C64;
/// Two binary64, measured by their magnitude.
pub(super) struct C128;
/// IEEE 754 binary32.
pub(super) struct F32;
/// IEEE 754 binary64.
pub(super) struct F64;

impl Element<2> for F16 {
    type Value = f32;
    const LARGEST: f64 = 65504.0;
    const SMALLEST: f64 = 0.0;

    #[inline(always)]
    fn finite(raw: [u8; 2]) -> f32 {
        half_bits(u16::from_le_bytes(raw), 0)
    }

    #[inline(always)]
    fn any(raw: [u8; 2]) -> f32 {
        half_to_f32(u16::from_le_bytes(raw))
    }

    #[inline(always)]
    fn by_instruction(batch: &[[u8; 2]], buffer: &mut [[u8; 4]]) -> usize {
        Isa::best().widen_halves(batch, buffer)
    }
}

impl Element<2> for Bf16 {
    type Value = f32;
    const LARGEST: f64 = f32::MAX as f64;
    const SMALLEST: f64 = 0.0;

    #[inline(always)]
    fn finite(raw: [u8; 2]) -> f32 {
        bfloat_to_f32(u16::from_le_bytes(raw))
    }
}

impl Element<4> for F32 {
    type Value = f32;
    const LARGEST: f64 = f32::MAX as f64;
    const SMALLEST: f64 = 0.0;

    #[inline(always)]
    fn finite(raw: [u8; 4]) -> f32 {
        f32::from_le_bytes(raw)
    }
}

impl Element<8> for F64 {
    type Value = f64;
    // Squares of this range, summed over every tensor there can be, stay normal
    // and finite.
    const LARGEST: f64 = super::exact::power_of_two(470);
    const SMALLEST: f64 = super::exact::power_of_two(-400);

    #[inline(always)]
    fn finite(raw: [u8; 8]) -> f64 {
        f64::from_le_bytes(raw)
    }
}

impl Element<8> for C64 {
    type Value = f64;
    const LARGEST: f64 = F64::LARGEST;
    const SMALLEST: f64 = F64::SMALLEST;

    #[inline(always)]
    fn finite(raw: [u8; 8]) -> f64 {
        c64_magnitude(raw)
    }
}

impl Element<16> for C128 {
    type Value = f64;
    const LARGEST: f64 = F64::LARGEST;
    const SMALLEST: f64 = F64::SMALLEST;

    #[inline(always)]
    fn finite(raw: [u8; 16]) -> f64 {
        c128_magnitude(raw)
    }
}

/// A bfloat16 from its bits.
#[inline(always)]
pub(super) fn bfloat_to_f32(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// A binary16 from its bits; NaNs stay NaN, their payload at the top.
#[inline(always)]
pub(super) fn half_to_f32(bits: u16) -> f32 {
    // An exponent of all ones must become the wider one of all ones: rebias twice.
    half_bits(
        bits,
        if bits & 0x7c00 == 0x7c00 {
            112 << 23
        } else {
            0
        },
    )
}

/// A binary16 from its bits, where `extra` is added to a normal number's bits.
#[inline(always)]
fn half_bits(bits: u16, extra: u32) -> f32 {
    let bits = u32::from(bits);
    let (sign, magnitude) = ((bits & 0x8000) << 16, bits & 0x7fff);
    // Exponent biases are 15 and 127. A subnormal is magnitude · 2^-24: put it
    // below the leading one of 0.5, then take the 0.5 away. (Multiplying the
    // bits as a subnormal binary32 is shorter, but slow on many processors.)
    let normal = (magnitude << 13) + (112 << 23) + extra;
    let subnormal = (f32::from_bits(0x3f00_0000 | magnitude) - 0.5).to_bits();
    f32::from_bits(sign | if magnitude < 0x400 { subnormal } else { normal })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half() {
        for bits in 0..=u16::MAX {
            let (ours, theirs) = (half_to_f32(bits), half::f16::from_bits(bits).to_f32());
            assert_eq!(ours.is_nan(), theirs.is_nan(), "{bits:#x}");
            if !ours.is_nan() {
                assert_eq!(ours.to_bits(), theirs.to_bits(), "{bits:#x}");
            }
            let fast = F16::finite(bits.to_le_bytes());
            if theirs.is_finite() {
                assert_eq!(fast.to_bits(), theirs.to_bits(), "{bits:#x}");
            } else {
                assert!(f64::from(fast).abs() > F16::LARGEST, "{bits:#x}");
            }
        }
    }

    #[test]
    fn every_bfloat() {
        for bits in 0..=u16::MAX {
            let (ours, theirs) = (bfloat_to_f32(bits), half::bf16::from_bits(bits).to_f32());
            assert_eq!(ours.is_nan(), theirs.is_nan(), "{bits:#x}");
            if !ours.is_nan() {
                assert_eq!(ours.to_bits(), theirs.to_bits(), "{bits:#x}");
            }
        }
    }
}
