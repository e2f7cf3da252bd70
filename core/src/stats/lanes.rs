//! Accumulators in lanes: the loops that every byte goes through.
//!
//! Within such a loop nothing depends on anything, neither along a row nor
//! between accumulators, so that the compiler finds the vectors by itself
//! whatever their width. Sums in registers, or several kinds of lanes in one
//! loop, are faster on paper, but then it often misses them.
//!
//! With the feature `wide` they are inlined into code for wider instructions; without,
//! all dtypes share them, and what is not called for every value stays out of line,
//! which keeps the module for browsers small.

use super::element::Real;

/// Independent accumulators per quantity. Fixed, like [`ROWS`], because it decides
/// the order of additions and so the last bits of the result.
const LANES: usize = 64;

/// Values of a lane that are taken together before its accumulator gets them.
const ROWS: usize = 8;

/// The most values that may be given at once; fewer only at a sub-block's end.
pub(super) const GROUP: usize = LANES * ROWS;

/// Zeros and extremes, by lane.
pub(super) struct Extremes<V: Real> {
    zeros: [V::Count; LANES],
    /// The latest extremes, and room for the next ones. Updated in place they
    /// would become conditional stores, which cost more than all the rest.
    range: [Range<V>; 2],
    /// Which of the two holds the latest.
    second: bool,
}

#[derive(Clone, Copy)]
struct Range<V> {
    min: [V; LANES],
    max: [V; LANES],
}

impl<V: Real> Extremes<V> {
    #[inline(always)]
    pub(super) fn new() -> Self {
        Self {
            zeros: [V::Count::default(); LANES],
            range: [Range {
                min: [V::INFINITY; LANES],
                max: [V::NEG_INFINITY; LANES],
            }; 2],
            second: false,
        }
    }

    /// Takes finite values, or if `MASKED` any, of which it heeds the finite ones.
    #[cfg_attr(feature = "wide", inline(always))]
    pub(super) fn take<const MASKED: bool>(&mut self, values: &[V::Raw]) {
        let Ok(group) = <&[V::Raw; GROUP]>::try_from(values) else {
            return self.take_last::<MASKED>(values);
        };
        let [first, second] = &mut self.range;
        let (now, next) = if self.second {
            (second, first)
        } else {
            (first, second)
        };
        for i in 0..LANES {
            let x = rows(|r| V::read(group[r * LANES + i]));
            self.zeros[i] = V::plus(self.zeros[i], tree(each(x, zero), V::plus));
            next.min[i] = smaller(now.min[i], tree(each(x, low::<V, MASKED>), smaller));
            next.max[i] = larger(now.max[i], tree(each(x, high::<V, MASKED>), larger));
        }
        self.second = !self.second;
    }

    /// Takes fewer than a group.
    #[cfg_attr(feature = "wide", inline(always))]
    #[cfg_attr(not(feature = "wide"), inline(never))]
    fn take_last<const MASKED: bool>(&mut self, values: &[V::Raw]) {
        let now = &mut self.range[usize::from(self.second)];
        for row in values.chunks(LANES) {
            for (i, &raw) in row.iter().enumerate() {
                let x = V::read(raw);
                self.zeros[i] = V::plus(self.zeros[i], zero(x));
                now.min[i] = smaller(now.min[i], low::<V, MASKED>(x));
                now.max[i] = larger(now.max[i], high::<V, MASKED>(x));
            }
        }
    }

    /// How many zeros.
    #[cfg_attr(feature = "wide", inline(always))]
    #[cfg_attr(not(feature = "wide"), inline(never))]
    pub(super) fn zeros(&self) -> u64 {
        total::<V>(&self.zeros)
    }

    /// The smallest and the largest value.
    #[cfg_attr(feature = "wide", inline(always))]
    #[cfg_attr(not(feature = "wide"), inline(never))]
    pub(super) fn range(&self) -> (f64, f64) {
        let [first, second] = &self.range;
        let now = if self.second { second } else { first };
        let min = now
            .min
            .iter()
            .map(|x| x.wide())
            .fold(f64::INFINITY, smaller);
        let max = now
            .max
            .iter()
            .map(|x| x.wide())
            .fold(f64::NEG_INFINITY, larger);
        (min, max)
    }
}

/// What is not finite, by lane.
pub(super) struct Strays<V: Real> {
    nan: [V::Count; LANES],
    posinf: [V::Count; LANES],
    neginf: [V::Count; LANES],
}

impl<V: Real> Strays<V> {
    #[inline(always)]
    pub(super) fn new() -> Self {
        let none = [V::Count::default(); LANES];
        Self {
            nan: none,
            posinf: none,
            neginf: none,
        }
    }

    /// Takes any values.
    #[cfg_attr(feature = "wide", inline(always))]
    pub(super) fn take(&mut self, values: &[V::Raw]) {
        for row in values.chunks(LANES) {
            for (i, &raw) in row.iter().enumerate() {
                let x = V::read(raw);
                self.nan[i] = V::plus(self.nan[i], V::one(x.is_nan()));
                self.posinf[i] = V::plus(self.posinf[i], V::one(x == V::INFINITY));
                self.neginf[i] = V::plus(self.neginf[i], V::one(x == V::NEG_INFINITY));
            }
        }
    }

