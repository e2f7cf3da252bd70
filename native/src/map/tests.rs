//! Every unsafe block at its edges. What needs no file runs under Miri too
//! (`tests/tools/miri.sh`), which checks each access against Rust's rules of memory.

use super::*;
use std::thread;

const KIB: usize = 1 << 10;
/// Lengths around what decides something: nothing, words, cache lines, pages, the length from
/// which the system is asked for pages.
const LENGTHS: [usize; 16] = [
    0,
    1,
    15,
    16,
    17,
    63,
    64,
    65,
    4 * KIB - 1,
    4 * KIB,
    4 * KIB + 1,
    64 * KIB,
    KIB * KIB - 1,
    KIB * KIB,
    KIB * KIB + 1,
    3 * KIB * KIB + 5,
];

/// Miri counts every access, so long loops take it minutes.
fn lengths() -> impl Iterator<Item = usize> {
    let most = if cfg!(miri) { 64 * KIB } else { usize::MAX };
    LENGTHS.into_iter().filter(move |&len| len <= most)
}

#[test]
fn memory_is_zero_aligned_and_its_owners_alone() {
    for len in lengths() {
        let mut memory = Memory::zeroed(len).unwrap();
        assert_eq!(memory.len(), len);
        assert_eq!(memory.as_ptr().align_offset(Memory::ALIGNMENT), 0);
        assert!(memory.iter().all(|&byte| byte == 0));
        let other = Memory::zeroed(len).unwrap();
        memory.fill(7);
        assert!(other.iter().all(|&byte| byte == 0));
        assert!(memory.iter().all(|&byte| byte == 7));
        if let [first, .., last] = &mut *memory {
            std::mem::swap(first, last);
        }
    }
}

#[test]
fn memory_that_was_given_back_comes_again_as_zeros() {
    for _ in 0..8 {
        let mut memory = Memory::zeroed(333).unwrap();
        assert!(memory.iter().all(|&byte| byte == 0));
        memory.fill(0xff);
    }
}

#[test]
fn more_than_there_can_be_is_an_error() {
    let most = isize::MAX as usize;
    for len in [usize::MAX, usize::MAX - 15, most + 1] {
        assert!(Memory::zeroed(len).is_err(), "{len}");
    }
    // The system says no to these; Miri would give up, and of 32 bits' half there may be enough.
    if cfg!(all(not(miri), target_pointer_width = "64")) {
        for len in [most, most - 4 * KIB] {
            assert!(Memory::zeroed(len).is_err(), "{len}");
        }
    }
}

#[test]
fn memory_moves_between_threads_and_is_read_by_many() {
    for len in lengths() {
        let mut memory = Memory::zeroed(len).unwrap();
        let memory = thread::spawn(move || {
            memory.fill(3);
            memory
        })
        .join()
        .unwrap();
        let read = || assert!(memory.iter().all(|&byte| byte == 3));
        thread::scope(|scope| {
            let threads = [(); 3].map(|()| scope.spawn(read));
            threads
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
        });
    }
}

/// What NumPy does: writes and reads through the address, while the owner is moved about.
#[test]
fn foreign_code_may_write_wherever_the_owner_is() {
    for len in lengths() {
        let mut memory = Memory::zeroed(len).unwrap();
        memory.fill(1);
        let foreign = memory.into_foreign();
        let address = foreign.address();
        assert_eq!((foreign.len(), foreign.is_empty()), (len, len == 0));
        let owners: Vec<_> = [Box::new(foreign)].into_iter().collect();
        for offset in [0, len / 2, len.saturating_sub(1)] {
            if offset < len {
                // SAFETY: inside, and `owners` holds the memory.
                unsafe { address.add(offset).write(9) };
                assert_eq!(owners[0].address(), address);
                // SAFETY: as above.
                assert_eq!(unsafe { owners[0].address().add(offset).read() }, 9);
            }
        }
        let write = || {
            if !owners[0].is_empty() {
                // SAFETY: inside, and nobody else uses it meanwhile.
                unsafe { owners[0].address().write(4) };
            }
        };
        thread::scope(|scope| scope.spawn(write).join().unwrap());
        if len > 1 {
            // SAFETY: as above; the first pointer is as good as the one asked for later.
            assert_eq!(unsafe { address.read() }, 4);
        }
    }
}

#[test]
fn pages_lie_within_the_slice_and_are_enough() {
    let memory = Memory::zeroed(200 * KIB).unwrap();
    let to_page = memory.as_ptr().align_offset(4 * KIB);
    for start in [0, 1, to_page, to_page + 1, to_page + 4095, 150 * KIB] {
        for len in [0, 1, 64 * KIB - 1, 64 * KIB, 70 * KIB, usize::MAX] {
            let slice = &memory[start..start.saturating_add(len).min(memory.len())];
            let pages = whole_pages(slice);
            if pages.is_empty() {
                assert!(slice.len() < 64 * KIB + 2 * 4096);
                continue;
            }
            assert_eq!(pages.as_ptr().align_offset(4 * KIB), 0);
            assert!(pages.len() >= 64 * KIB && pages.len().is_multiple_of(4 * KIB));
            let (outer, inner) = (slice.as_ptr_range(), pages.as_ptr_range());
            assert!(outer.start <= inner.start && inner.end <= outer.end);
            assert!(slice.len() - pages.len() < 2 * 4096);
        }
    }
    assert!(whole_pages(&[]).is_empty());
}

