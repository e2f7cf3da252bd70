//! Dtypes of 8 bits and fewer: every code's value stands in a table.

use super::ahead::{Ahead, pieces};
use super::element::bfloat_to_f32;
use super::exact::power_of_two;
use super::float::FloatSummary;
use super::moments::{Moments, Unit};
use super::twofold::Twofold;

/// The values of some codes, each of which is the upper half of a binary32: a quarter
/// of what the tables take as binary64, which is noticed where they are downloaded.
pub(super) struct Values<const N: usize>([u16; N]);

impl<const N: usize> Values<N> {
    const fn of(values: [f64; N]) -> Self {
        let mut table = [0; N];
        let mut code = 0;
        while code < N {
            let bits = (values[code] as f32).to_bits();
            assert!(bits & 0xffff == 0, "the value does not fit");
            table[code] = (bits >> 16) as u16;
            code += 1;
        }
        Self(table)
    }

    fn iter(&self) -> impl Iterator<Item = f64> + '_ {
        self.0.iter().map(|&half| bfloat_to_f32(half).into())
    }

    /// The value of a code, which must be below `N`.
    #[inline(always)]
    pub(super) fn at(&self, code: u8) -> f32 {
        bfloat_to_f32(self.0[usize::from(code)])
    }
}

/// Values of the codes of `F8_E4M3`.
pub(super) static E4M3: Values<256> = Values::of(with(
    minifloats(4, 3, 7),
    &[(0x7f, f64::NAN), (0xff, f64::NAN)],
));
/// Values of the codes of `F8_E5M2`.
pub(super) static E5M2: Values<256> = Values::of(with(
    minifloats(5, 2, 15),
    &[
        (0x7c, f64::INFINITY),
        (0x7d, f64::NAN),
        (0x7e, f64::NAN),
        (0x7f, f64::NAN),
        (0xfc, f64::NEG_INFINITY),
        (0xfd, f64::NAN),
        (0xfe, f64::NAN),
        (0xff, f64::NAN),
    ],
));
/// Values of the codes of `F8_E4M3FNUZ`.
pub(super) static E4M3FNUZ: Values<256> =
    Values::of(with(minifloats(4, 3, 8), &[(0x80, f64::NAN)]));
/// Values of the codes of `F8_E5M2FNUZ`.
pub(super) static E5M2FNUZ: Values<256> =
    Values::of(with(minifloats(5, 2, 16), &[(0x80, f64::NAN)]));
/// Values of the codes of `F6_E2M3`.
pub(super) static E2M3: Values<64> = Values::of(minifloats(2, 3, 1));
/// Values of the codes of `F6_E3M2`.
pub(super) static E3M2: Values<64> = Values::of(minifloats(3, 2, 3));
/// Values of the codes of `F4`.
pub(super) static E2M1: Values<16> = Values::of(minifloats(2, 1, 1));

/// Values of the codes of `F8_E8M0`.
pub(super) static E8M0: Values<256> = {
    let mut table = [f64::NAN; 256];
    let mut code = 0;
    while code < 255 {
        table[code] = power_of_two(code as i32 - 127);
        code += 1;
    }
    Values::of(table)
};

/// All codes of a sign bit, `exponent` bits and `mantissa` bits, as if every
/// exponent meant a finite number.
const fn minifloats<const N: usize>(exponent: u32, mantissa: u32, bias: i32) -> [f64; N] {
    let mut table = [0.0; N];
    let mut code = 0;
    while code < N {
        let fraction = code & ((1 << mantissa) - 1);
        let power = (code >> mantissa) & ((1 << exponent) - 1);
        let (significand, power) = if power == 0 {
            (fraction, 1)
        } else {
            (fraction | 1 << mantissa, power as i32)
        };
        let magnitude = significand as f64 * power_of_two(power - bias - mantissa as i32);
        table[code] = if code >> (exponent + mantissa) == 0 {
            magnitude
        } else {
            -magnitude
        };
        code += 1;
    }
    table
}

/// The table with some codes replaced.
const fn with<const N: usize>(mut table: [f64; N], special: &[(usize, f64)]) -> [f64; N] {
    let mut i = 0;
    while i < special.len() {
        table[special[i].0] = special[i].1;
        i += 1;
    }
    table
}