    /// How many are NaN, how many infinity, and how many negative infinity.
    #[cfg_attr(feature = "wide", inline(always))]
    #[cfg_attr(not(feature = "wide"), inline(never))]
    pub(super) fn counts(&self) -> (u64, u64, u64) {
        (
            total::<V>(&self.nan),
            total::<V>(&self.posinf),
            total::<V>(&self.neginf),
        )
    }
}

/// Sum and sum of squares, by lane.
pub(super) struct Sums {
    sum: [f64; LANES],
    squares: [f64; LANES],
}

impl Sums {
    #[inline(always)]
    pub(super) fn new() -> Self {
        Self {
            sum: [0.0; LANES],
            squares: [0.0; LANES],
        }
    }

    /// Takes `factor` times each value, less `centre`. If `MASKED`, it heeds the
    /// finite values alone; else all must be finite, and `factor` must be one.
    #[cfg_attr(feature = "wide", inline(always))]
    pub(super) fn take<V: Real, const MASKED: bool>(
        &mut self,
        values: &[V::Raw],
        factor: f64,
        centre: f64,
    ) {
        let plus = |a, b| a + b;
        let Ok(group) = <&[V::Raw; GROUP]>::try_from(values) else {
            return self.take_last::<V, MASKED>(values, factor, centre);
        };
        for i in 0..LANES {
            let x = rows(|r| measure::<V, MASKED>(V::read(group[r * LANES + i]), factor, centre));
            self.sum[i] += tree(x, plus);
            self.squares[i] += tree(each(x, |x| x * x), plus);
        }
    }

    /// Takes fewer than a group.
    #[cfg_attr(feature = "wide", inline(always))]
    #[cfg_attr(not(feature = "wide"), inline(never))]
    fn take_last<V: Real, const MASKED: bool>(
        &mut self,
        values: &[V::Raw],
        factor: f64,
        centre: f64,
    ) {
        for row in values.chunks(LANES) {
            for (i, &raw) in row.iter().enumerate() {
                let x = measure::<V, MASKED>(V::read(raw), factor, centre);
                self.sum[i] += x;
                self.squares[i] += x * x;
            }
        }
    }

    /// The sum, and the sum of squares.
    #[inline(always)]
    pub(super) fn totals(self) -> (f64, f64) {
        (pairwise(self.sum), pairwise(self.squares))
    }
}

// Written out, since a compiler that saves space leaves loops over eight as loops.

/// What `of` gives for each row.
#[inline(always)]
fn rows<A>(of: impl Fn(usize) -> A) -> [A; ROWS] {
    [of(0), of(1), of(2), of(3), of(4), of(5), of(6), of(7)]
}

/// What `of` gives for each of the rows' values.
#[inline(always)]
fn each<A, B>(x: [A; ROWS], of: impl Fn(A) -> B) -> [B; ROWS] {
    let [a, b, c, d, e, f, g, h] = x;
    [of(a), of(b), of(c), of(d), of(e), of(f), of(g), of(h)]
}

/// The rows of a lane taken together, by pairs.
#[inline(always)]
fn tree<A: Copy>(x: [A; ROWS], plus: impl Fn(A, A) -> A) -> A {
    let [a, b, c, d, e, f, g, h] = x;
    plus(plus(plus(a, b), plus(c, d)), plus(plus(e, f), plus(g, h)))
}

/// What `x` adds to the number of zeros.
#[inline(always)]
fn zero<V: Real>(x: V) -> V::Count {
    V::one(x == V::ZERO)
}

/// What `x` is to the minimum.
#[inline(always)]
fn low<V: Real, const MASKED: bool>(x: V) -> V {
    if MASKED && !finite(x) { V::INFINITY } else { x }
}

/// What `x` is to the maximum.
#[inline(always)]
fn high<V: Real, const MASKED: bool>(x: V) -> V {
    if MASKED && !finite(x) {
        V::NEG_INFINITY
    } else {
        x
    }
}

/// What `x` adds to [`Sums`].
#[inline(always)]
fn measure<V: Real, const MASKED: bool>(x: V, factor: f64, centre: f64) -> f64 {
    match (MASKED, finite(x)) {
        (false, _) => x.wide() - centre,
        (true, true) => x.wide() * factor - centre,
        (true, false) => 0.0,
    }
}

/// Whether `x` is neither infinite nor NaN.
#[inline(always)]
fn finite<V: Real>(x: V) -> bool {
    x > V::NEG_INFINITY && x < V::INFINITY
}

/// The sum of the lanes, by halves.
#[cfg_attr(feature = "wide", inline(always))]
#[cfg_attr(not(feature = "wide"), inline(never))]
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

/// The sum of the lanes.
#[inline(always)]
fn total<V: Real>(lanes: &[V::Count; LANES]) -> u64 {
    lanes.iter().map(|&count| V::total(count)).sum()
}

/// The smaller of two numbers, the first if they are equal; never `b` if NaN.
#[inline(always)]
pub(super) fn smaller<V: PartialOrd>(a: V, b: V) -> V {
    if b < a { b } else { a }
}

/// The larger of two numbers, the first if they are equal; never `b` if NaN.
#[inline(always)]
pub(super) fn larger<V: PartialOrd>(a: V, b: V) -> V {
    if b > a { b } else { a }
}
