//! Where a file's bytes come from: a map, positioned reads, or somebody who brings them.

use crate::error::{Error, Result};
use crate::file::STEP_BYTES;
use crate::map::{Mapping, Memory, make_readable};
use crate::options::Backend;
use crate::remote::{self, BATCH_BYTES, Fetched, HEAD_BYTES, RangeSource};
use deathtensors_core::Code;
use deathtensors_core::digest::Sha256;
use std::fs::File;
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An open file's bytes. Offsets are file offsets; ends are exclusive.
#[derive(Debug)]
pub(crate) struct Source {
    pub path: PathBuf,
    pub len: u64,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Here { file: File, map: Option<Mapping> },
    Elsewhere(Arc<dyn RangeSource>),
}

/// Bytes of a file: borrowed from its map where that is possible, else owned.
#[derive(Debug)]
pub enum Data<'a> {
    /// A view of the map.
    Borrowed(&'a [u8]),
    /// A copy, or what was decompressed.
    Owned(Memory),
}

impl Deref for Data<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(memory) => memory,
        }
    }
}

impl Source {
    pub fn open(path: &Path, backend: Backend) -> Result<Self> {
        let doing = |e| Error::io("open", path, e);
        // Looked at before it is opened, which would wait for a writer of a pipe.
        let facts = std::fs::metadata(path).map_err(doing)?;
        if !facts.is_file() {
            let what = if facts.is_dir() {
                "it is a folder"
            } else {
                "it is not a regular file"
            };
            return Err(Error::new(
                Code::Io,
                format!("cannot open '{}': {what}", path.display()),
            )
            .at(path));
        }
        let file = File::open(path).map_err(doing)?;
        let len = file.metadata().map_err(doing)?.len();
        let map = match backend {
            Backend::Mmap if len > 0 => {
                Some(Mapping::new(&file).map_err(|e| Error::io("map", path, e))?)
            }
            // Where there is no room for a map, there is for reading.
            Backend::Auto if len > 0 => Mapping::new(&file).ok(),
            _ => None,
        };
        Ok(Self {
            path: path.into(),
            len,
            place: Place::Here { file, map },
        })
    }

    /// A file that `ranges` brings; `name` stands for its path in errors.
    pub fn elsewhere(name: &Path, ranges: Arc<dyn RangeSource>) -> Self {
        Self {
            path: name.into(),
            len: ranges.len(),
            place: Place::Elsewhere(ranges),
        }
    }

    /// Who brings the bytes, where somebody does.
    pub fn ranges(&self) -> Option<&Arc<dyn RangeSource>> {
        match &self.place {
            Place::Here { .. } => None,
            Place::Elsewhere(ranges) => Some(ranges),
        }
    }

    /// Whether bytes are dear, and asked for in few large requests on the calling thread.
    pub fn is_elsewhere(&self) -> bool {
        matches!(self.place, Place::Elsewhere(_))
    }

    /// How much to read before anything is known about the file.
    pub fn head_bytes(&self) -> u64 {
        // Most headers of local files are no longer, and more costs little.
        const HERE: u64 = 16 << 10;
        match self.place {
            Place::Here { .. } => HERE.min(self.len),
            Place::Elsewhere(_) => HEAD_BYTES.min(self.len),
        }
    }

    /// How much of a long range to read at once.
    pub fn step_bytes(&self) -> u64 {
        match self.place {
            Place::Here { .. } => STEP_BYTES,
            Place::Elsewhere(_) => BATCH_BYTES,
        }
    }

    /// The open file.
    ///
    /// # Errors
    /// `usage.unavailable` where there is none.
    pub fn file(&self) -> Result<&File> {
        match &self.place {
            Place::Here { file, .. } => Ok(file),
            Place::Elsewhere(_) => {
                Err(Error::new(Code::UsageUnavailable, "this needs a local file").at(&self.path))
            }
        }
    }

    fn map(&self) -> Option<&Mapping> {
        match &self.place {
            Place::Here { map, .. } => map.as_ref(),
            Place::Elsewhere(_) => None,
        }
    }

