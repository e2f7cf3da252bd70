//! Ranges that a Python callable brings.

use deathtensors::{Error, OpenOptions, Piece, RangeSource, Result, TensorFile};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyList;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file that a callable brings by ranges.
#[pyclass(frozen, module = "deathtensors._deathtensors")]
pub struct Ranges {
    pub name: PathBuf,
    pub source: Arc<Callable>,
}

/// A callable as a source of ranges.
#[derive(Debug)]
pub struct Callable {
    name: PathBuf,
    length: u64,
    fetch: Py<PyAny>,
}

impl Callable {
    /// What Python raised, to be raised again where the call came from.
    fn raised(&self, error: PyErr) -> Error {
        raised(&self.name, error)
    }
}

/// What Python raised while something was asked of it, as an error that
/// [`crate::errors::raise`] turns back.
pub fn raised(name: &Path, error: PyErr) -> Error {
    Error::io("read", name, io::Error::other(error))
}

impl RangeSource for Callable {
    fn len(&self) -> u64 {
        self.length
    }

    fn fetch(&self, ranges: &[Range<u64>]) -> Result<Vec<Piece>> {
        Python::attach(|py| {
            let wanted = PyList::new(py, ranges.iter().map(|r| (r.start, r.end)))?;
            let brought = self.fetch.call1(py, (wanted,))?;
            let mut pieces: Vec<Piece> = Vec::with_capacity(ranges.len());
            for piece in brought.bind(py).try_iter()? {
                pieces.push(Box::new(piece?.extract::<PyBackedBytes>()?));
            }
            Ok(pieces)
        })
        .map_err(|e| self.raised(e))
    }
}

#[pymethods]
impl Ranges {
    #[new]
    fn new(name: PathBuf, length: u64, fetch: Py<PyAny>) -> Self {
        let source = Arc::new(Callable {
            name: name.clone(),
            length,
            fetch,
        });
        Self { name, source }
    }
}

/// A file by its path, or brought by ranges.
#[derive(FromPyObject)]
pub enum Whereabouts<'py> {
    Ranges(Bound<'py, Ranges>),
    Path(PathBuf),
}

impl Whereabouts<'_> {
    /// The same for use without the interpreter.
    pub fn detached(self) -> Place {
        match self {
            Self::Ranges(ranges) => {
                let ranges = ranges.get();
                Place::There(ranges.name.clone(), ranges.source.clone())
            }
            Self::Path(path) => Place::Here(path),
        }
    }
}

/// Where a file is.
pub enum Place {
    Here(PathBuf),
    There(PathBuf, Arc<Callable>),
}

impl Place {
    pub fn name(&self) -> &Path {
        match self {
            Self::Here(path) | Self::There(path, _) => path,
        }
    }

    pub fn open(self, options: &OpenOptions) -> Result<TensorFile> {
        match self {
            Self::Here(path) => TensorFile::open_with(path, options),
            Self::There(name, source) => TensorFile::open_ranges(name, source, options),
        }
    }
}

/// Asks a callable where the shard of some name is, and opens it there.
pub fn shard_opener(
    index: PathBuf,
    open_shard: Py<PyAny>,
) -> impl Fn(&str, &OpenOptions) -> Result<TensorFile> + Send + Sync {
    move |name, options| {
        let place = Python::attach(|py| {
            let found = open_shard.call1(py, (name,))?;
            match found.bind(py).extract::<Whereabouts<'_>>() {
                Ok(whereabouts) => Ok(whereabouts.detached()),
                Err(_) => Err(PyTypeError::new_err(
                    "open_shard must return a path or Ranges",
                )),
            }
        });
        place.map_err(|e| raised(&index, e))?.open(options)
    }
}
