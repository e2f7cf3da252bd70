//! The same bytes as a file and as ranges that somebody brings.

use deathtensors::{Backend, Code, OpenOptions, Piece, RangeSource, Result, TensorFile};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

thread_local! {
    static FOLDER: TempDir = {
        // Memory, where there is such a filesystem: a disk would be what is measured.
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.into() } else { std::env::temp_dir() };
        tempfile::tempdir_in(parent).expect("a folder for the input")
    };
}

/// Where a file of this thread may be written.
pub fn path(name: &str) -> PathBuf {
    FOLDER.with(|folder| folder.path().join(name))
}

/// Writes a file of this thread.
pub fn write(name: &str, data: &[u8]) -> PathBuf {
    let path = path(name);
    // A new one: the old one may be mapped, and would be written to below its readers.
    let _ = fs::remove_file(&path);
    fs::write(&path, data).expect("the input is written");
    path
}

/// Ways to open the same bytes.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    /// Mapped.
    Mapped,
    /// By positioned reads.
    Positioned,
    /// By ranges that somebody brings.
    Ranges,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Mapped, Self::Positioned, Self::Ranges];

    /// Opens `data`, which was written to `path`.
    pub fn open(self, path: &Path, data: &[u8]) -> std::result::Result<TensorFile, Code> {
        let mut options = OpenOptions::default();
        options.limits = crate::limits();
        let opened = match self {
            Self::Mapped => {
                options.backend = Backend::Mmap;
                TensorFile::open_with(path, &options)
            }
            Self::Positioned => {
                options.backend = Backend::Pread;
                TensorFile::open_with(path, &options)
            }
            Self::Ranges => {
                let ranges = Arc::new(Held(data.to_vec()));
                TensorFile::open_ranges("elsewhere", ranges, &options)
            }
        };
        opened.map_err(|error| {
            crate::same::printable(&error);
            error.code()
        })
    }
}

#[derive(Debug)]
struct Held(Vec<u8>);

impl RangeSource for Held {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn fetch(&self, ranges: &[Range<u64>]) -> Result<Vec<Piece>> {
        let in_order = ranges.windows(2).all(|pair| pair[0].end <= pair[1].start);
        assert!(in_order, "{ranges:?}");
        let piece = |range: &Range<u64>| {
            assert!(
                range.start < range.end && range.end <= self.len(),
                "{range:?}"
            );
            let bytes = self.0[range.start as usize..range.end as usize].to_vec();
            Box::new(bytes) as Piece
        };
        Ok(ranges.iter().map(piece).collect())
    }
}
