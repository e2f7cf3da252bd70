//! What the tests compare with: the slow, obvious way, one element after the
//! other and sums without error. And what they are fed with.

extern crate std;

use super::{Number, Stats};
use crate::Dtype;
use std::boxed::Box;
use std::vec;
use std::vec::Vec;

/// Every element, decoded by the definition of its dtype.
pub(super) fn elements(dtype: Dtype, bytes: &[u8]) -> Vec<Number> {
    let bits = dtype.bits() as usize;
    let count = bytes.len() * 8 / bits;
    let count = if bits == 6 { count / 4 * 4 } else { count };
    (0..count)
        .map(|i| element(dtype, code(bytes, i * bits, bits)))
        .collect()
}

/// The `bits` bits from bit `start`, counted from the lowest of the first byte.
fn code(bytes: &[u8], start: usize, bits: usize) -> u128 {
    let bit = |i: usize| u128::from(bytes[i / 8] >> (i % 8) & 1);
    (0..bits).map(|i| bit(start + i) << i).sum()
}

fn element(dtype: Dtype, code: u128) -> Number {
    let low = code as u64;
    let minifloat = |exponent, mantissa, bias| minifloat(low, exponent, mantissa, bias);
    Number::Float(match dtype {
        Dtype::Bool => return Number::Int((code != 0).into()),
        Dtype::U8 | Dtype::U16 | Dtype::U32 | Dtype::U64 => return Number::Int(code as i128),
        Dtype::I8 => return Number::Int((code as i8).into()),
        Dtype::I16 => return Number::Int((code as i16).into()),
        Dtype::I32 => return Number::Int((code as i32).into()),
        Dtype::I64 => return Number::Int((code as i64).into()),
        Dtype::F16 => half::f16::from_bits(code as u16).into(),
        Dtype::Bf16 => half::bf16::from_bits(code as u16).into(),
        Dtype::F32 => f32::from_bits(code as u32).into(),
        Dtype::F64 => f64::from_bits(low),
        Dtype::C64 => {
            let (re, im) = (
                f32::from_bits(code as u32),
                f32::from_bits((code >> 32) as u32),
            );
            f64::from(re).hypot(im.into())
        }
        Dtype::C128 => f64::from_bits(low).hypot(f64::from_bits((code >> 64) as u64)),
        Dtype::F8_E4M3 if code & 0x7f == 0x7f => f64::NAN,
        Dtype::F8_E4M3 => minifloat(4, 3, 7),
        Dtype::F8_E5M2 if code & 0x7f == 0x7c => f64::INFINITY.copysign(minifloat(5, 2, 15)),
        Dtype::F8_E5M2 if code & 0x7f > 0x7c => f64::NAN,
        Dtype::F8_E5M2 => minifloat(5, 2, 15),
        Dtype::F8_E8M0 if code == 0xff => f64::NAN,
        Dtype::F8_E8M0 => 2f64.powi(code as i32 - 127),
        Dtype::F8_E4M3FNUZ | Dtype::F8_E5M2FNUZ if code == 0x80 => f64::NAN,
        Dtype::F8_E4M3FNUZ => minifloat(4, 3, 8),
        Dtype::F8_E5M2FNUZ => minifloat(5, 2, 16),
        Dtype::F6_E2M3 => minifloat(2, 3, 1),
        Dtype::F6_E3M2 => minifloat(3, 2, 3),
        Dtype::F4 => minifloat(2, 1, 1),
    })
}

/// Sign, exponent and mantissa by the book, every exponent a finite one.
fn minifloat(code: u64, exponent_bits: u32, mantissa_bits: u32, bias: i32) -> f64 {
    let mantissa = (code % (1 << mantissa_bits)) as f64 / 2f64.powi(mantissa_bits as i32);
    let exponent = ((code >> mantissa_bits) % (1 << exponent_bits)) as i32;
    let sign = if code >> (mantissa_bits + exponent_bits) == 1 {
        -1.0
    } else {
        1.0
    };
    match exponent {
        0 => sign * mantissa * 2f64.powi(1 - bias),
        _ => sign * (1.0 + mantissa) * 2f64.powi(exponent - bias),
    }
}

