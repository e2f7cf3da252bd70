//! Exact arithmetic for the ends of a computation: 256-bit integers, correctly
//! rounded quotients and square roots (which `core` lacks for `f64`).

use super::complex::root;
use core::cmp::Ordering;

/// An unsigned 256-bit integer; all arithmetic wraps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct U256 {
    hi: u128,
    lo: u128,
}

impl U256 {
    pub(super) const ZERO: Self = Self { hi: 0, lo: 0 };

    /// The product of two 128-bit integers, which always fits.
    pub(super) fn product(a: u128, b: u128) -> Self {
        const LOW: u128 = u64::MAX as u128;
        let (a1, a0, b1, b0) = (a >> 64, a & LOW, b >> 64, b & LOW);
        let (low, mid_a, mid_b) = (a0 * b0, a1 * b0, a0 * b1);
        let carry = (low >> 64) + (mid_a & LOW) + (mid_b & LOW);
        Self {
            hi: a1 * b1 + (mid_a >> 64) + (mid_b >> 64) + (carry >> 64),
            lo: (low & LOW) | (carry << 64),
        }
    }

    /// This times a 64-bit integer.
    pub(super) fn times(self, factor: u64) -> Self {
        let low = Self::product(self.lo, factor.into());
        let high = self.hi.wrapping_mul(factor.into());
        Self {
            hi: low.hi.wrapping_add(high),
            lo: low.lo,
        }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        let (lo, carry) = self.lo.overflowing_add(other.lo);
        Self {
            hi: self.hi.wrapping_add(other.hi).wrapping_add(carry.into()),
            lo,
        }
    }

    pub(super) fn minus(self, other: Self) -> Self {
        let (lo, borrow) = self.lo.overflowing_sub(other.lo);
        Self {
            hi: self.hi.wrapping_sub(other.hi).wrapping_sub(borrow.into()),
            lo,
        }
    }

    /// This shifted left by `bits`; 256 or more give zero.
    pub(super) fn shl(self, bits: u32) -> Self {
        match bits {
            0 => self,
            1..128 => Self {
                hi: (self.hi << bits) | (self.lo >> (128 - bits)),
                lo: self.lo << bits,
            },
            _ => Self {
                hi: self.lo.checked_shl(bits - 128).unwrap_or(0),
                lo: 0,
            },
        }
    }

    /// Position of the highest set bit plus one; 0 for zero.
    fn length(self) -> u32 {
        if self.hi == 0 {
            128 - self.lo.leading_zeros()
        } else {
            256 - self.hi.leading_zeros()
        }
    }
}

impl From<u128> for U256 {
    fn from(lo: u128) -> Self {
        Self { hi: 0, lo }
    }
}

impl PartialOrd for U256 {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for U256 {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.hi, self.lo).cmp(&(other.hi, other.lo))
    }
}

/// `num / den`, correctly rounded; NaN when `den` is zero.
///
/// `num` may have 255 bits and `den` 128.
pub(super) fn quotient(num: U256, den: u128) -> f64 {
    if den == 0 {
        return f64::NAN;
    }
    if num == U256::ZERO {
        return 0.0;
    }
    // Long division, one bit at a time, for 64 bits from the first that can be
    // set: den·2^shift is the largest such multiple not above 2·num.
    let mut den = U256::from(den);
    let mut num = num;
    let shift = num.length() as i32 - den.length() as i32;
    if shift >= 0 {
        den = den.shl(shift as u32);
    } else {
        num = num.shl(shift.unsigned_abs());
    }
    let mut digits = 0u64;
    for _ in 0..64 {
        digits <<= 1;
        if num >= den {
            num = num.minus(den);
            digits |= 1;
        }
        num = num.shl(1);
    }
    // The lowest of 64 bits is far below the last of 53: it can take the rest.
    if num != U256::ZERO {
        digits |= 1;
    }
    digits as f64 * power_of_two(shift - 63)
}

