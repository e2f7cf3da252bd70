//! Count, sum and squared deviations of floats, in a form that merges.

use super::exact::{power_of_two, sqrt};
use super::twofold::Twofold;

/// Exponent of the unit that huge values are measured in; tiny ones have its
/// reciprocal.
const UNIT: i32 = 600;

/// What values are divided by before they are summed and squared.
///
/// Binary64 squares overflow beyond 2^512 and underflow below 2^-511, long
/// before the values themselves do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unit {
    Tiny = -1,
    One = 0,
    Huge = 1,
}

impl Unit {
    /// The factor that brings values into this unit.
    pub(super) const fn factor(self) -> f64 {
        power_of_two(-UNIT * self as i32)
    }

    /// Turns a result of values in this unit into what it would be of the values.
    const fn restore(self, x: f64) -> f64 {
        x * power_of_two(UNIT * self as i32)
    }
}

/// Number, sum and sum of squared deviations from the mean.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moments {
    count: u64,
    sum: Twofold,
    squares: f64,
    unit: Unit,
}

impl Moments {
    pub(super) const EMPTY: Self = Self {
        count: 0,
        sum: Twofold::ZERO,
        squares: 0.0,
        unit: Unit::Tiny,
    };

    /// Of `count` values whose sum, and sum of squared deviations from their
    /// mean, are these in that unit.
    pub(super) fn new(count: u64, sum: Twofold, squares: f64, unit: Unit) -> Self {
        Self {
            count,
            sum,
            squares,
            unit,
        }
    }

    /// Of `count` times the same value.
    pub(super) fn constant(count: u64, value: f64, unit: Unit) -> Self {
        Self::new(
            count,
            Twofold::product(count as f64, value * unit.factor()),
            0.0,
            unit,
        )
    }

    /// Adds what came after (Chan, Golub and LeVeque 1983, with the sum in
    /// double-double so that the difference of two close means is not lost).
    pub(super) fn merge(&mut self, next: &Self) {
        if next.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = *next;
            return;
        }
        let unit = self.unit.max(next.unit);
        let (a, b) = (self.measured_in(unit), next.measured_in(unit));
        let (m, n) = (a.count as f64, b.count as f64);
        let delta = a.sum.times(n).minus(b.sum.times(m)).value() / (m * n);
        let count = a.count.saturating_add(b.count);
        let between = delta * delta * (m * n / count as f64);
        *self = Self::new(
            count,
            a.sum.plus(b.sum),
            a.squares + b.squares + between,
            unit,
        );
    }

    /// The same in a unit at least as large.
    fn measured_in(&self, unit: Unit) -> Self {
        let mut moments = *self;
        let factor = Unit::Huge.factor();
        for _ in self.unit as i32..unit as i32 {
            moments.sum = moments.sum.times(factor);
            moments.squares = moments.squares * factor * factor;
        }
        Self { unit, ..moments }
    }

    /// The arithmetic mean; NaN of nothing.
    pub(super) fn mean(&self) -> f64 {
        self.unit.restore(self.sum.over(self.count as f64).value())
    }

    /// The population standard deviation; NaN of nothing.
    pub(super) fn stddev(&self) -> f64 {
        self.unit.restore(sqrt(self.squares / self.count as f64))
    }

    /// The square root of the sum of squares; NaN of nothing.
    pub(super) fn norm(&self) -> f64 {
        let mean = self.sum.over(self.count as f64).value();
        self.unit
            .restore(sqrt(self.squares + self.sum.value() * mean))
    }
}
