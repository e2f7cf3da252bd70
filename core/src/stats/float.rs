//! Sub-blocks of floating-point elements.

use super::element::{Element, F64, Real};
use super::moments::{Moments, Unit};
use super::twofold::Twofold;

/// Independent accumulators per quantity. Fixed, because it decides the order
/// of additions and so the last bits of the result.
const LANES: usize = 16;

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
        self.min = self.min.min(next.min);
        self.max = self.max.max(next.max);
        self.moments.merge(&next.moments);
    }
}

/// Summarises one sub-block, a whole number of elements.
///
/// One pass when all is finite and the mean is not much larger than the spread;
/// a second, over bytes that are in the nearest cache by then, for each of these
/// that does not hold.
#[inline(always)]
pub(super) fn summarise<E: Element<W>, const W: usize>(bytes: &[u8]) -> FloatSummary {
    let (elements, _) = bytes.as_chunks::<W>();
    let scan = Scan::over::<E, W, false>(elements, Unit::One);
    if scan.squares.is_finite() && scan.unit::<E, W>() == Unit::One {
        let moments = scan.moments::<E, W, false>(elements, Unit::One);
        return scan.summary(elements.len(), moments);
    }
    let mut scan = Scan::over::<E, W, true>(elements, Unit::One);
    let unit = scan.unit::<E, W>();
    if unit != Unit::One {
        scan = Scan::over::<E, W, true>(elements, unit);
    }
    let moments = scan.moments::<E, W, true>(elements, unit);
    scan.summary(elements.len(), moments)
}

/// [`summarise`] of values that were computed.
#[inline(always)]
pub(super) fn summarise_values(values: &[[u8; 8]]) -> FloatSummary {
    summarise::<F64, 8>(values.as_flattened())
}

/// The accumulators of a pass.
struct Lanes<V: Real> {
    zeros: [V::Count; LANES],
    nan: [V::Count; LANES],
    posinf: [V::Count; LANES],
    neginf: [V::Count; LANES],
    min: [V; LANES],
    max: [V; LANES],
    sum: [f64; LANES],
    squares: [f64; LANES],
}

impl<V: Real> Lanes<V> {
    #[inline(always)]
    fn new() -> Self {
        let none = [V::Count::default(); LANES];
        Self {
            zeros: none,
            nan: none,
            posinf: none,
            neginf: none,
            min: [V::INFINITY; LANES],
            max: [V::NEG_INFINITY; LANES],
            sum: [0.0; LANES],
            squares: [0.0; LANES],
        }
    }

    /// Takes an element into each lane.
    #[inline(always)]
    fn row<E: Element<W, Value = V>, const W: usize, const MASKED: bool>(
        &mut self,
        row: &[[u8; W]; LANES],
        factor: f64,
    ) {
        let mut x = [V::ZERO; LANES];
        for i in 0..LANES {
            x[i] = if MASKED {
                E::any(row[i])
            } else {
                E::finite(row[i])
            };
        }
        for i in 0..LANES {
            self.zeros[i] = V::count(self.zeros[i], x[i] == V::ZERO);
        }
        for i in 0..LANES {
            self.min[i] = if x[i] < self.min[i] {
                x[i]
            } else {
                self.min[i]
            };
        }
        for i in 0..LANES {
            self.max[i] = if x[i] > self.max[i] {
                x[i]
            } else {
                self.max[i]
            };
        }
        let mut y = [0.0; LANES];
        for i in 0..LANES {
            y[i] = x[i].wide();
        }
        for i in 0..LANES {
            self.sum[i] += y[i];
        }
        for i in 0..LANES {
            self.squares[i] += y[i] * y[i];
        }
    }

    /// Takes an element into lane `i`.
    #[inline(always)]
    fn step<E: Element<W, Value = V>, const W: usize, const MASKED: bool>(
        &mut self,
        i: usize,
        raw: [u8; W],
        factor: f64,
    ) {
        let x = if MASKED { E::any(raw) } else { E::finite(raw) };
        let mut y = x.wide();
        let mut counts = true;
        if MASKED {
            counts = finite(x);
            y = if counts { y * factor } else { 0.0 };
            self.nan[i] = V::count(self.nan[i], V::is_nan(x));
            self.posinf[i] = V::count(self.posinf[i], x == V::INFINITY);
            self.neginf[i] = V::count(self.neginf[i], x == V::NEG_INFINITY);
        }
        self.zeros[i] = V::count(self.zeros[i], x == V::ZERO);
        self.min[i] = if counts && x < self.min[i] {
            x
        } else {
            self.min[i]
        };
        self.max[i] = if counts && x > self.max[i] {
            x
        } else {
            self.max[i]
        };
        self.sum[i] += y;
        self.squares[i] += y * y;
    }