/// The statistics by definition.
pub(super) fn stats(dtype: Dtype, bytes: &[u8]) -> Stats {
    let all = elements(dtype, bytes);
    let ints: Vec<i128> = all.iter().filter_map(|x| as_int(*x)).collect();
    let floats: Vec<f64> = all.iter().filter_map(|x| as_float(*x)).collect();
    let mut stats = Stats {
        count: all.len() as u64,
        nnz: all
            .iter()
            .filter(|&&x| x != Number::Int(0) && x != Number::Float(0.0))
            .count() as u64,
        nan: floats.iter().filter(|x| x.is_nan()).count() as u64,
        posinf: floats.iter().filter(|&&x| x == f64::INFINITY).count() as u64,
        neginf: floats.iter().filter(|&&x| x == f64::NEG_INFINITY).count() as u64,
        min: Number::Float(f64::NAN),
        max: Number::Float(f64::NAN),
        absmax: Number::Float(f64::NAN),
        mean: f64::NAN,
        stddev: f64::NAN,
        l2: f64::NAN,
    };
    if !ints.is_empty() {
        stats.min = Number::Int(*ints.iter().min().unwrap());
        stats.max = Number::Int(*ints.iter().max().unwrap());
        stats.absmax = Number::Int(ints.iter().map(|x| x.abs()).max().unwrap());
        let (n, sum) = (ints.len() as i128, ints.iter().sum::<i128>());
        stats.mean = sum as f64 / n as f64;
        // The differences times n are exact.
        let squares = exact_sum(ints.iter().flat_map(|x| square((n * x - sum) as f64)));
        stats.stddev = (squares / n as f64).sqrt() / n as f64;
        stats.l2 = exact_sum(ints.iter().flat_map(|x| square(*x as f64))).sqrt();
    }
    let finite: Vec<f64> = floats.into_iter().filter(|x| x.is_finite()).collect();
    if !finite.is_empty() {
        let n = finite.len() as f64;
        let fold = |f: fn(f64, f64) -> f64| finite.iter().copied().reduce(f).unwrap();
        let absmax = finite.iter().map(|x| x.abs()).reduce(f64::max).unwrap();
        stats.min = Number::Float(fold(f64::min));
        stats.max = Number::Float(fold(f64::max));
        stats.absmax = Number::Float(absmax);
        // By a power of two, so that the largest is from 1 to 2.
        let power = if absmax == 0.0 { 0 } else { -exponent(absmax) };
        let scaled: Vec<f64> = finite.iter().map(|&x| scale(x, power)).collect();
        let mean = exact_sum(scaled.iter().copied()) / n;
        let rest = exact_sum(scaled.iter().flat_map(|&x| difference(x, mean))) / n;
        let deviations = scaled.iter().map(|&x| {
            let [high, low] = difference(x, mean);
            high + (low - rest)
        });
        stats.mean = scale(mean + rest, -power);
        stats.stddev = scale((exact_sum(deviations.flat_map(square)) / n).sqrt(), -power);
        stats.l2 = scale(
            exact_sum(scaled.iter().flat_map(|&x| square(x))).sqrt(),
            -power,
        );
    }
    stats
}

fn as_int(x: Number) -> Option<i128> {
    if let Number::Int(x) = x {
        Some(x)
    } else {
        None
    }
}

pub(super) fn as_float(x: Number) -> Option<f64> {
    if let Number::Float(x) = x {
        Some(x)
    } else {
        None
    }
}

/// The power of two that `x` is between one and two times of.
fn exponent(x: f64) -> i32 {
    let mut power = (x.log2().floor() as i32).clamp(-1074, 1023);
    while scale(1.0, power) > x {
        power -= 1;
    }
    while power < 1023 && scale(1.0, power + 1) <= x {
        power += 1;
    }
    power
}

/// `x` times a power of two, in steps that neither overflow nor underflow early.
fn scale(x: f64, power: i32) -> f64 {
    let half = power / 2;
    x * 2f64.powi(half) * 2f64.powi(power - half)
}

/// The difference of two doubles as a sum of two.
fn difference(a: f64, b: f64) -> [f64; 2] {
    let high = a - b;
    let b_part = high - a;
    [high, (a - (high - b_part)) - (b + b_part)]
}

/// The square of a double as a sum of two.
fn square(x: f64) -> [f64; 2] {
    [x * x, x.mul_add(x, -(x * x))]
}

/// The sum, rounded once: Shewchuk's growing list of doubles that do not overlap.
pub(super) fn exact_sum(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut partials: Vec<f64> = Vec::new();
    for mut x in values {
        let mut kept = 0;
        for i in 0..partials.len() {
            let mut y = partials[i];
            if x.abs() < y.abs() {
                (x, y) = (y, x);
            }
            let high = x + y;
            let low = y - (high - x);
            if low != 0.0 {
                partials[kept] = low;
                kept += 1;
            }
            x = high;
        }
        partials.truncate(kept);
        partials.push(x);
    }
    partials.iter().sum()
}

/// A generator of bits that are different enough (xorshift64*).
pub(super) struct Bits(pub(super) u64);

impl Bits {
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(super) fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| (self.next() >> 56) as u8).collect()
    }

    /// From -1 to 1.
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }
}

