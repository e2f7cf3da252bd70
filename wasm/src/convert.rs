//! Numbers between JavaScript, which has one kind, and Rust.

use crate::failure::{Failure, Result};
use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

/// Up to here every integer is a JavaScript number of its own.
pub(crate) const MOST: u64 = 1 << 53;

/// A count or an offset.
pub(crate) fn whole(number: f64, what: &str) -> Result<u64> {
    if (0.0..=MOST as f64).contains(&number) && number as u64 as f64 == number {
        return Ok(number as u64);
    }
    // No digits of the number: formatting floats would weigh more than this module.
    Err(
        Failure::new("usage.range", format!("{what} is out of range"))
            .but("a whole number from 0 to 2^53", "another number"),
    )
}

/// A place in a list.
pub(crate) fn place(number: f64, what: &str) -> Result<usize> {
    let number = whole(number, what)?;
    usize::try_from(number).map_err(|_| {
        Failure::new("usage.range", format!("{what} is out of range"))
            .but("less than 2^32", number.to_string())
    })
}

pub(crate) fn wholes(numbers: &[f64], what: &str) -> Result<Vec<u64>> {
    numbers.iter().map(|&number| whole(number, what)).collect()
}

/// A pair of numbers as JavaScript gets it.
pub(crate) fn pair(range: &Range<u64>) -> Vec<f64> {
    vec![range.start as f64, range.end as f64]
}

/// Starts and ends, one after the other.
pub(crate) fn flat(ranges: &[Range<u64>]) -> Vec<f64> {
    ranges
        .iter()
        .flat_map(|range| [range.start as f64, range.end as f64])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_numbers() {
        for odd in [
            -1.0,
            0.5,
            f64::NAN,
            f64::INFINITY,
            MOST as f64 * 2.0,
            -f64::MIN_POSITIVE,
        ] {
            assert!(whole(odd, "it").is_err(), "{odd}");
        }
        for (number, expected) in [(0.0, 0), (-0.0, 0), (7.0, 7), (MOST as f64, MOST)] {
            assert!(whole(number, "it").is_ok_and(|n| n == expected));
        }
    }
}
