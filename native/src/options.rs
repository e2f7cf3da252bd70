//! How a file is opened, and how long work reports back.

use crate::error::Result;
use deathtensors_core::Limits;
use deathtensors_core::digest::Digest;

/// How bytes are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backend {
    /// A memory map. See `docs/benchmarks.md` for why.
    #[default]
    Auto,
    /// A memory map: nothing is copied, pages are read when they are touched.
    Mmap,
    /// Positioned reads: for network file systems, where a map can fail in the
    /// middle of a computation, and for systems that lock mapped files.
    Pread,
}

/// Options for [`crate::TensorFile::open_with`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct OpenOptions {
    /// Caps on what the file may ask for.
    pub limits: Limits,
    /// How bytes are read.
    pub backend: Backend,
    /// Refuse the file unless its root digest is this one, then check each tensor
    /// against its digest when it is first read.
    pub root: Option<Digest>,
}

/// Hears about long work, on the thread that called for it.
pub trait Progress {
    /// The work is `total` bytes long.
    fn start(&mut self, total: u64) {
        let _ = total;
    }

    /// Another `bytes` are done.
    ///
    /// # Errors
    /// What it returns cancels the work, and is returned from it.
    fn advance(&mut self, bytes: u64) -> Result<()>;
}

impl Progress for () {
    fn advance(&mut self, _: u64) -> Result<()> {
        Ok(())
    }
}
