//! Sub-blocks of floating-point elements.

use super::ahead::Ahead;
use super::element::{Batches, Real};
use super::lanes::{Extremes, GROUP, Strays, Sums, larger, smaller};
use super::moments::{Moments, Unit};
use super::twofold::Twofold;

/// Summary of some floating-point values, or magnitudes of complex ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct FloatSummary {
    pub(super) count: u64,
    pub(super) zeros: u64,
    pub(super) nan: u64,
    pub(super) posinf: u64,
    pub(super) neginf: u64,
    /// Of the finite values; infinite the other way round when there are none.
    pub(super) min: f64,
    pub(super) max: f64,
    /// Of the finite values.
    pub(super) moments: Moments,
}

impl FloatSummary {
    pub(super) const EMPTY: Self = Self {
        count: 0,
        zeros: 0,
        nan: 0,
        posinf: 0,
        neginf: 0,
        min: f64::INFINITY,
        max: f64::NEG_INFINITY,
        moments: Moments::EMPTY,
    };

    /// Adds what came after.
    pub(super) fn merge(&mut self, next: &Self) {
        self.count += next.count;
        self.zeros += next.zeros;
        self.nan += next.nan;
        self.posinf += next.posinf;
        self.neginf += next.neginf;
        self.min = smaller(self.min, next.min);
        self.max = larger(self.max, next.max);
        self.moments.merge(&next.moments);
    }
}

/// Summarises one sub-block, a whole number of elements.
///
/// One pass when all is finite and the mean is not much larger than the spread;
/// a second, over bytes that are in the nearest cache by then, for each of these
/// that does not hold.
#[cfg_attr(feature = "wide", inline(always))]
pub(super) fn summarise<S: Batches + ?Sized>(
    source: &S,
    bytes: &[u8],
    ahead: &mut Ahead<'_>,
) -> FloatSummary {
    let width = source.width();
    let count = bytes.len() / width;
    let elements = &bytes[..count * width];
    let scan = Scan::over::<S, false>(source, elements, Unit::One, ahead);
    if scan.squares.is_finite() && scan.unit(source) == Unit::One {
        let moments = scan.moments::<S, false>(source, elements, Unit::One);
        return scan.summary(count, moments);
    }
    summarise_any(source, elements)
}

/// The same where not every element is finite, or the values are extreme. Rare, so that
/// without the feature `wide` it is not inlined: then it stays small.
#[cfg_attr(feature = "wide", inline(always))]
#[cfg_attr(not(feature = "wide"), inline(never))]
fn summarise_any<S: Batches + ?Sized>(source: &S, elements: &[u8]) -> FloatSummary {
    // What follows was asked for already.
    let ahead = &mut Ahead::nothing();
    let mut scan = Scan::over::<S, true>(source, elements, Unit::One, ahead);
    let unit = scan.unit(source);
    if unit != Unit::One {
        scan = Scan::over::<S, true>(source, elements, unit, ahead);
    }
    let moments = scan.moments::<S, true>(source, elements, unit);
    scan.summary(elements.len() / source.width(), moments)
}

/// What one pass over a sub-block finds.
struct Scan {
    /// How many finite values.
    finite: u64,
    zeros: u64,
    nan: u64,
    posinf: u64,
    min: f64,
    max: f64,
    sum: f64,
    squares: f64,
}

