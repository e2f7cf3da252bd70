//! Double-double arithmetic: a value as the unevaluated sum of two `f64`.
//!
//! The error-free transformations are Knuth's two-sum and Dekker's product,
//! the latter with Veltkamp's splitting because a fused multiply-add is neither
//! in `core` nor the same everywhere.

/// `high + low`, with `low` at most half a unit in the last place of `high`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Twofold {
    high: f64,
    low: f64,
}

impl Twofold {
    pub(super) const ZERO: Self = Self {
        high: 0.0,
        low: 0.0,
    };

    /// The sum of two doubles, exactly.
    pub(super) fn sum(a: f64, b: f64) -> Self {
        let high = a + b;
        let b_part = high - a;
        Self {
            high,
            low: (a - (high - b_part)) + (b - b_part),
        }
    }

    /// The product of two doubles, exactly while neither it nor `2^27` times a
    /// factor overflows, nor its last bits underflow.
    pub(super) fn product(a: f64, b: f64) -> Self {
        let high = a * b;
        let ((a1, a0), (b1, b0)) = (halves(a), halves(b));
        Self {
            high,
            low: ((a1 * b1 - high) + a1 * b0 + a0 * b1) + a0 * b0,
        }
    }

    /// The nearest double.
    pub(super) fn value(self) -> f64 {
        self.high
    }

    pub(super) fn plus(self, other: Self) -> Self {
        let high = Self::sum(self.high, other.high);
        let low = Self::sum(self.low, other.low);
        let high = Self::ordered(high.high, high.low + low.high);
        Self::ordered(high.high, high.low + low.low)
    }

    pub(super) fn minus(self, other: Self) -> Self {
        self.plus(Self {
            high: -other.high,
            low: -other.low,
        })
    }

    pub(super) fn times(self, factor: f64) -> Self {
        let high = Self::product(self.high, factor);
        Self::ordered(high.high, high.low + self.low * factor)
    }

    pub(super) fn over(self, divisor: f64) -> Self {
        let first = self.high / divisor;
        let rest = self.minus(Self::product(first, divisor));
        Self::ordered(first, rest.high / divisor)
    }

    /// The sum of two doubles, exactly where the first is the larger.
    fn ordered(a: f64, b: f64) -> Self {
        let high = a + b;
        Self {
            high,
            low: b - (high - a),
        }
    }
}

impl From<f64> for Twofold {
    fn from(high: f64) -> Self {
        Self { high, low: 0.0 }
    }
}

/// Splits into two halves of at most 26 bits each.
fn halves(a: f64) -> (f64, f64) {
    let scaled = a * ((1 << 27) + 1) as f64;
    let high = scaled - (scaled - a);
    (high, a - high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        // Integers below 2^53 make every claim checkable in i128.
        #[test]
        fn exact_on_integers(a in -(1i64 << 52)..1 << 52, b in -(1i64 << 52)..1 << 52) {
            let sum = Twofold::sum(a as f64, b as f64 * 1024.0);
            prop_assert_eq!(sum.high as i128 + sum.low as i128, a as i128 + b as i128 * 1024);
            let product = Twofold::product(a as f64, b as f64);
            prop_assert_eq!(product.high as i128 + product.low as i128, a as i128 * b as i128);
        }

        #[test]
        fn a_hundred_bits(a in any::<i64>(), b in any::<i64>(), n in 1u32..) {
            let (n, exact) = (f64::from(n), i128::from(a) * i128::from(n));
            let a2 = Twofold::sum(a as f64, (i128::from(a) - a as f64 as i128) as f64);
            let b2 = Twofold::sum(b as f64, (i128::from(b) - b as f64 as i128) as f64);
            let value = |t: Twofold| t.high as i128 + t.low as i128;
            prop_assert_eq!(value(a2.times(n)), exact);
            prop_assert_eq!(value(a2.plus(b2)), i128::from(a) + i128::from(b));
            prop_assert_eq!(value(a2.minus(b2)), i128::from(a) - i128::from(b));
            prop_assert_eq!(value(a2.times(n).over(n)), i128::from(a));
        }
    }
}
