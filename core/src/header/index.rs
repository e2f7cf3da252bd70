//! Finding a tensor by name.

use crate::order;
use alloc::vec::Vec;

/// Places sorted by the hash of their name, then by the name itself, with a table
/// of where each value of the hash's leading bits starts.
///
/// Not a hash table: whatever names a file chooses, building it takes n log n
/// steps, without a secret seed, which a browser would not have.
#[derive(Clone, Debug, Default)]
pub(super) struct NameIndex {
    slots: Vec<(u64, u32)>,
    /// One more than there are groups, so that each has an end.
    starts: Vec<u32>,
    shift: u32,
}

impl NameIndex {
    /// Indexes `count` names. Returns the place of one that stands twice, if any.
    pub fn build<'a>(count: u32, name: impl Fn(u32) -> &'a str) -> Result<Self, u32> {
        // About two names to a group.
        let bits = count.checked_ilog2().unwrap_or(0).saturating_sub(1).max(1);
        let mut index = Self {
            slots: alloc::vec![(0, 0); count as usize],
            starts: alloc::vec![0; (1 << bits) + 1],
            shift: u64::BITS - bits,
        };
        let hashes: Vec<u64> = (0..count).map(|nth| hash(name(nth))).collect();
        // A counting sort by the leading bits, then each group by itself.
        for &hash in &hashes {
            let group = index.group(hash);
            if let Some(count) = index.starts.get_mut(group + 1) {
                *count += 1;
            }
        }
        let mut sum = 0;
        for start in &mut index.starts {
            sum += *start;
            *start = sum;
        }
        let mut next = index.starts.clone();
        for (&hash, nth) in hashes.iter().zip(0..) {
            if let Some(at) = next.get_mut(index.group(hash)) {
                if let Some(slot) = index.slots.get_mut(*at as usize) {
                    *slot = (hash, nth);
                }
                *at += 1;
            }
        }
        for (&start, &end) in index.starts.iter().zip(index.starts.iter().skip(1)) {
            let Some(group) = index.slots.get_mut(start as usize..end as usize) else {
                continue;
            };
            order::sort_by(group, |a, b| {
                a.0.cmp(&b.0)
                    .then_with(|| name(a.1).cmp(name(b.1)))
                    .then(a.1.cmp(&b.1))
            });
            for (a, b) in group.iter().zip(group.iter().skip(1)) {
                if a.0 == b.0 && name(a.1) == name(b.1) {
                    return Err(b.1);
                }
            }
        }
        Ok(index)
    }

    /// The place of `wanted`.
    pub fn find<'a>(&self, wanted: &str, name: impl Fn(u32) -> &'a str) -> Option<usize> {
        let key = hash(wanted);
        let start = *self.starts.get(self.group(key))? as usize;
        let end = *self.starts.get(self.group(key) + 1)? as usize;
        let group = self.slots.get(start..end)?;
        let found = group
            .binary_search_by(|&(hash, nth)| hash.cmp(&key).then_with(|| name(nth).cmp(wanted)));
        group.get(found.ok()?).map(|&(_, nth)| nth as usize)
    }

    fn group(&self, hash: u64) -> usize {
        // At most 31 bits are left.
        hash.checked_shr(self.shift).unwrap_or(0) as usize
    }
}

/// Multiply and fold, eight bytes at a time: quick, and good enough where a
/// collision costs one comparison.
fn hash(name: &str) -> u64 {
    const K: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut state = name.len() as u64 ^ K;
    let mut fold = |word: u64| {
        let product = u128::from(state ^ word) * u128::from(K | 1);
        state = (product as u64) ^ (product >> 64) as u64;
    };
    let (words, tail) = name.as_bytes().as_chunks::<8>();
    words
        .iter()
        .for_each(|word| fold(u64::from_le_bytes(*word)));
    let mut last = [0; 8];
    last.iter_mut().zip(tail).for_each(|(to, from)| *to = *from);
    fold(u64::from_le_bytes(last));
    state
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::String;

    /// Names with the same hash: a second word that equals the state after the
    /// first makes the state zero, and it stays so.
    fn colliding() -> Vec<String> {
        let names = (0..40_000).filter_map(|n| {
            let first = format!("{n:08}");
            let word = u64::from_le_bytes(*first.as_bytes().first_chunk()?);
            let state = 16 ^ 0x9e37_79b9_7f4a_7c15;
            let product = u128::from(state ^ word) * 0x9e37_79b9_7f4a_7c15;
            let second = (product as u64) ^ (product >> 64) as u64;
            let second = String::from_utf8(second.to_le_bytes().into()).ok()?;
            Some(first + &second)
        });
        names.collect()
    }

    #[test]
    fn collisions_are_told_apart() {
        let names = colliding();
        assert!(names.len() > 20 && names.iter().all(|name| hash(name) == 0));
        let name = |nth: u32| names[nth as usize].as_str();
        let count = names.len() as u32;
        let index = NameIndex::build(count, name).unwrap();
        for (nth, wanted) in names.iter().enumerate() {
            assert_eq!(index.find(wanted, name), Some(nth));
        }
        let but_last = NameIndex::build(count - 1, name).unwrap();
        assert_eq!(but_last.find(name(count - 1), name), None);
    }

    #[test]
    fn the_later_of_two_equal_names_is_found() {
        let mut names = colliding();
        names.insert(7, names[3].clone());
        let name = |nth: u32| names[nth as usize].as_str();
        assert_eq!(NameIndex::build(names.len() as u32, name).unwrap_err(), 7);
    }
}