/// The square root, correctly rounded, as IEEE 754 asks.
pub(super) fn sqrt(x: f64) -> f64 {
    if x.is_nan() || x < 0.0 {
        return f64::NAN;
    }
    if x == 0.0 || x == f64::INFINITY {
        return x;
    }
    // x = mantissa · 2^exponent, with the exponent even and the mantissa long
    // enough that its root has 55 bits: 53, one to round by, and one to spare.
    let bits = x.to_bits();
    let (mantissa, exponent) = match (bits >> 52) as i32 {
        0 => (bits, -1074),
        e => (bits & ((1 << 52) - 1) | 1 << 52, e - 1075),
    };
    let mut shift = mantissa.leading_zeros() as i32 - 64 + 110;
    shift -= (exponent - shift) & 1;
    let radicand = u128::from(mantissa) << shift;
    // A guess that is at most a few units off. (`u128::isqrt` divides, and brings a
    // kilobyte of code for that into a browser.)
    let guess = root(mantissa as f64 * power_of_two(shift));
    let mut root = guess as u64;
    let square = |n: u64| u128::from(n) * u128::from(n);
    while square(root) > radicand {
        root -= 1;
    }
    while square(root + 1) <= radicand {
        root += 1;
    }
    let inexact = square(root) != radicand;
    ((root << 1) | u64::from(inexact)) as f64 * power_of_two((exponent - shift) / 2 - 1)
}

/// 2 to the power of `k`, for `k` from -1022 to 1023.
pub(super) const fn power_of_two(k: i32) -> f64 {
    f64::from_bits(((1023 + k) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wide(hi: u128, lo: u128) -> U256 {
        U256 { hi, lo }
    }

    #[test]
    fn products_and_shifts() {
        let all = u128::MAX;
        assert_eq!(U256::product(all, all), wide(all - 1, 1));
        assert_eq!(U256::product(all, 2), wide(1, all - 1));
        assert_eq!(wide(3, all).times(u64::MAX), {
            // (4·2^128 - 1)(2^64 - 1) = 2^194 - 2^130 - 2^64 + 1
            wide(1 << 66, 0)
                .minus(wide(4, 0))
                .minus(wide(0, 1 << 64))
                .plus(wide(0, 1))
        });
        assert_eq!(wide(0, 1).shl(255), wide(1 << 127, 0));
        assert_eq!(wide(0, 1).shl(256), U256::ZERO);
        assert_eq!(wide(0, all).shl(64), wide((1 << 64) - 1, all << 64));
        assert_eq!(U256::ZERO.minus(wide(0, 1)), wide(all, all));
        assert!(wide(1, 0) > wide(0, all));
    }

    #[test]
    fn quotients_at_the_edges() {
        assert_eq!(quotient(U256::from(1), 3), 1.0 / 3.0);
        assert_eq!(quotient(U256::ZERO, 7), 0.0);
        assert!(quotient(U256::from(1), 0).is_nan());
        assert_eq!(quotient(wide(1 << 126, 0), 1), power_of_two(254));
        // Ties go to even, and a bit below the tie goes up.
        assert_eq!(quotient(U256::from((1 << 53) + 1), 1), 9007199254740992.0);
        assert_eq!(quotient(U256::from((1 << 53) + 3), 1), 9007199254740996.0);
        assert_eq!(
            quotient(U256::from((1 << 118) + (1 << 65) + 1), 1 << 65),
            9007199254740994.0
        );
        assert_eq!(quotient(U256::from(u128::MAX), u128::MAX), 1.0);
        assert_eq!(quotient(U256::from(1), u128::MAX), power_of_two(-128));
    }

    proptest! {
        #[test]
        fn quotients_of_doubles(a in 1u64..1 << 53, b in 1u64..1 << 53) {
            prop_assert_eq!(quotient(U256::from(u128::from(a)), b.into()), a as f64 / b as f64);
        }

        #[test]
        fn conversions(a in any::<u128>()) {
            prop_assert_eq!(quotient(U256::from(a), 1), a as f64);
        }

        #[test]
        fn times_is_a_product(a in any::<u128>(), b in any::<u64>(), c in any::<u32>()) {
            let once = U256::from(a).times(b);
            prop_assert_eq!(once, U256::product(a, b.into()));
            let (b, c) = (b >> 32, u64::from(c));
            prop_assert_eq!(U256::from(a).times(b).times(c), U256::product(a, (b * c).into()));
        }

        #[test]
        fn roots_as_the_processor_takes_them(bits in 0u64..0x7ff << 52) {
            let x = f64::from_bits(bits);
            prop_assert_eq!(sqrt(x).to_bits(), x.sqrt().to_bits());
        }
    }

    #[test]
    fn roots_at_the_edges() {
        for x in [
            0.0,
            -0.0,
            1.0,
            2.0,
            4.0,
            f64::MAX,
            f64::MIN_POSITIVE,
            5e-324,
            f64::INFINITY,
        ] {
            assert_eq!(sqrt(x).to_bits(), x.sqrt().to_bits(), "{x}");
        }
        assert!(sqrt(-1.0).is_nan() && sqrt(f64::NAN).is_nan());
    }
}
