//! Open files.

use crate::errors::raise;
use crate::memory::Buffer;
use crate::progress::run;
use crate::remote::{Place, Ranges};
use deathtensors::core::digest::{hex, parse_hex};
use deathtensors::core::shards::ShardIndex;
use deathtensors::core::stats::{Number, Stats};
use deathtensors::core::{Code, Dtype, Error as CoreError, Limits, Metadata, TensorInfo};
use deathtensors::{Backend, Error, OpenOptions, Progress, Result, TensorFile};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};
use std::collections::HashMap;
use std::ffi::OsString;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

#[pyclass(frozen, module = "deathtensors._deathtensors")]
pub struct File {
    path: PathBuf,
    inner: RwLock<Option<Arc<TensorFile>>>,
}

/// The arguments that opening shares with [`crate::sharded::Sharded`].
pub struct OpenArguments<'a, 'py> {
    pub root: Option<&'a str>,
    pub backend: &'a str,
    pub limits: Option<&'a Bound<'py, PyAny>>,
}

impl OpenArguments<'_, '_> {
    pub fn parse(&self, py: Python<'_>) -> PyResult<OpenOptions> {
        let refuse = |name: &str, expected: &str, found: &str| {
            let error = CoreError::new(
                Code::UsageOption,
                format!("option '{name}' is out of range"),
            );
            raise(
                py,
                error.expected(expected).found(format!("'{found}'")).into(),
            )
        };
        let mut options = OpenOptions::default();
        options.backend = match self.backend {
            "auto" => Backend::Auto,
            "mmap" => Backend::Mmap,
            "pread" => Backend::Pread,
            other => return Err(refuse("backend", "'auto', 'mmap' or 'pread'", other)),
        };
        if let Some(text) = self.root {
            let lower = text.to_ascii_lowercase();
            let digest =
                parse_hex(&lower).map_err(|_| refuse("root", "64 hexadecimal digits", text))?;
            options.root = Some(digest);
        }
        options.limits = limits(py, self.limits)?;
        Ok(options)
    }
}

/// The limits that hold where a mapping lowers, or raises, some of them.
pub fn limits(py: Python<'_>, mapping: Option<&Bound<'_, PyAny>>) -> PyResult<Limits> {
    let mut limits = Limits::DEFAULT;
    if let Some(mapping) = mapping {
        let given = PyDict::from_sequence(&mapping.call_method0("items")?)?;
        for (name, value) in given {
            limits
                .set(name.cast::<PyString>()?.to_str()?, value.extract()?)
                .map_err(|e| raise(py, e.into()))?;
        }
    }
    Ok(limits)
}

impl File {
    pub fn open(&self, py: Python<'_>) -> PyResult<Arc<TensorFile>> {
        let held = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        held.clone().ok_or_else(|| {
            raise(
                py,
                Error::new(Code::UsageClosed, "the file was closed").at(&self.path),
            )
        })
    }

    fn start(
        py: Python<'_>,
        place: Place,
        options: &OpenOptions,
        verify: bool,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let path = place.name().into();
        let file = py
            .detach(|| place.open(options))
            .map_err(|e| raise(py, e))?;
        if verify {
            let found = run(py, progress, |progress| file.verify(progress))?;
            if let Some(error) = found.errors.into_iter().next() {
                return Err(raise(py, error));
            }
        }
        Ok(Self {
            path,
            inner: RwLock::new(Some(Arc::new(file))),
        })
    }

    pub fn from_open(file: Arc<TensorFile>) -> Self {
        Self {
            path: file.path().into(),
            inner: RwLock::new(Some(file)),
        }
    }
}

