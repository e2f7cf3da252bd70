//! Finding a tensor by name.

use alloc::vec::Vec;

/// Places sorted by the hash of their name, then by the name itself.
///
/// A sorted list instead of a hash table: whatever names a file chooses, building
/// it takes n log n steps, without a secret seed, which a browser would not have.
#[derive(Clone, Debug, Default)]
pub(super) struct NameIndex(Vec<(u64, u32)>);

impl NameIndex {
    /// Indexes `count` names. Returns the place of one that stands twice, if any.
    pub fn build<'a>(count: u32, name: impl Fn(u32) -> &'a str) -> Result<Self, u32> {
        let mut slots: Vec<_> = (0..count).map(|nth| (hash(name(nth)), nth)).collect();
        slots.sort_unstable_by(|a, b| {
            a.0.cmp(&b.0)
                .then_with(|| name(a.1).cmp(name(b.1)))
                .then(a.1.cmp(&b.1))
        });
        for (a, b) in slots.iter().zip(slots.iter().skip(1)) {
            if a.0 == b.0 && name(a.1) == name(b.1) {
                return Err(b.1);
            }
        }
        Ok(Self(slots))
    }

    /// The place of `wanted`.
    pub fn find<'a>(&self, wanted: &str, name: impl Fn(u32) -> &'a str) -> Option<usize> {
        let key = hash(wanted);
        let found = self
            .0
            .binary_search_by(|&(hash, nth)| hash.cmp(&key).then_with(|| name(nth).cmp(wanted)));
        self.0.get(found.ok()?).map(|&(_, nth)| nth as usize)
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