    /// The lanes of `count` elements taken together.
    #[inline(always)]
    fn scan(self, count: usize) -> Scan {
        let total = |counts: [V::Count; LANES]| counts.into_iter().map(V::total).sum::<u64>();
        let (nan, posinf, neginf) = (total(self.nan), total(self.posinf), total(self.neginf));
        Scan {
            finite: count as u64 - nan - posinf - neginf,
            zeros: total(self.zeros),
            nan,
            posinf,
            min: self
                .min
                .map(Real::wide)
                .into_iter()
                .fold(f64::INFINITY, f64::min),
            max: self
                .max
                .map(Real::wide)
                .into_iter()
                .fold(f64::NEG_INFINITY, f64::max),
            sum: pairwise(self.sum),
            squares: pairwise(self.squares),
        }
    }
}

/// Whether `x` is neither infinite nor NaN.
#[inline(always)]
fn finite<V: Real>(x: V) -> bool {
    x > V::NEG_INFINITY && x < V::INFINITY
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
    /// `squares` is not finite, or `min` or `max` beyond `E::LARGEST`, when some
    /// element is not.
    #[inline(always)]
    fn over<E: Element<W>, const W: usize, const MASKED: bool>(
        elements: &[[u8; W]],
        unit: Unit,
    ) -> Self {
        let mut lanes = Lanes::<E::Value>::new();
        let factor = unit.factor();
        let (rows, rest) = elements.as_chunks::<LANES>();
        for row in rows {
            lanes.row::<E, W, MASKED>(row, factor);
        }
        lanes.scan(elements.len())
    }

    /// The unit in which sums and squares of these values are safe.
    #[inline(always)]
    fn unit<E: Element<W>, const W: usize>(&self) -> Unit {
        let largest = self.max.max(-self.min);
        if largest > E::LARGEST {
            Unit::Huge
        } else if largest > 0.0 && largest < E::SMALLEST {
            Unit::Tiny
        } else {
            Unit::One
        }
    }

    /// The moments, with a second pass if the mean dominates.
    #[inline(always)]
    fn moments<E: Element<W>, const W: usize, const MASKED: bool>(
        &self,
        elements: &[[u8; W]],
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
        if of_mean <= 0.5 * self.squares {
            // The difference loses at most a bit.
            let squares = self.squares - of_mean;
            return Moments::new(self.finite, self.sum.into(), squares, unit);
        }
        let (sum, squares) = deviations::<E, W, MASKED>(elements, mean, unit);
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
#[inline(always)]
fn deviations<E: Element<W>, const W: usize, const MASKED: bool>(
    elements: &[[u8; W]],
    centre: f64,
    unit: Unit,
) -> (f64, f64) {
    let factor = unit.factor();
    let mut sum = [0.0f64; LANES];
    let mut squares = [0.0f64; LANES];
    let (rows, rest) = elements.as_chunks::<LANES>();
    for row in rows {
        for i in 0..LANES {
            let d = deviation::<E, W, MASKED>(row[i], centre, factor);
            sum[i] += d;
            squares[i] += d * d;
        }
    }
    for (i, &raw) in rest.iter().enumerate() {
        let d = deviation::<E, W, MASKED>(raw, centre, factor);
        sum[i] += d;
        squares[i] += d * d;
    }
    (pairwise(sum), pairwise(squares))
}

/// The difference of a finite element from `centre`; zero of another.
#[inline(always)]
fn deviation<E: Element<W>, const W: usize, const MASKED: bool>(
    raw: [u8; W],
    centre: f64,
    factor: f64,
) -> f64 {
    if !MASKED {
        return E::finite(raw).wide() - centre;
    }
    let x = E::any(raw);
    if finite(x) {
        x.wide() * factor - centre
    } else {
        0.0
    }
}

/// The sum of the lanes, by halves.
#[inline(always)]
fn pairwise(mut lanes: [f64; LANES]) -> f64 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}