#[pymethods]
impl File {
    #[new]
    #[pyo3(signature = (path, *, verify=false, root=None, backend="auto", limits=None, progress=None))]
    fn new(
        py: Python<'_>,
        path: PathBuf,
        verify: bool,
        root: Option<&str>,
        backend: &str,
        limits: Option<&Bound<'_, PyAny>>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let options = OpenArguments {
            root,
            backend,
            limits,
        }
        .parse(py)?;
        Self::start(py, Place::Here(path), &options, verify, progress)
    }

    /// A file that is brought by ranges.
    #[staticmethod]
    #[pyo3(signature = (ranges, *, verify=false, root=None, limits=None, progress=None))]
    fn remote(
        py: Python<'_>,
        ranges: &Ranges,
        verify: bool,
        root: Option<&str>,
        limits: Option<&Bound<'_, PyAny>>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let backend = "auto";
        let arguments = OpenArguments {
            root,
            backend,
            limits,
        };
        let place = Place::There(ranges.name.clone(), ranges.source.clone());
        Self::start(py, place, &arguments.parse(py)?, verify, progress)
    }

    #[getter]
    fn path(&self) -> OsString {
        self.path.clone().into_os_string()
    }

    #[getter]
    fn root(&self, py: Python<'_>) -> PyResult<Option<String>> {
        Ok(self.open(py)?.header().root().map(hex))
    }

    #[getter]
    fn closed(&self) -> bool {
        self.inner
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .is_none()
    }

    #[getter]
    fn is_index(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(ShardIndex::is_index(self.open(py)?.header()))
    }

    #[getter]
    fn facts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let open = self.open(py)?;
        let (catalogue, header) = (open.catalogue(), open.header());
        let (tensor_bytes, parameters) = header.tied_once();
        let frames = py.detach(|| open.frames()).map_err(|e| raise(py, e))?;
        let facts = PyDict::new(py);
        facts.set_item("created_by", header.created_by())?;
        facts.set_item("file_bytes", catalogue.file_bytes())?;
        facts.set_item(
            "header_bytes",
            catalogue.header_range().end - catalogue.header_range().start,
        )?;
        facts.set_item("data_start", catalogue.blob().start)?;
        facts.set_item(
            "stored_bytes",
            catalogue.blob().end - catalogue.blob().start,
        )?;
        facts.set_item("data_bytes", catalogue.data_bytes())?;
        facts.set_item("tensor_bytes", tensor_bytes)?;
        facts.set_item("parameters", parameters)?;
        facts.set_item("frames", frames.map(|table| table.len()))?;
        Ok(facts)
    }

    fn keys<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, self.open(py)?.header().tensors().map(|t| t.name))
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.open(py)?.header().len())
    }

    fn __contains__(&self, py: Python<'_>, name: &Bound<'_, PyAny>) -> PyResult<bool> {
        let open = self.open(py)?;
        let Ok(name) = name.cast::<PyString>() else {
            return Ok(false);
        };
        Ok(name
            .to_cow()
            .is_ok_and(|name| open.header().position(&name).is_some()))
    }

    fn info<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyDict>> {
        let open = self.open(py)?;
        match open.header().find(name) {
            Some(tensor) => info(py, &tensor),
            None => Err(open.position(name).err().map_or_else(
                || raise(py, Error::new(Code::TensorNotFound, "no such tensor")),
                |e| raise(py, e),
            )),
        }
    }

    /// What `info` says of every tensor, or of no more than the first `most`.
    #[pyo3(signature = (most=None))]
    fn infos<'py>(&self, py: Python<'py>, most: Option<usize>) -> PyResult<Bound<'py, PyList>> {
        let list = PyList::empty(py);
        let open = self.open(py)?;
        for tensor in open.header().tensors().take(most.unwrap_or(usize::MAX)) {
            list.append(info(py, &tensor)?)?;
        }
        Ok(list)
    }

    fn metadata<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        dict(py, &self.open(py)?.header().global_metadata())
    }

    fn is_compressed(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.open(py)?.is_compressed())
    }

    fn has_checksum(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.open(py)?.catalogue().flags().checksum)
    }

    fn has_digests(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.open(py)?.header().has_digests())
    }

    fn get_bytes<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyBytes>> {
        let open = self.open(py)?;
        let nth = open.position(name).map_err(|e| raise(py, e))?;
        let length = open.tensor(nth).map_err(|e| raise(py, e))?.nbytes();
        py.detach(|| {
            open.check_copies(&[nth], 0)?;
            open.prepare_frames(nth)
        })
        .map_err(|e| raise(py, e))?;
        PyBytes::new_with(py, length as usize, |out| {
            run(py, None, |progress| {
                open.read_into_with(name, out, progress)
            })
        })
    }

    #[pyo3(signature = (name, start=None, count=None, *, writable=true))]
    fn buffer(
        &self,
        py: Python<'_>,
        name: &str,
        start: Option<u64>,
        count: Option<u64>,
        writable: bool,
    ) -> PyResult<Buffer> {
        let open = self.open(py)?;
        let nth = open.position(name).map_err(|e| raise(py, e))?;
        let rows = match (start, count) {
            (None, None) => None,
            _ => {
                let all = open
                    .tensor(nth)
                    .map_err(|e| raise(py, e))?
                    .shape
                    .first()
                    .copied()
                    .unwrap_or(0);
                let start = start.unwrap_or(0);
                Some((start, count.unwrap_or_else(|| all.saturating_sub(start))))
            }
        };
        run(py, None, |progress| {
            buffer(&open, nth, rows, writable, progress)
        })
    }

    /// Refuses copies of these tensors that would take more memory than the limit, where
    /// the call holds so many bytes already.
    #[pyo3(signature = (names, *, held=0))]
    fn check_copies(&self, py: Python<'_>, names: Vec<String>, held: u64) -> PyResult<()> {
        let open = self.open(py)?;
        let nths: Result<Vec<_>> = names.iter().map(|name| open.position(name)).collect();
        let nths = nths.map_err(|e| raise(py, e))?;
        py.detach(|| open.check_copies(&nths, held))
            .map_err(|e| raise(py, e))
    }

    #[pyo3(signature = (names, *, held=0, progress=None))]
    fn buffers(
        &self,
        py: Python<'_>,
        names: Vec<String>,
        held: u64,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Vec<Py<Buffer>>> {
        let open = self.open(py)?;
        // Tied names share one buffer.
        let mut places: HashMap<(u64, u64), usize> = HashMap::new();
        let (mut nths, mut wanted) = (Vec::new(), Vec::with_capacity(names.len()));
        for name in &names {
            let nth = open.position(name).map_err(|e| raise(py, e))?;
            let data = open.tensor(nth).map_err(|e| raise(py, e))?.data();
            let place = *places.entry((data.start, data.end)).or_insert(nths.len());
            if place == nths.len() {
                nths.push(nth);
            }
            wanted.push(place);
        }
        let made = run(py, progress, |progress| {
            buffers(&open, &nths, held, progress)
        })?;
        let made: Vec<_> = made
            .into_iter()
            .map(|buffer| Py::new(py, buffer))
            .collect::<PyResult<_>>()?;
        Ok(wanted
            .into_iter()
            .filter_map(|place| Some(made.get(place)?.clone_ref(py)))
            .collect())
    }

    fn stats<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyDict>> {
        let open = self.open(py)?;
        let stats = run(py, None, |progress| open.stats_with(name, progress))?;
        let tensor = open.header().get(name).map_err(|e| raise(py, e.into()))?;
        stats_dict(py, &tensor, &stats)
    }

    #[pyo3(signature = (*, progress=None))]
    fn all_stats<'py>(
        &self,
        py: Python<'py>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let open = self.open(py)?;
        let all = run(py, progress, |progress| open.all_stats(progress))?;
        let out = PyDict::new(py);
        for (tensor, stats) in open.header().tensors().zip(&all) {
            out.set_item(tensor.name, stats_dict(py, &tensor, stats)?)?;
        }
        Ok(out)
    }

    #[pyo3(signature = (*, progress=None))]
    fn verify<'py>(
        &self,
        py: Python<'py>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let open = self.open(py)?;
        let found = run(py, progress, |progress| open.verify(progress))?;
        let tensors = PyDict::new(py);
        for (tensor, sound) in open.header().tensors().zip(&found.tensors) {
            tensors.set_item(tensor.name, sound)?;
        }
        let out = PyDict::new(py);
        out.set_item("footer", found.footer)?;
        out.set_item("root", found.root)?;
        out.set_item("frames", found.frames)?;
        out.set_item("tensors", tensors)?;
        let errors: Vec<_> = found
            .errors
            .into_iter()
            .map(|e| raise(py, e).into_value(py))
            .collect();
        out.set_item("errors", errors)?;
        Ok(out)
    }

    fn verify_tensor(&self, py: Python<'_>, name: &str) -> PyResult<bool> {
        let open = self.open(py)?;
        run(py, None, |progress| open.verify_tensor_with(name, progress))
    }

    fn close(&self) {
        self.inner
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }
}

