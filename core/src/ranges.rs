//! From what is wanted to what is fetched, for readers to whom a request is dear.

use crate::order;
use alloc::vec::Vec;
use core::ops::Range;

/// Few fetches that together hold all `ranges`, sorted and never overlapping. Empty
/// ranges need none.
///
/// A hole of up to `gap` bytes is fetched too rather than asked around, as long as
/// the fetch does not grow beyond `longest` bytes. Each range lies within exactly one
/// fetch, so that one which is longer itself stays whole, and ranges that overlap
/// stay together.
///
/// ```
/// # use deathtensors_core::ranges::coalesce;
/// assert_eq!(coalesce(&[50..60, 0..10, 12..20, 5..11], 4, 100), [0..20, 50..60]);
/// assert_eq!(coalesce(&[0..10, 12..20], 4, 15), [0..10, 12..20]);
/// ```
pub fn coalesce(ranges: &[Range<u64>], gap: u64, longest: u64) -> Vec<Range<u64>> {
    let wanted = ranges.iter().filter(|range| range.start < range.end);
    let mut sorted: Vec<_> = wanted.cloned().collect();
    order::sort_by(&mut sorted, |a, b| (a.start, a.end).cmp(&(b.start, b.end)));
    let mut fetches: Vec<Range<u64>> = Vec::new();
    for range in sorted {
        if let Some(last) = fetches.last_mut() {
            let hole = range.start.saturating_sub(last.end);
            let bridged = hole <= gap && range.end - last.start <= longest;
            if range.start < last.end || bridged {
                last.end = last.end.max(range.end);
                continue;
            }
        }
        fetches.push(range);
    }
    fetches
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ends_of_the_number_line() {
        let end = u64::MAX;
        assert_eq!(coalesce(&[], 1, 1), []);
        assert_eq!(
            coalesce(&[end - 1..end, 0..1], end, end),
            alloc::vec![0..end; 1]
        );
        assert_eq!(coalesce(&[7..7, end..end], end, end), []);
        assert_eq!(coalesce(&[0..9, 8..20], 0, 10), alloc::vec![0..20; 1]);
        assert_eq!(coalesce(&[0..9, 9..20], 0, 10), [0..9, 9..20]);
    }

    proptest! {
        #[test]
        fn each_range_is_in_one_fetch(
            ranges in prop::collection::vec((0u64..500, 0u64..40), 0..40),
            gap in 0u64..50,
            longest in 1u64..200,
        ) {
            let ranges: Vec<_> = ranges.iter().map(|&(at, n)| at..at + n).collect();
            let fetches = coalesce(&ranges, gap, longest);
            for pair in fetches.windows(2) {
                prop_assert!(pair[0].end <= pair[1].start);
            }
            for range in ranges.iter().filter(|range| !range.is_empty()) {
                let holds = |f: &&Range<u64>| f.start <= range.start && range.end <= f.end;
                prop_assert_eq!(fetches.iter().filter(holds).count(), 1);
            }
            // Nothing is fetched but what is wanted and holes of up to `gap` bytes.
            for fetch in &fetches {
                let mut stray = 0;
                for byte in fetch.clone() {
                    stray = if ranges.iter().any(|r| r.contains(&byte)) { 0 } else { stray + 1 };
                    prop_assert!(stray <= gap);
                }
            }
            let all = coalesce(&ranges, u64::MAX, u64::MAX);
            prop_assert!(all.len() <= 1);
        }
    }
}
