//! Sharded models.

use crate::errors::raise;
use crate::file::{File, OpenArguments};
use crate::remote::{Whereabouts, shard_opener};
use deathtensors::core::Code;
use deathtensors::core::digest::{hex, parse_hex};
use deathtensors::core::shards::{self, Shard, ShardIndex};
use deathtensors::{Error, ShardedFile};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

#[pyclass(frozen, module = "deathtensors._deathtensors")]
pub struct Sharded {
    path: PathBuf,
    inner: RwLock<Option<Arc<ShardedFile>>>,
}

impl Sharded {
    fn open(&self, py: Python<'_>) -> PyResult<Arc<ShardedFile>> {
        let held = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        held.clone().ok_or_else(|| {
            raise(
                py,
                Error::new(Code::UsageClosed, "the file was closed").at(&self.path),
            )
        })
    }
}

#[pymethods]
impl Sharded {
    #[new]
    #[pyo3(signature = (path, *, verify=false, root=None, backend="auto", limits=None))]
    fn new(
        py: Python<'_>,
        path: PathBuf,
        verify: bool,
        root: Option<&str>,
        backend: &str,
        limits: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let options = OpenArguments {
            root,
            backend,
            limits,
        }
        .parse(py)?;
        let inner = py
            .detach(|| ShardedFile::open(&path, &options, verify))
            .map_err(|e| raise(py, e))?;
        Ok(Self {
            path,
            inner: RwLock::new(Some(Arc::new(inner))),
        })
    }

    /// A model whose index, or whose shards, are not simply local files.
    #[staticmethod]
    #[pyo3(signature = (index, open_shard, *, verify=false, root=None, backend="auto", limits=None))]
    fn remote(
        py: Python<'_>,
        index: Whereabouts<'_>,
        open_shard: Py<PyAny>,
        verify: bool,
        root: Option<&str>,
        backend: &str,
        limits: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let arguments = OpenArguments {
            root,
            backend,
            limits,
        };
        let options = arguments.parse(py)?;
        let place = index.detached();
        let path = place.name().to_path_buf();
        let opener = shard_opener(path.clone(), open_shard);
        let inner = py
            .detach(|| {
                let index = place.open(&options)?;
                ShardedFile::with_opener(&index, &options, verify, opener)
            })
            .map_err(|e| raise(py, e))?;
        Ok(Self {
            path,
            inner: RwLock::new(Some(Arc::new(inner))),
        })
    }

    #[getter]
    fn path(&self) -> OsString {
        self.path.clone().into_os_string()
    }

    #[getter]
    fn root(&self, py: Python<'_>) -> PyResult<Option<String>> {
        Ok(self.open(py)?.root().map(hex))
    }

    fn keys(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        Ok(self
            .open(py)?
            .index()
            .shards
            .iter()
            .flat_map(|s| s.tensors.iter().cloned())
            .collect())
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self
            .open(py)?
            .index()
            .shards
            .iter()
            .map(|s| s.tensors.len())
            .sum())
    }

    fn __contains__(&self, py: Python<'_>, name: &Bound<'_, PyAny>) -> PyResult<bool> {
        let open = self.open(py)?;
        Ok(name
            .extract::<String>()
            .is_ok_and(|name| open.index().find(&name).is_some()))
    }

    fn metadata<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let out = PyDict::new(py);
        for (key, value) in self.open(py)?.metadata() {
            out.set_item(key, value)?;
        }
        Ok(out)
    }

    fn which_shard(&self, py: Python<'_>, name: &str) -> PyResult<String> {
        let open = self.open(py)?;
        let nth = open.which(name).map_err(|e| raise(py, e))?;
        Ok(open
            .index()
            .shards
            .get(nth)
            .map(|s| s.path.clone())
            .unwrap_or_default())
    }

    fn shard_names(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        Ok(self
            .open(py)?
            .index()
            .shards
            .iter()
            .map(|s| s.path.clone())
            .collect())
    }

    fn shard_paths(&self, py: Python<'_>) -> PyResult<Vec<OsString>> {
        let paths = self.open(py)?.shard_paths();
        Ok(paths.into_iter().map(PathBuf::into_os_string).collect())
    }

    fn file(&self, py: Python<'_>, name: &str) -> PyResult<File> {
        let open = self.open(py)?;
        py.detach(|| open.file(name))
            .map(File::from_open)
            .map_err(|e| raise(py, e))
    }

    fn shard(&self, py: Python<'_>, index: usize) -> PyResult<File> {
        let open = self.open(py)?;
        py.detach(|| open.shard(index))
            .map(File::from_open)
            .map_err(|e| raise(py, e))
    }

    fn close(&self) {
        self.inner
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }
}

/// The file name of the nth shard, counted from 0.
#[pyfunction]
pub fn shard_name(stem: &str, nth: usize, count: usize, extension: &str) -> String {
    shards::shard_name(stem, nth, count, extension)
}

/// The metadata of the nth shard: the user's, and what marks it.
#[pyfunction]
pub fn shard_metadata(
    nth: usize,
    count: usize,
    metadata: BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    shards::shard_metadata(nth, count, &metadata)
}

/// The metadata of the index of these shards, each a path, its tensors' names and
/// bytes, and its root: the user's, and what makes it an index.
#[pyfunction]
pub fn index_metadata(
    py: Python<'_>,
    listed: Vec<(String, Vec<String>, u64, Option<String>)>,
    metadata: BTreeMap<String, String>,
) -> PyResult<BTreeMap<String, String>> {
    let refuse = |e: deathtensors::core::Error| raise(py, e.into());
    let mut all = Vec::with_capacity(listed.len());
    for (path, tensors, bytes, root) in listed {
        let root = root.map(|hex| parse_hex(&hex)).transpose();
        all.push(Shard {
            path,
            tensors,
            bytes,
            root: root.map_err(refuse)?,
        });
    }
    let index = ShardIndex::new(all).map_err(refuse)?;
    Ok(index.metadata(&metadata))
}

/// The shards that an index of safetensors names, each a path and its tensors' names.
#[pyfunction]
#[pyo3(signature = (text, *, limits=None))]
pub fn read_safetensors_index(
    py: Python<'_>,
    text: &[u8],
    limits: Option<&Bound<'_, PyAny>>,
) -> PyResult<Vec<(String, Vec<String>)>> {
    let index = ShardIndex::parse_safetensors_index(text, &crate::file::limits(py, limits)?);
    let index = index.map_err(|e| raise(py, e.into()))?;
    let shards = index.shards.into_iter();
    Ok(shards.map(|shard| (shard.path, shard.tensors)).collect())
}
