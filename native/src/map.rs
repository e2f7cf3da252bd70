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

/// Asks the processor for bytes that will be read soon, without waiting for them.
#[cfg(target_arch = "x86_64")]
pub(crate) fn prefetch(bytes: &[u8]) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    for line in bytes.chunks(64) {
        // SAFETY: the address is a byte's within the slice, and asking changes nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
}

/// Makes the pages of new memory that is about to be filled present at once, which
/// costs a third less than a fault for each. Systems that cannot do nothing.
pub(crate) fn make_present(out: &mut [u8]) {
    #[cfg(target_os = "linux")]
    advise(out, libc::MADV_POPULATE_WRITE);
    #[cfg(not(target_os = "linux"))]
    let _ = out;
}

/// The same for mapped bytes that are about to be read.
pub(crate) fn make_readable(bytes: &[u8]) {
    #[cfg(target_os = "linux")]
    advise(bytes, libc::MADV_POPULATE_READ);
    #[cfg(not(target_os = "linux"))]
    let _ = bytes;
}

/// Gives advice about the pages that lie wholly within `bytes`, if they are many
/// enough to be worth a call.
#[cfg(target_os = "linux")]
fn advise(bytes: &[u8], advice: libc::c_int) {
    const PAGE: usize = 4096;
    const WORTH_IT: usize = 16 * PAGE;
    let skip = bytes.as_ptr().align_offset(PAGE);
    let whole = bytes.len().saturating_sub(skip) / PAGE * PAGE;
    if whole >= WORTH_IT {
        let first = bytes.as_ptr().wrapping_add(skip);
        // SAFETY: the pages lie within a slice that lives, and neither advice changes
        // a byte of them.
        unsafe { libc::madvise(first.cast_mut().cast(), whole, advice) };
    }
}

impl Mapping {
    pub fn new(file: &File) -> io::Result<Self> {
        // SAFETY: invariants 1 and 3. Other processes may change the file's bytes,
        // as they may for every reader of mapped files; all bytes are valid u8.
        unsafe { Mmap::map(file) }.map(Self)
    }

    /// Asks the system to have a part of the file ready.
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