/// The bytes of the nth tensor, or of some of its rows.
fn buffer(
    file: &Arc<TensorFile>,
    nth: usize,
    rows: Option<(u64, u64)>,
    writable: bool,
    progress: &mut dyn Progress,
) -> Result<Buffer> {
    let data = match rows {
        Some((start, count)) => file.rows(nth, start, count)?,
        None => file.tensor(nth)?.data(),
    };
    if let Some(view) = view(file, nth, &data, writable, progress)? {
        return Ok(view);
    }
    let memory = match rows {
        Some(_) => {
            file.ensure_checked_with(nth, progress)?;
            file.read_owned(nth, data)?
        }
        None => file.read_many(&[nth], progress)?.remove(0),
    };
    Ok(Buffer::from_memory(memory, writable))
}

/// The bytes of whole tensors, those that need a copy read together. The call holds
/// `held` bytes already.
fn buffers(
    file: &Arc<TensorFile>,
    nths: &[usize],
    held: u64,
    progress: &mut dyn Progress,
) -> Result<Vec<Buffer>> {
    let mut out = Vec::with_capacity(nths.len());
    let mut copies = Vec::new();
    for &nth in nths {
        let made = view(file, nth, &file.tensor(nth)?.data(), true, progress)?;
        if made.is_none() {
            copies.push(nth);
        }
        out.push(made);
    }
    file.check_copies(&copies, held)?;
    let mut read = match copies.is_empty() {
        true => Vec::new(),
        false => file.read_many(&copies, progress)?,
    }
    .into_iter();
    Ok(out
        .into_iter()
        .filter_map(|made| made.or_else(|| Some(Buffer::from_memory(read.next()?, true))))
        .collect())
}

