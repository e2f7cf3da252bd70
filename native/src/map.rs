//! Memory that others may touch: the only unsafe code of this crate.
//!
//! # Invariants
//!
//! 1. A [`Mapping`] is mapped read-only and lives until it is dropped. This process never
//!    writes to a file that it has mapped: files are replaced by renaming, and what callers
//!    write goes to a [`PrivateMapping`]. All bytes of it are valid `u8`.
//! 2. To a [`PrivateMapping`] and to [`ForeignMemory`], foreign code (NumPy, PyTorch) may write
//!    at any time. Neither ever becomes a reference in Rust, not even an empty one or one that
//!    only asks for a length, and the pointers that are handed out were not made from
//!    references, so that writing through them is allowed. What is written to a
//!    `PrivateMapping` stays in this process.
//! 3. A [`Memory`] is its owner's alone, starts as zeros, and never has more than
//!    `isize::MAX` bytes. Moving it moves no bytes. It becomes [`ForeignMemory`] by value, so
//!    nobody has both.
//!
//! # Why each unsafe block holds
//!
//! | where | relies on |
//! |---|---|
//! | `prefetch` | asking is allowed for any address |
//! | `advise` | the pages all hold bytes of a slice that is borrowed meanwhile; the advice changes none |
//! | `Mapping::new` | 1, and what is said below about other processes |
//! | `PrivateMapping::new` | 2: its bytes are never borrowed |
//! | `Memory::zeroed`, `drop` | the same layout for both, never of no bytes |
//! | `Send`, `Sync` for `Memory` | 3: it owns what it points to, and shares it only by `&self` |
//! | `Deref`, `DerefMut` for `Memory` | 3: the bytes are there and initialised, and borrowed as `self` is |
//!
//! # What other processes can do
//!
//! Rust asks that nobody changes what a [`Mapping`] shows. No library can make other processes
//! keep to that. This crate leaves little to break: what decides anything (headers, seek
//! tables, footers, frames of up to 4 MiB) is copied out of the file by a positioned read
//! first, and then judged. From the map itself only numbers are copied, hashed, compared and
//! measured, and longer frames, which this crate does not write, decoded by zstd.
//! A file that is cut while it is mapped makes the system stop the process that touches the
//! lost pages (SIGBUS). `Backend::Pread` is there for whoever minds either.

use memmap2::{Mmap, MmapOptions, MmapRaw};
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::fs::File;
use std::io;
use std::ops::{Deref, DerefMut, Range};
use std::ptr::{NonNull, without_provenance_mut};

#[cfg(test)]
mod tests;

/// Asks the processor for bytes that will be read soon, without waiting for them.
#[cfg(target_arch = "x86_64")]
pub(crate) fn prefetch(bytes: &[u8]) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    for line in bytes.chunks(64) {
        // SAFETY: the instruction never faults and changes no byte, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
}

/// Makes the pages of new memory that is about to be filled present at once, which
/// costs a third less than a fault for each. Systems that cannot do nothing.
pub(crate) fn make_present(out: &mut [u8]) {
    #[cfg(all(target_os = "linux", not(miri)))]
    advise(out, libc::MADV_POPULATE_WRITE);
    #[cfg(not(all(target_os = "linux", not(miri))))]
    let _ = out;
}

/// The same for mapped bytes that are about to be read.
pub(crate) fn make_readable(bytes: &[u8]) {
    #[cfg(all(target_os = "linux", not(miri)))]
    advise(bytes, libc::MADV_POPULATE_READ);
    #[cfg(not(all(target_os = "linux", not(miri))))]
    let _ = bytes;
}

/// Gives advice about the pages that lie wholly within `bytes`, if they are many
/// enough to be worth a call.
#[cfg(all(target_os = "linux", not(miri)))]
fn advise(bytes: &[u8], advice: libc::c_int) {
    let pages = whole_pages(bytes);
    if !pages.is_empty() {
        let address = pages.as_ptr().cast_mut().cast();
        // SAFETY: the slice is borrowed until the call returns, and neither advice changes a
        // byte. Where the system's pages are larger it refuses what is not aligned to them,
        // and rounds the length up to the end of a page that holds the slice's last byte.
        unsafe { libc::madvise(address, pages.len(), advice) };
    }
}

/// The pages that lie wholly within `bytes`; none if a call for them costs more than it saves.
#[cfg(any(test, all(target_os = "linux", not(miri))))]
fn whole_pages(bytes: &[u8]) -> &[u8] {
    const PAGE: usize = 4096;
    const WORTH_IT: usize = 16 * PAGE;
    let skip = bytes.as_ptr().align_offset(PAGE);
    let rest = bytes.get(skip..).unwrap_or_default();
    let whole = rest.len() / PAGE * PAGE;
    rest.get(..whole)
        .filter(|pages| pages.len() >= WORTH_IT)
        .unwrap_or_default()
}

