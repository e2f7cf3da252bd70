//! Memory that others may touch: the only unsafe code of this crate.
//!
//! Invariants that the rest relies on:
//! 1. A [`Mapping`] is read-only and private; only this crate reads it, and never
//!    through a reference that outlives the `Arc` it came from.
//! 2. A [`PrivateMapping`] is copy-on-write: whatever is written to it stays in
//!    this process and never reaches the file. This crate never forms a reference
//!    to its bytes, since foreign code (NumPy, PyTorch) may write them at any time;
//!    it only hands out addresses.
//! 3. A file that is truncated by another process while it is mapped makes the
//!    operating system stop the process that touches the lost pages (SIGBUS). No
//!    library can turn that into an error; files are therefore replaced, never
//!    truncated, by this crate, and `Backend::Pread` is there for other cases.
//! 4. A [`Memory`] is anonymous and starts as zeros, so it is always initialised.

use memmap2::{Mmap, MmapMut, MmapOptions};
use std::fs::File;
use std::io;
use std::ops::{Deref, DerefMut, Range};

/// A whole file, read-only.
#[derive(Debug)]
pub(crate) struct Mapping(Mmap);

impl Mapping {
    pub fn new(file: &File) -> io::Result<Self> {
        // SAFETY: invariants 1 and 3. Other processes may change the file's bytes,
        // as they may for every reader of mapped files; all bytes are valid u8.
        unsafe { Mmap::map(file) }.map(Self)
    }

    /// Makes the pages of a part of the file present at once, which costs less than
    /// a fault for every few of them.
    pub fn populate(&self, part: &Range<usize>) {
        #[cfg(target_os = "linux")]
        let _ = self
            .0
            .advise_range(memmap2::Advice::PopulateRead, part.start, part.len());
        #[cfg(not(target_os = "linux"))]
        let _ = part;
    }

    /// Asks the system to have a part of the file ready. Touching pages one after
    /// the other would wait for the disk many times.
    pub fn will_need(&self, part: &Range<usize>) {
        #[cfg(unix)]
        let _ = self
            .0
            .advise_range(memmap2::Advice::WillNeed, part.start, part.len());
        #[cfg(not(unix))]
        let _ = part;
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// A whole file, copy-on-write: for views that callers may write to.
#[derive(Debug)]
pub struct PrivateMapping {
    map: MmapMut,
}

impl PrivateMapping {
    pub(crate) fn new(file: &File) -> io::Result<Self> {
        // SAFETY: invariants 2 and 3. No swap is reserved, since few pages, if
        // any, are ever written.
        let map = unsafe { MmapOptions::new().no_reserve_swap().map_copy(file) }?;
        Ok(Self { map })
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The address of a part of it, valid for reading and writing for as long as
    /// `self` lives; none when the part reaches outside.
    pub fn address(&self, part: &Range<usize>) -> Option<*mut u8> {
        let inside = part.start <= part.end && part.end <= self.len();
        // The pointer comes from a shared borrow of the map's own raw pointer;
        // no reference to the bytes is formed (invariant 2).
        inside.then(|| self.map.as_ptr().cast_mut().wrapping_add(part.start))
    }
}

/// Anonymous memory, page-aligned when large, zero at first.
#[derive(Debug)]
pub struct Memory(Kind);

#[derive(Debug)]
enum Kind {
    Heap(Box<[u128]>, usize),
    Pages(MmapMut),
}

impl Memory {
    /// From this size on, pages come straight from the operating system.
    const PAGES_FROM: usize = 1 << 20;

    /// Allocates `len` bytes of zeros.
    ///
    /// # Errors
    /// When the system has not that much.
    pub fn zeroed(len: usize) -> io::Result<Self> {
        if len >= Self::PAGES_FROM {
            let map = MmapOptions::new().len(len).map_anon()?;
            return Ok(Self(Kind::Pages(map)));
        }
        Ok(Self(Kind::Heap(
            vec![0u128; len.div_ceil(16)].into_boxed_slice(),
            len,
        )))
    }

    /// The address of its first byte, valid for as long as `self` lives.
    pub fn address(&self) -> *mut u8 {
        match &self.0 {
            Kind::Heap(words, _) => words.as_ptr().cast_mut().cast(),
            Kind::Pages(map) => map.as_ptr().cast_mut(),
        }
    }
}

impl Deref for Memory {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            // SAFETY: invariant 4; the box holds at least `len` bytes, and u8 has
            // no alignment or validity to break.
            Kind::Heap(words, len) => unsafe {
                std::slice::from_raw_parts(words.as_ptr().cast(), *len)
            },
            Kind::Pages(map) => map,
        }
    }
}

impl DerefMut for Memory {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.0 {
            // SAFETY: as above, and the borrow is exclusive.
            Kind::Heap(words, len) => unsafe {
                std::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), *len)
            },
            Kind::Pages(map) => map,
        }
    }
}
