//! Sorting, with a small one for places where code is downloaded.

use core::cmp::Ordering;

/// Sorts, not keeping the order of equal items.
///
/// The library's own sort takes two to four kilobytes for every type that is sorted,
/// most of the whole module in the browser; this one a tenth. Both take n log n steps
/// whatever the input.
pub(crate) fn sort_by<T>(items: &mut [T], compare: impl FnMut(&T, &T) -> Ordering) {
    if cfg!(target_family = "wasm") {
        heap_sort(items, compare);
    } else {
        items.sort_unstable_by(compare);
    }
}

/// The same in the items' own order.
pub(crate) fn sort<T: Ord>(items: &mut [T]) {
    sort_by(items, T::cmp);
}

fn heap_sort<T>(items: &mut [T], mut compare: impl FnMut(&T, &T) -> Ordering) {
    if items.is_sorted_by(|a, b| compare(a, b).is_le()) {
        return;
    }
    let count = items.len();
    // First every inner node, from the last one up, then the root for each that left.
    for step in (0..count / 2 + count).rev() {
        let (mut node, end) = if step >= count {
            (step - count, count)
        } else {
            items.swap(0, step);
            (0, step)
        };
        loop {
            let mut child = 2 * node + 1;
            if child >= end {
                break;
            }
            if child + 1 < end && compare(&items[child], &items[child + 1]).is_lt() {
                child += 1;
            }
            if compare(&items[node], &items[child]).is_ge() {
                break;
            }
            items.swap(node, child);
            node = child;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sorts(items in prop::collection::vec(0u8..50, 0..200)) {
            let mut sorted: Vec<u8> = items.clone();
            sorted.sort_unstable();
            let mut ours = items;
            heap_sort(&mut ours, u8::cmp);
            prop_assert_eq!(ours, sorted);
        }
    }
}