/// A whole file, read-only.
#[derive(Debug)]
pub(crate) struct Mapping(Mmap);

impl Mapping {
    pub fn new(file: &File) -> io::Result<Self> {
        // SAFETY: invariant 1; other processes are spoken of above.
        unsafe { Mmap::map(file) }.map(Self)
    }

    /// Asks the system to have a part of the file ready.
    pub fn will_need(&self, part: &Range<usize>) {
        #[cfg(unix)]
        if let Some(bytes) = self.get(part.clone()) {
            let advice = memmap2::Advice::WillNeed;
            let _ = self.0.advise_range(advice, part.start, bytes.len());
        }
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
pub struct PrivateMapping(MmapRaw);

impl PrivateMapping {
    pub(crate) fn new(file: &File) -> io::Result<Self> {
        // SAFETY: no reference to the bytes is ever formed (invariant 2), so nothing is
        // promised about who changes them. No swap is reserved, since few pages, if any, are
        // ever written.
        let map = unsafe { MmapOptions::new().no_reserve_swap().map_copy(file) }?;
        Ok(Self(map.into()))
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The address of a part of it, valid for reading and writing for as long as
    /// `self` lives; none when the part reaches outside.
    pub fn address(&self, part: &Range<usize>) -> Option<*mut u8> {
        let inside = part.start <= part.end && part.end <= self.len();
        inside.then(|| self.0.as_mut_ptr().wrapping_add(part.start))
    }
}

/// Memory of one's own: zero at first, aligned for every number, and to pages when large.
#[derive(Debug)]
pub struct Memory {
    address: NonNull<u8>,
    len: usize,
    /// What `address` points into, unless it came from the allocator.
    pages: Option<MmapRaw>,
}

// SAFETY: as for a `Box<[u8]>`: it owns the bytes, and nothing about them is bound to a thread
// (invariant 3).
unsafe impl Send for Memory {}
// SAFETY: as above: `&Memory` gives `&[u8]`, and no more.
unsafe impl Sync for Memory {}

impl Memory {
    /// From this size on, pages come straight from the operating system.
    const PAGES_FROM: usize = 1 << 20;
    /// Wide enough for complex numbers of two doubles.
    const ALIGNMENT: usize = 16;

    /// Allocates `len` bytes of zeros.
    ///
    /// # Errors
    /// When the system has not that much.
    pub fn zeroed(len: usize) -> io::Result<Self> {
        if len >= Self::PAGES_FROM {
            let pages: MmapRaw = MmapOptions::new().len(len).map_anon()?.into();
            let address = NonNull::new(pages.as_mut_ptr()).ok_or(io::ErrorKind::OutOfMemory)?;
            return Ok(Self {
                address,
                len,
                pages: Some(pages),
            });
        }
        let layout = Self::layout(len)?;
        let address = match len {
            0 => NonNull::new(without_provenance_mut(Self::ALIGNMENT)),
            // SAFETY: the layout is of at least one byte.
            _ => NonNull::new(unsafe { alloc_zeroed(layout) }),
        };
        Ok(Self {
            address: address.ok_or(io::ErrorKind::OutOfMemory)?,
            len,
            pages: None,
        })
    }

    fn layout(len: usize) -> io::Result<Layout> {
        Layout::from_size_align(len, Self::ALIGNMENT).map_err(io::Error::other)
    }

    /// Leaves it to foreign code.
    pub fn into_foreign(self) -> ForeignMemory {
        ForeignMemory(self)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.pages.is_some() || self.len == 0 {
            return;
        }
        if let Ok(layout) = Self::layout(self.len) {
            // SAFETY: `zeroed` got it from the allocator, for the same length and so with the
            // same layout, and nobody else gives it back.
            unsafe { dealloc(self.address.as_ptr(), layout) };
        }
    }
}

impl Deref for Memory {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: invariant 3: `len` bytes are there, set to zero or written since; `&self`
        // keeps others from writing. The address is not null, and u8 needs no alignment.
        unsafe { std::slice::from_raw_parts(self.address.as_ptr(), self.len) }
    }
}

impl DerefMut for Memory {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.address.as_ptr(), self.len) }
    }
}

/// Memory that foreign code may read and write from now on. Nothing here looks into it again.
#[derive(Debug)]
pub struct ForeignMemory(Memory);

impl ForeignMemory {
    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The address of its first byte, valid for reading and writing for as long as `self`
    /// lives, wherever it is moved.
    pub fn address(&self) -> *mut u8 {
        self.0.address.as_ptr()
    }
}