/// The four 6-bit codes of three bytes, the first in the lowest bits.
#[inline(always)]
pub(super) fn sixes(bytes: [u8; 3]) -> [u8; 4] {
    let [a, b, c] = bytes;
    [
        a & 63,
        a >> 6 | (b & 15) << 2,
        b >> 4 | (c & 3) << 4,
        c >> 2,
    ]
}

/// The two 4-bit codes of a byte, the first in the lowest bits.
#[inline(always)]
pub(super) fn fours(byte: u8) -> [u8; 2] {
    [byte & 15, byte >> 4]
}

/// Summarises bytes that are each a code.
#[inline]
pub(super) fn eight_bits(
    values: &Values<256>,
    bytes: &[u8],
    ahead: &mut Ahead<'_>,
) -> FloatSummary {
    summarise(values, &count_bytes(bytes, ahead))
}

/// Summarises bytes, three of which hold four codes.
#[inline]
pub(super) fn six_bits(values: &Values<64>, bytes: &[u8], ahead: &mut Ahead<'_>) -> FloatSummary {
    let mut tables = [[0u32; 64]; 4];
    for piece in pieces(bytes.as_chunks::<3>().0) {
        ahead.passed(size_of_val(piece));
        for &three in piece {
            for (table, code) in tables.iter_mut().zip(sixes(three)) {
                table[usize::from(code)] += 1;
            }
        }
    }
    summarise(values, &total(&tables))
}

/// Summarises bytes that each hold two codes.
#[inline]
pub(super) fn four_bits(values: &Values<16>, bytes: &[u8], ahead: &mut Ahead<'_>) -> FloatSummary {
    let mut counts = [0u64; 16];
    for (byte, n) in (0..=u8::MAX).zip(count_bytes(bytes, ahead)) {
        for code in fours(byte) {
            counts[usize::from(code)] += n;
        }
    }
    summarise(values, &counts)
}

/// How often each byte occurs.
#[inline]
fn count_bytes(bytes: &[u8], ahead: &mut Ahead<'_>) -> [u64; 256] {
    // Neighbours are often equal, and an increment has to wait for the last one
    // of the same counter: several tables take turns.
    let mut tables = [[0u32; 256]; 4];
    let (rows, rest) = bytes.as_chunks::<8>();
    for piece in pieces(rows) {
        ahead.passed(size_of_val(piece));
        for &row in piece {
            let row = u64::from_le_bytes(row);
            for i in 0..8 {
                tables[i % 4][usize::from((row >> (8 * i)) as u8)] += 1;
            }
        }
    }
    for &byte in rest {
        tables[0][usize::from(byte)] += 1;
    }
    total(&tables)
}

/// The tables added up.
fn total<const N: usize>(tables: &[[u32; N]; 4]) -> [u64; N] {
    core::array::from_fn(|code| tables.iter().map(|table| u64::from(table[code])).sum())
}

/// Summarises codes by how often each occurs.
fn summarise<const N: usize>(values: &Values<N>, counts: &[u64; N]) -> FloatSummary {
    let mut summary = FloatSummary::EMPTY;
    let (mut finite, mut sum) = (0u64, Twofold::ZERO);
    for (x, &n) in values.iter().zip(counts) {
        summary.count += n;
        if n == 0 {
            continue;
        }
        if x.is_nan() {
            summary.nan += n;
        } else if x == f64::INFINITY {
            summary.posinf += n;
        } else if x == f64::NEG_INFINITY {
            summary.neginf += n;
        } else {
            finite += n;
            summary.zeros += if x == 0.0 { n } else { 0 };
            summary.min = summary.min.min(x);
            summary.max = summary.max.max(x);
            sum = sum.plus(Twofold::from(x * n as f64));
        }
    }
    let mean = sum.over(finite as f64).value();
    let mut squares = 0.0;
    for (x, &n) in values.iter().zip(counts) {
        if n > 0 && x.is_finite() {
            squares += (x - mean) * (x - mean) * n as f64;
        }
    }
    summary.moments = Moments::new(finite, sum, squares, Unit::One);
    summary
}