/// The bytes in place, where there is a map and they are aligned.
fn view(
    file: &Arc<TensorFile>,
    nth: usize,
    data: &Range<u64>,
    writable: bool,
    progress: &mut dyn Progress,
) -> Result<Option<Buffer>> {
    if file.is_compressed() {
        return Ok(None);
    }
    file.ensure_checked_with(nth, progress)?;
    if !writable {
        return Ok(Buffer::from_file(file.clone(), nth, data.clone()));
    }
    let align = file.tensor(nth)?.dtype.alignment();
    let found = file.view(nth, data, align)?;
    Ok(found.and_then(|(mapping, part)| Buffer::from_mapping(mapping, part)))
}

fn dict<'py>(py: Python<'py>, pairs: &Metadata<'_>) -> PyResult<Bound<'py, PyDict>> {
    let out = PyDict::new(py);
    for (key, value) in pairs.iter() {
        out.set_item(key, value)?;
    }
    Ok(out)
}

/// What `info()` says of a tensor. Most of it is the same for all tensors of a
/// dtype: copying that and filling in the rest takes half the time.
fn info<'py>(py: Python<'py>, tensor: &TensorInfo<'_>) -> PyResult<Bound<'py, PyDict>> {
    static TEMPLATES: PyOnceLock<Vec<Py<PyDict>>> = PyOnceLock::new();
    let templates = TEMPLATES.get_or_try_init(py, || {
        Dtype::ALL
            .iter()
            .map(|&dtype| template(py, dtype).map(Bound::unbind))
            .collect::<PyResult<_>>()
    })?;
    let out = match templates.get(tensor.dtype as usize) {
        Some(template) => template.bind(py).copy()?,
        None => template(py, tensor.dtype)?,
    };
    out.set_item(intern!(py, "name"), tensor.name)?;
    out.set_item(intern!(py, "shape"), PyList::new(py, tensor.shape)?)?;
    out.set_item(
        intern!(py, "data_offsets"),
        PyTuple::new(py, [tensor.start, tensor.end])?,
    )?;
    out.set_item(intern!(py, "nbytes"), tensor.nbytes())?;
    out.set_item(intern!(py, "metadata"), dict(py, &tensor.metadata)?)?;
    if let Some(digest) = tensor.sha256 {
        out.set_item(intern!(py, "sha256"), hex(digest))?;
    }
    Ok(out)
}

