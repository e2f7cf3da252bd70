//! Sub-blocks of integers, all sums exact, so that the order of additions is free.

use super::ahead::{Ahead, pieces};
use super::exact::U256;
use super::summary::SUB_BYTES;

/// Summary of some integers.
#[derive(Clone, Copy, Debug)]
pub(super) struct IntSummary {
    pub(super) count: u64,
    pub(super) zeros: u64,
    /// The extremes. When there are no values, the largest and the smallest
    /// integer of some type that could hold them, so that merging stays right.
    pub(super) min: i128,
    pub(super) max: i128,
    pub(super) sum: i128,
    /// The sum of squares.
    pub(super) squares: U256,
}

impl IntSummary {
    /// Adds other values.
    pub(super) fn merge(&mut self, next: &Self) {
        self.count += next.count;
        self.zeros += next.zeros;
        self.min = self.min.min(next.min);
        self.max = self.max.max(next.max);
        self.sum += next.sum;
        self.squares = self.squares.plus(next.squares);
    }
}

// Each of the kernels takes a sub-block.

/// Summarises booleans: every byte but zero is true.
#[inline(always)]
pub(super) fn booleans(bytes: &[u8], ahead: &mut Ahead<'_>) -> IntSummary {
    let mut zeros = 0;
    for piece in pieces(bytes) {
        ahead.passed(piece.len());
        zeros += count_zeros(piece);
    }
    let count = bytes.len() as u64;
    let ones = count - zeros;
    IntSummary {
        count,
        zeros,
        min: i128::from(zeros == 0),
        max: i128::from(ones > 0),
        sum: ones.into(),
        squares: u128::from(ones).into(),
    }
}

/// How many bytes are zero.
#[inline(always)]
fn count_zeros(bytes: &[u8]) -> u64 {
    let mut total = 0u64;
    // A byte counts to 255 rows.
    for part in bytes.chunks(64 * 255) {
        let (rows, rest) = part.as_chunks::<64>();
        let mut zeros = [0u8; 64];
        for row in rows {
            for i in 0..64 {
                zeros[i] += u8::from(row[i] == 0);
            }
        }
        total += zeros.iter().map(|&z| u64::from(z)).sum::<u64>();
        total += rest.iter().filter(|&&b| b == 0).count() as u64;
    }
    total
}

// The 32-bit sums of the narrow kernels hold any 32 KiB of 8- or 16-bit integers.
const _: () = assert!(SUB_BYTES <= 32 << 10);

macro_rules! eight_bits {
    ($name:ident, $int:ident) => {
        #[doc = concat!("Summarises `", stringify!($int), "` elements.")]
        #[inline(always)]
        pub(super) fn $name(bytes: &[u8], ahead: &mut Ahead<'_>) -> IntSummary {
            let (mut min, mut max) = ($int::MAX, $int::MIN);
            let (mut sum, mut squares) = (0i32, 0u32);
            for piece in pieces(bytes) {
                ahead.passed(size_of_val(piece));
                for &byte in piece {
                    let x = byte as $int;
                    min = min.min(x);
                    max = max.max(x);
                    let x = i32::from(x);
                    sum += x;
                    squares += (x * x) as u32;
                }
            }
            IntSummary {
                count: bytes.len() as u64,
                zeros: count_zeros(bytes),
                min: min.into(),
                max: max.into(),
                sum: sum.into(),
                squares: u128::from(squares).into(),
            }
        }
    };
}

eight_bits!(i8s, i8);
eight_bits!(u8s, u8);

macro_rules! sixteen_bits {
    ($name:ident, $int:ident) => {
        #[doc = concat!("Summarises `", stringify!($int), "` elements.")]
        #[inline(always)]
        pub(super) fn $name(bytes: &[u8], ahead: &mut Ahead<'_>) -> IntSummary {
            let (elements, _) = bytes.as_chunks::<2>();
            let (mut min, mut max) = ($int::MAX, $int::MIN);
            let (mut sum, mut low, mut high, mut zeros) = (0i32, 0u32, 0u32, 0u16);
            for piece in pieces(elements) {
                ahead.passed(size_of_val(piece));
                for &raw in piece {
                    let x = $int::from_le_bytes(raw);
                    min = min.min(x);
                    max = max.max(x);
                    zeros += u16::from(x == 0);
                    let x = i32::from(x);
                    sum += x;
                    let square = x.wrapping_mul(x) as u32;
                    low += square & 0xffff;
                    high += square >> 16;
                }
            }
            IntSummary {
                count: elements.len() as u64,
                zeros: zeros.into(),
                min: min.into(),
                max: max.into(),
                sum: sum.into(),
                squares: (u128::from(low) + (u128::from(high) << 16)).into(),
            }
        }
    };
}