/// The dtypes that any double can be rounded to.
pub(super) const FLOATS: [Dtype; 6] = [
    Dtype::F16,
    Dtype::Bf16,
    Dtype::F32,
    Dtype::F64,
    Dtype::C64,
    Dtype::C128,
];

/// The values in a dtype of [`FLOATS`]; pairs become complex numbers.
pub(super) fn encode(dtype: Dtype, values: &[f64]) -> Vec<u8> {
    let narrow = |x: f64| match dtype {
        Dtype::F16 => half::f16::from_f64(x).to_le_bytes().to_vec(),
        Dtype::Bf16 => half::bf16::from_f64(x).to_le_bytes().to_vec(),
        Dtype::F32 | Dtype::C64 => (x as f32).to_le_bytes().to_vec(),
        _ => x.to_le_bytes().to_vec(),
    };
    values.iter().flat_map(|&x| narrow(x)).collect()
}

/// A value for each position.
pub(super) type Sequence = Box<dyn Fn(usize, &mut Bits) -> f64>;

/// Sequences that sums go wrong with.
pub(super) fn sequences() -> Vec<(&'static str, Sequence)> {
    fn boxed(f: impl Fn(usize, &mut Bits) -> f64 + 'static) -> Sequence {
        Box::new(f)
    }
    let inf = f64::INFINITY;
    vec![
        ("weights", boxed(|_, r| 0.02 * r.unit())),
        ("around one", boxed(|_, r| 1.0 + 0.01 * r.unit())),
        ("positive", boxed(|_, r| r.unit().abs())),
        ("large and close", boxed(|_, r| 1e8 + 1e-3 * r.unit())),
        ("larger and closer", boxed(|_, r| -1e15 - r.unit())),
        ("constant", boxed(|_, _| 0.1)),
        ("steps", boxed(|i, _| (i / 5000) as f64)),
        (
            "cancelling",
            boxed(|i, _| if i % 2 == 0 { 12345.678 } else { -12345.678 }),
        ),
        ("zeros", boxed(|i, _| if i % 3 == 0 { -0.0 } else { 0.0 })),
        (
            "mostly zeros",
            boxed(|i, r| if i % 1000 == 7 { r.unit() } else { 0.0 }),
        ),
        ("subnormal halves", boxed(|_, r| 6e-5 * r.unit())),
        ("subnormal singles", boxed(|_, r| 1e-38 * r.unit())),
        ("subnormal doubles", boxed(|_, r| 1e-308 * r.unit())),
        ("tiny", boxed(|_, r| 1e-200 * (3.0 + r.unit()))),
        ("huge halves", boxed(|_, r| 65000.0 * r.unit())),
        ("huge singles", boxed(|_, r| 3e38 * r.unit())),
        ("huge doubles", boxed(|_, r| 1.2e308 * r.unit())),
        (
            "huge and close",
            boxed(|_, r| 1e300 * (1.0 + 1e-9 * r.unit())),
        ),
        (
            "huge, then not",
            boxed(|i, r| if i < 9000 { 1e250 * r.unit() } else { r.unit() }),
        ),
        (
            "tiny, then not",
            boxed(|i, r| {
                if i < 9000 {
                    1e-250 * r.unit()
                } else {
                    r.unit()
                }
            }),
        ),
        (
            "every size",
            boxed(|_, r| 10f64.powf(300.0 * r.unit()) * r.unit()),
        ),
        (
            "mask",
            boxed(move |i, _| if i % 4 < 2 { 0.0 } else { -inf }),
        ),
        (
            "one NaN",
            boxed(|i, r| if i == 600 { f64::NAN } else { 5.0 + r.unit() }),
        ),
        (
            "one infinity",
            boxed(move |i, r| if i == 6000 { inf } else { r.unit() }),
        ),
        ("all NaN", boxed(|_, _| f64::NAN)),
        (
            "all infinite",
            boxed(move |i, _| if i % 3 == 0 { inf } else { -inf }),
        ),
        (
            "huge among NaN",
            boxed(|i, r| {
                if i % 2 == 0 {
                    f64::NAN
                } else {
                    1e307 * r.unit()
                }
            }),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_without_error() {
        assert_eq!(exact_sum([1e100, 1.0, -1e100, 1e-30]), 1.0 + 1e-30);
        assert_eq!(exact_sum(std::iter::repeat_n(0.1, 10)), 1.0);
    }

    #[test]
    fn powers() {
        for x in [1.0, 1.5, 0.1, 5e-324, f64::MAX, f64::MIN_POSITIVE, 1e-310] {
            let scaled = scale(x, -exponent(x));
            assert!((1.0..2.0).contains(&scaled), "{x}");
            assert_eq!(scale(scaled, exponent(x)), x);
        }
    }
}
