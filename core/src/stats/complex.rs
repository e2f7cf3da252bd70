//! Magnitudes of complex elements.

use super::exact::power_of_two;

/// The magnitude of two binary32: infinite if a part is, even beside a NaN, as
/// C's `cabs` has it; else NaN if a part is.
#[inline(always)]
pub(super) fn c64_magnitude(raw: [u8; 8]) -> f64 {
    let [a, b, c, d, e, f, g, h] = raw;
    let re = f64::from(f32::from_le_bytes([a, b, c, d])).abs();
    let im = f64::from(f32::from_le_bytes([e, f, g, h])).abs();
    // These squares are exact, and far from the ends of the range.
    let magnitude = root(re * re + im * im);
    if re == f64::INFINITY || im == f64::INFINITY {
        f64::INFINITY
    } else {
        magnitude
    }
}

/// The magnitude of two binary64, by the same rules. One that is too large for
/// a binary64 is infinite.
#[inline(always)]
pub(super) fn c128_magnitude(raw: [u8; 16]) -> f64 {
    let bits = u128::from_le_bytes(raw);
    let re = f64::from_bits(bits as u64).abs();
    let im = f64::from_bits((bits >> 64) as u64).abs();
    let larger = if re > im { re } else { im };
    // Keep the squares away from the ends of the range.
    let (down, up) = if larger > power_of_two(470) {
        (power_of_two(-600), power_of_two(600))
    } else if larger < power_of_two(-450) {
        (power_of_two(600), power_of_two(-600))
    } else {
        (1.0, 1.0)
    };
    let (x, y) = (re * down, im * down);
    let magnitude = root(x * x + y * y) * up;
    if re == f64::INFINITY || im == f64::INFINITY {
        f64::INFINITY
    } else {
        magnitude
    }
}

/// The square root of zero or of a number from 2^-1000 to 2^1000, to within a
/// unit in the last place, exact where the root is; NaN of NaN.
///
/// `core` has no square root. This one has no branches, so that it becomes
/// vector code: a guess from the bits (error 3.5 %), three steps of Newton's
/// method for the reciprocal root (3e-11), and one for the root itself.
#[inline(always)]
pub(super) fn root(x: f64) -> f64 {
    let mut y = f64::from_bits(0x5fe6_eb50_c7b5_37a9u64.wrapping_sub(x.to_bits() >> 1));
    for _ in 0..3 {
        y *= 1.5 - 0.5 * x * y * y;
    }
    let root = x * y;
    root + 0.5 * y * (x - root * root)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    extern crate std;

    fn c64(re: f32, im: f32) -> f64 {
        let mut raw = [0; 8];
        raw[..4].copy_from_slice(&re.to_le_bytes());
        raw[4..].copy_from_slice(&im.to_le_bytes());
        c64_magnitude(raw)
    }

    fn c128(re: f64, im: f64) -> f64 {
        let mut raw = [0; 16];
        raw[..8].copy_from_slice(&re.to_le_bytes());
        raw[8..].copy_from_slice(&im.to_le_bytes());
        c128_magnitude(raw)
    }

    #[test]
    fn known_magnitudes() {
        assert_eq!(c64(3.0, -4.0), 5.0);
        assert_eq!(c64(0.0, -0.0), 0.0);
        assert_eq!(c64(f32::from_bits(1), 0.0), f64::from(f32::from_bits(1)));
        assert_eq!(c128(-5e-324, 0.0), 5e-324);
        assert_eq!(c128(3e300, 4e300), 5e300);
        assert_eq!(c128(0.0, f64::MAX), f64::MAX);
        assert_eq!(c128(f64::MAX, f64::MAX), f64::INFINITY);
        assert_eq!(c128(1e-200, 1e300), 1e300);
    }

    #[test]
    fn infinite_wins_over_nan() {
        for (re, im) in [(f64::INFINITY, f64::NAN), (f64::NAN, f64::NEG_INFINITY)] {
            assert_eq!(c128(re, im), f64::INFINITY);
            assert_eq!(c64(re as f32, im as f32), f64::INFINITY);
        }
        for (re, im) in [(1.0, f64::NAN), (f64::NAN, 0.0), (f64::NAN, f64::NAN)] {
            assert!(c128(re, im).is_nan());
            assert!(c64(re as f32, im as f32).is_nan());
        }
    }

    proptest! {
        #[test]
        fn close_to_the_root(x in 1e-300f64..1e300) {
            let exact = x.sqrt();
            prop_assert!((root(x) - exact).abs() <= exact * f64::EPSILON);
        }

        #[test]
        fn roots_of_squares_are_exact(x in 0u32..) {
            let x = f64::from(x >> 6);
            prop_assert_eq!(root(x * x), x);
        }

        #[test]
        fn as_hypot(re in any::<f64>(), im in any::<f64>(), k in -500..500) {
            for im in [im, re * 2f64.powi(k % 60), 0.0] {
                let exact = re.hypot(im);
                let ours = c128(re, im);
                if exact.is_finite() && ours.is_finite() {
                    prop_assert!((ours - exact).abs() <= exact * 4e-16 + 5e-324);
                } else if exact.is_nan() {
                    prop_assert!(ours.is_nan());
                } else {
                    // At the very end, rounding may differ.
                    prop_assert!(ours.max(exact) == f64::INFINITY);
                    prop_assert!(ours.min(exact) >= f64::MAX * 0.999_999);
                }
            }
        }
    }
}