fn template<'py>(py: Python<'py>, dtype: Dtype) -> PyResult<Bound<'py, PyDict>> {
    let out = PyDict::new(py);
    out.set_item(intern!(py, "name"), py.None())?;
    out.set_item(intern!(py, "dtype"), PyString::intern(py, dtype.as_str()))?;
    out.set_item(
        intern!(py, "torch_dtype"),
        dtype.torch_name().map(|n| PyString::intern(py, n)),
    )?;
    out.set_item(
        intern!(py, "numpy_dtype"),
        dtype.numpy_name().map(|n| PyString::intern(py, n)),
    )?;
    for later in ["shape", "data_offsets", "nbytes", "metadata"] {
        out.set_item(PyString::intern(py, later), py.None())?;
    }
    Ok(out)
}

fn number<'py>(py: Python<'py>, value: Number) -> PyResult<Bound<'py, PyAny>> {
    match value {
        Number::Int(n) => n.into_pyobject(py).map(Bound::into_any).map_err(Into::into),
        Number::Float(x) => Ok(x.into_pyobject(py)?.into_any()),
    }
}

fn stats_dict<'py>(
    py: Python<'py>,
    tensor: &TensorInfo<'_>,
    stats: &Stats,
) -> PyResult<Bound<'py, PyDict>> {
    let out = PyDict::new(py);
    out.set_item(intern!(py, "dtype"), tensor.dtype.as_str())?;
    out.set_item(intern!(py, "shape"), PyList::new(py, tensor.shape)?)?;
    out.set_item(intern!(py, "nbytes"), tensor.nbytes())?;
    out.set_item(intern!(py, "count"), stats.count)?;
    out.set_item(intern!(py, "min"), number(py, stats.min)?)?;
    out.set_item(intern!(py, "max"), number(py, stats.max)?)?;
    out.set_item(intern!(py, "mean"), stats.mean)?;
    out.set_item(intern!(py, "stddev"), stats.stddev)?;
    out.set_item(intern!(py, "nnz"), stats.nnz)?;
    out.set_item(intern!(py, "nan"), stats.nan)?;
    out.set_item(intern!(py, "posinf"), stats.posinf)?;
    out.set_item(intern!(py, "neginf"), stats.neginf)?;
    out.set_item(intern!(py, "absmax"), number(py, stats.absmax)?)?;
    out.set_item(intern!(py, "l2"), stats.l2)?;
    Ok(out)
}

#[pyfunction]
#[pyo3(signature = (a, b, *, compare_bytes=false, progress=None))]
pub fn diff<'py>(
    py: Python<'py>,
    a: &Bound<'py, File>,
    b: &Bound<'py, File>,
    compare_bytes: bool,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let (a, b) = (a.get().open(py)?, b.get().open(py)?);
    let found = run(py, progress, |progress| {
        deathtensors::diff(&a, &b, compare_bytes, progress)
    })?;
    let headers = &found.headers;
    let out = PyDict::new(py);
    out.set_item("added", &headers.added)?;
    out.set_item("removed", &headers.removed)?;
    let shapes = PyDict::new(py);
    for (name, x, y) in &headers.shape_changed {
        shapes.set_item(name, (PyList::new(py, *x)?, PyList::new(py, *y)?))?;
    }
    out.set_item("shape_changed", shapes)?;
    let dtypes = PyDict::new(py);
    for (name, x, y) in &headers.dtype_changed {
        dtypes.set_item(name, (x.as_str(), y.as_str()))?;
    }
    out.set_item("dtype_changed", dtypes)?;
    out.set_item("value_changed", &headers.value_changed)?;
    let metadata = PyDict::new(py);
    for (name, x, y) in &headers.metadata_changed {
        metadata.set_item(name, (dict(py, x)?, dict(py, y)?))?;
    }
    out.set_item("metadata_changed", metadata)?;
    let global = match &headers.global_metadata_changed {
        Some((x, y)) => Some((dict(py, x)?, dict(py, y)?)),
        None => None,
    };
    out.set_item("global_metadata_changed", global)?;
    out.set_item("equal", found.is_empty())?;
    Ok(out)
}