#[test]
fn asking_ahead_changes_nothing() {
    for len in lengths() {
        let mut memory = Memory::zeroed(len).unwrap();
        memory.fill(5);
        for start in [0, 1, 100] {
            if let Some(part) = memory.get_mut(start..) {
                make_present(part);
                make_readable(part);
                #[cfg(target_arch = "x86_64")]
                prefetch(part);
            }
        }
        assert!(memory.iter().all(|&byte| byte == 5));
    }
}

/// Maps of files, which Miri does not have.
#[cfg(not(miri))]
mod maps {
    use super::*;
    use crate::source::read_exact_at;
    use std::io::Write;

    fn file_of(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn bytes_of(file: &File, len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        read_exact_at(file, &mut out, 0).unwrap();
        out
    }

    #[test]
    fn a_mapping_shows_the_file() {
        for len in LENGTHS {
            let bytes: Vec<u8> = (0..len).map(|nth| (nth % 251) as u8).collect();
            let mapping = Mapping::new(&file_of(&bytes)).unwrap();
            assert_eq!(*mapping, *bytes);
            make_readable(&mapping);
            for part in [0..len, 0..0, len..len, len / 2..len, len..len + 1] {
                mapping.will_need(&part);
            }
            mapping.will_need(&(usize::MAX..usize::MAX));
            mapping.will_need(&Range { start: 1, end: 0 });
            assert_eq!(*mapping, *bytes);
        }
    }

    /// Elsewhere a folder cannot even be opened.
    #[cfg(unix)]
    #[test]
    fn a_file_that_cannot_be_mapped_is_an_error() {
        let folder = File::open(std::env::temp_dir()).unwrap();
        assert!(Mapping::new(&folder).is_err());
        assert!(PrivateMapping::new(&folder).is_err());
    }

    #[test]
    fn addresses_are_inside_or_none() {
        for len in [0, 1, 4 * KIB, 4 * KIB + 1] {
            let private = PrivateMapping::new(&file_of(&vec![8; len])).unwrap();
            assert_eq!((private.len(), private.is_empty()), (len, len == 0));
            let first = private.address(&(0..len)).unwrap();
            assert_eq!(private.address(&(len..len)), Some(first.wrapping_add(len)));
            for (start, end) in [
                (0, len + 1),
                (len + 1, len + 1),
                (1, 0),
                (0, usize::MAX),
                (usize::MAX, usize::MAX),
                (usize::MAX, 0),
            ] {
                assert_eq!(private.address(&Range { start, end }), None);
            }
            if len > 0 {
                let last = private.address(&(len - 1..len)).unwrap();
                // SAFETY: inside, and the mapping lives.
                assert_eq!(unsafe { last.read() }, 8);
            }
        }
    }

    #[test]
    fn what_is_written_to_a_private_mapping_is_seen_there_alone() {
        let len = 3 * 4 * KIB + 10;
        let file = file_of(&vec![1; len]);
        let shared = Mapping::new(&file).unwrap();
        let (one, two) = (
            PrivateMapping::new(&file).unwrap(),
            PrivateMapping::new(&file).unwrap(),
        );
        let address = one.address(&(0..len)).unwrap();
        let one = Box::new(one);
        // The edges of every page.
        for offset in [0, 4095, 4096, 8191, 8192, 12287, 12288, len - 1] {
            // SAFETY: inside, and the mapping lives.
            unsafe { address.add(offset).write(2) };
            let at = offset..offset + 1;
            // SAFETY: as above.
            let read = |map: &PrivateMapping| unsafe { map.address(&at).unwrap().read() };
            assert_eq!((read(&one), read(&two)), (2, 1));
        }
        assert!(shared.iter().all(|&byte| byte == 1));
        assert!(bytes_of(&file, len).iter().all(|&byte| byte == 1));
    }

    #[test]
    fn a_private_mapping_outlives_its_file() {
        let file = file_of(b"still here");
        let private = PrivateMapping::new(&file).unwrap();
        drop(file);
        let address = private.address(&(6..10)).unwrap();
        let written = thread::scope(|scope| {
            let private = &private;
            let writer = scope.spawn(move || {
                let address = private.address(&(6..7)).unwrap();
                // SAFETY: inside, and the other thread waits.
                unsafe { address.write(b'T') };
            });
            writer.join()
        });
        written.unwrap();
        // SAFETY: four bytes inside, and nobody writes them any more.
        let seen: [u8; 4] = unsafe { address.cast::<[u8; 4]>().read_unaligned() };
        assert_eq!(&seen, b"Tere");
    }
}