impl Scan {
    /// Looks at every element, at the finite ones alone if `MASKED`. Without,
    /// `squares` is not finite, or `min` or `max` beyond what is safe, when some
    /// element is not.
    #[cfg_attr(feature = "wide", inline(always))]
    fn over<S: Batches + ?Sized, const MASKED: bool>(
        source: &S,
        elements: &[u8],
        unit: Unit,
        ahead: &mut Ahead<'_>,
    ) -> Self {
        let (factor, width) = (unit.factor(), source.width());
        let mut extremes = Extremes::<S::Value>::new();
        let mut strays = Strays::<S::Value>::new();
        let mut sums = Sums::new();
        let mut buffer = [Raw::<S>::default(); GROUP];
        for batch in elements.chunks(GROUP * width) {
            ahead.passed(batch.len());
            let values = source.values(batch, MASKED, &mut buffer);
            extremes.take::<MASKED>(values);
            sums.take::<S::Value, MASKED>(values, factor, 0.0);
            if MASKED {
                strays.take(values);
            }
        }
        let (zeros, (min, max)) = (extremes.zeros(), extremes.range());
        let (nan, posinf, neginf) = strays.counts();
        let (sum, squares) = sums.totals();
        let finite = (elements.len() / width) as u64 - nan - posinf - neginf;
        Self {
            finite,
            zeros,
            nan,
            posinf,
            min,
            max,
            sum,
            squares,
        }
    }

    /// The unit in which sums and squares of these values are safe.
    #[cfg_attr(feature = "wide", inline(always))]
    #[cfg_attr(not(feature = "wide"), inline(never))]
    fn unit<S: Batches + ?Sized>(&self, source: &S) -> Unit {
        let (smallest_safe, largest_safe) = source.safe();
        let largest = larger(self.max, -self.min);
        if largest > largest_safe {
            Unit::Huge
        } else if largest > 0.0 && largest < smallest_safe {
            Unit::Tiny
        } else {
            Unit::One
        }
    }

    /// The moments, with a second pass if the mean dominates.
    #[cfg_attr(feature = "wide", inline(always))]
    #[cfg_attr(not(feature = "wide"), inline(never))]
    fn moments<S: Batches + ?Sized, const MASKED: bool>(
        &self,
        source: &S,
        elements: &[u8],
        unit: Unit,
    ) -> Moments {
        if self.finite == 0 {
            return Moments::EMPTY;
        }
        if self.min == self.max {
            // Zeros fit into any unit; the smallest leaves the choice to others.
            let unit = if self.min == 0.0 { Unit::Tiny } else { unit };
            return Moments::constant(self.finite, self.min, unit);
        }
        let count = self.finite as f64;
        let mean = self.sum / count;
        let of_mean = self.sum * mean;
        if of_mean <= self.squares * (1.0 - 1.0 / 64.0) {
            // The difference loses at most six bits of the fifty or so that are right.
            let squares = self.squares - of_mean;
            return Moments::new(self.finite, self.sum.into(), squares, unit);
        }
        let (sum, squares) = deviations::<S, MASKED>(source, elements, mean, unit);
        let whole = Twofold::product(count, mean).plus(sum.into());
        Moments::new(
            self.finite,
            whole,
            (squares - sum * (sum / count)).max(0.0),
            unit,
        )
    }

    /// The summary of `count` elements, of which the finite have these moments.
    #[inline(always)]
    fn summary(&self, count: usize, moments: Moments) -> FloatSummary {
        let count = count as u64;
        FloatSummary {
            count,
            zeros: self.zeros,
            nan: self.nan,
            posinf: self.posinf,
            neginf: count - self.finite - self.nan - self.posinf,
            min: self.min,
            max: self.max,
            moments,
        }
    }
}

/// Sum, and sum of squares, of the differences from `centre`.
#[cfg_attr(feature = "wide", inline(always))]
fn deviations<S: Batches + ?Sized, const MASKED: bool>(
    source: &S,
    elements: &[u8],
    centre: f64,
    unit: Unit,
) -> (f64, f64) {
    let factor = unit.factor();
    let mut sums = Sums::new();
    let mut buffer = [Raw::<S>::default(); GROUP];
    for batch in elements.chunks(GROUP * source.width()) {
        let values = source.values(batch, MASKED, &mut buffer);
        sums.take::<S::Value, MASKED>(values, factor, centre);
    }
    sums.totals()
}

type Raw<S> = <<S as Batches>::Value as Real>::Raw;