sixteen_bits!(i16s, i16);
sixteen_bits!(u16s, u16);

macro_rules! thirty_two_bits {
    ($name:ident, $int:ident) => {
        #[doc = concat!("Summarises `", stringify!($int), "` elements.")]
        #[inline(always)]
        pub(super) fn $name(bytes: &[u8], ahead: &mut Ahead<'_>) -> IntSummary {
            let (elements, _) = bytes.as_chunks::<4>();
            let (mut min, mut max) = ($int::MAX, $int::MIN);
            let (mut sum, mut low, mut high, mut zeros) = (0i64, 0u64, 0u64, 0u32);
            for piece in pieces(elements) {
                ahead.passed(size_of_val(piece));
                for &raw in piece {
                    let x = $int::from_le_bytes(raw);
                    min = min.min(x);
                    max = max.max(x);
                    zeros += u32::from(x == 0);
                    let x = i64::from(x);
                    sum += x;
                    let square = x.wrapping_mul(x) as u64;
                    low += square & 0xffff_ffff;
                    high += square >> 32;
                }
            }
            IntSummary {
                count: elements.len() as u64,
                zeros: zeros.into(),
                min: min.into(),
                max: max.into(),
                sum: sum.into(),
                squares: (u128::from(low) + (u128::from(high) << 32)).into(),
            }
        }
    };
}

thirty_two_bits!(i32s, i32);
thirty_two_bits!(u32s, u32);

macro_rules! sixty_four_bits {
    ($name:ident, $int:ident, $bias:expr) => {
        #[doc = concat!("Summarises `", stringify!($int), "` elements.")]
        #[cfg_attr(feature = "wide", inline(always))]
        #[cfg_attr(not(feature = "wide"), inline(never))]
        pub(super) fn $name(bytes: &[u8], ahead: &mut Ahead<'_>) -> IntSummary {
            const BIAS: u64 = $bias;
            let (elements, _) = bytes.as_chunks::<8>();
            let (mut min, mut max, mut zeros) = ($int::MAX, $int::MIN, 0u64);
            // Sums of the halves of x + BIAS, and of the halves of the products
            // of those halves.
            let [
                mut a,
                mut b,
                mut aa0,
                mut aa1,
                mut ab0,
                mut ab1,
                mut bb0,
                mut bb1,
            ] = [0u64; 8];
            const LOW: u64 = 0xffff_ffff;
            for piece in pieces(elements) {
                ahead.passed(size_of_val(piece));
                for &raw in piece {
                    let x = $int::from_le_bytes(raw);
                    min = min.min(x);
                    max = max.max(x);
                    zeros += u64::from(x == 0);
                    let x = x as u64 ^ BIAS;
                    let (high, low) = (x >> 32, x & LOW);
                    a += high;
                    b += low;
                    let (aa, ab, bb) = (high * high, high * low, low * low);
                    aa0 += aa & LOW;
                    aa1 += aa >> 32;
                    ab0 += ab & LOW;
                    ab1 += ab >> 32;
                    bb0 += bb & LOW;
                    bb1 += bb >> 32;
                }
            }
            let whole = |high: u64, low: u64| (u128::from(high) << 32) + u128::from(low);
            let count = elements.len() as u64;
            let sum = whole(a, b);
            let squares = U256::from(whole(aa1, aa0))
                .shl(64)
                .plus(U256::from(whole(ab1, ab0)).shl(33))
                .plus(whole(bb1, bb0).into());
            // Take the bias out again: x² = (x + b)² - 2b(x + b) + b².
            let (bias, count_bias) = (u128::from(BIAS), u128::from(count) * u128::from(BIAS));
            IntSummary {
                count,
                zeros,
                min: min.into(),
                max: max.into(),
                sum: sum as i128 - count_bias as i128,
                squares: squares
                    .minus(U256::product(sum, 2 * bias))
                    .plus(U256::product(count_bias, bias)),
            }
        }
    };
}

sixty_four_bits!(i64s, i64, 1 << 63);
sixty_four_bits!(u64s, u64, 0);