    /// Where bytes are dear, all of these ranges at once; elsewhere nothing.
    pub fn fetch(&self, wanted: &[Range<u64>]) -> Result<Option<Fetched>> {
        match &self.place {
            Place::Here { .. } => Ok(None),
            Place::Elsewhere(ranges) => Fetched::new(&**ranges, &self.path, wanted).map(Some),
        }
    }

    /// The bytes without a copy, where there is a map.
    pub fn borrow(&self, range: &Range<u64>) -> Option<&[u8]> {
        let start = usize::try_from(range.start).ok()?;
        let end = usize::try_from(range.end).ok()?;
        self.map()?.get(start..end)
    }

    /// Has the system fetch a range of a map before somebody touches it, if it is
    /// short: the first touch would have it read megabytes around it.
    pub fn will_need(&self, range: &Range<u64>) {
        const SHORT: u64 = 1 << 20;
        if let (Some(map), Some(bytes)) = (self.map(), self.borrow(range))
            && bytes.len() as u64 <= SHORT
        {
            let start = range.start as usize;
            map.will_need(&(start..start + bytes.len()));
        }
    }

    /// Makes the pages of a range present, where there is a map.
    pub fn populate(&self, range: &Range<u64>) {
        if let Some(bytes) = self.borrow(range) {
            make_readable(bytes);
        }
    }

    /// The bytes, borrowed if that is possible.
    pub fn read(&self, range: &Range<u64>) -> Result<Data<'_>> {
        if let Some(bytes) = self.borrow(range) {
            return Ok(Data::Borrowed(bytes));
        }
        let mut out = memory(range.end.saturating_sub(range.start))?;
        self.read_into(range.start, &mut out)?;
        Ok(Data::Owned(out))
    }

    /// Fills `out` from that offset on.
    pub fn read_into(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        if let Some(bytes) = self.borrow(&(offset..offset.saturating_add(out.len() as u64))) {
            out.copy_from_slice(bytes);
            return Ok(());
        }
        self.copy_into(offset, out)
    }

    /// The same by a positioned read, also where there is a map. Little that may not
    /// be in the page cache is read faster so: a fault makes the system read megabytes
    /// around it.
    pub fn copy_into(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        match &self.place {
            Place::Here { file, .. } => {
                read_exact_at(file, out, offset).map_err(|e| Error::io("read", &self.path, e))
            }
            Place::Elsewhere(ranges) => remote::read_into(&**ranges, &self.path, offset, out),
        }
    }
}

/// Memory for that many bytes, or an error instead of an abort.
pub(crate) fn memory(len: u64) -> Result<Memory> {
    let length = usize::try_from(len).map_err(|e| no_memory(len, e))?;
    Memory::zeroed(length).map_err(|e| no_memory(len, e))
}

/// Makes a buffer that many bytes long, all of them zero; an error instead of an abort.
pub(crate) fn refill(out: &mut Vec<u8>, len: u64) -> Result<()> {
    let length = usize::try_from(len).map_err(|e| no_memory(len, e))?;
    out.clear();
    out.try_reserve_exact(length)
        .map_err(|e| no_memory(len, e))?;
    out.resize(length, 0);
    Ok(())
}

fn no_memory(len: u64, why: impl std::fmt::Display) -> Error {
    let message = format!("not enough memory for {len} bytes: {why}");
    Error::new(Code::Io, message)
}

/// Hashes a range of a file by reading it, so that it does not count as this
/// process's memory, as a map would.
pub(crate) fn hash_file(
    file: &File,
    mut range: Range<u64>,
    hasher: &mut Sha256,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 4 << 20];
    while range.start < range.end {
        let step = (range.end - range.start).min(buffer.len() as u64);
        let part = buffer.get_mut(..step as usize).unwrap_or_default();
        read_exact_at(file, part, range.start)?;
        hasher.update(part);
        range.start += step;
    }
    Ok(())
}

#[cfg(unix)]
pub(crate) fn read_exact_at(file: &File, out: &mut [u8], offset: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, out, offset)
}

#[cfg(windows)]
pub(crate) fn read_exact_at(
    file: &File,
    mut out: &mut [u8],
    mut offset: u64,
) -> std::io::Result<()> {
    use std::os::windows::fs::FileExt;
    while !out.is_empty() {
        match file.seek_read(out, offset)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            n => {
                out = &mut out[n..];
                offset += n as u64;
            }
        }
    }
    Ok(())
}
