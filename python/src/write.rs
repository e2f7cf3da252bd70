//! Writing and converting.

use crate::errors::raise;
use crate::file::{File, limits as read_limits};
use crate::input::{Sources, strings};
use crate::progress::run;
use crate::remote::{Place, Whereabouts};
use deathtensors::{AppendOptions, OpenOptions, Part, TensorFile, TensorWriter, WriteOptions};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

fn options(
    checksum: bool,
    compress: bool,
    compress_level: i32,
    digests: bool,
    alignment: u64,
) -> WriteOptions {
    let mut options = WriteOptions::default();
    options.checksum = checksum;
    options.compress = compress.then_some(compress_level);
    options.digests = digests;
    options.alignment = alignment;
    options
}

fn metadata(mapping: Option<&Bound<'_, PyAny>>) -> PyResult<BTreeMap<String, String>> {
    mapping.map_or_else(|| Ok(BTreeMap::new()), strings)
}

/// Paths as `os.fsdecode` gives them: what is not Unicode in them survives.
fn texts(paths: Vec<PathBuf>) -> Vec<OsString> {
    paths.into_iter().map(PathBuf::into_os_string).collect()
}

#[pyfunction]
#[pyo3(signature = (path, sources, global_metadata, *, checksum=false, compress=false, compress_level=3,
                    digests=false, alignment=1, progress=None))]
#[expect(clippy::too_many_arguments, reason = "keywords of the Python call")]
pub fn save(
    py: Python<'_>,
    path: PathBuf,
    sources: &Bound<'_, PyAny>,
    global_metadata: Option<&Bound<'_, PyAny>>,
    checksum: bool,
    compress: bool,
    compress_level: i32,
    digests: bool,
    alignment: u64,
    progress: Option<Py<PyAny>>,
) -> PyResult<()> {
    let sources = Sources::new(sources)?;
    let global = metadata(global_metadata)?;
    let options = options(checksum, compress, compress_level, digests, alignment);
    run(py, progress, |progress| {
        let mut writer = TensorWriter::create(&path, &sources.specs, &global, &options)?;
        deathtensors::Progress::start(progress, writer.data_bytes());
        sources.feed(0..sources.specs.len(), &mut writer, progress)?;
        writer.finish()
    })
}

#[pyfunction]
#[pyo3(signature = (path, sources, extra_global_metadata, *, digests=None, compress_level=3,
                    alignment=1, limits=None, progress=None))]
#[expect(clippy::too_many_arguments, reason = "keywords of the Python call")]
pub fn append(
    py: Python<'_>,
    path: PathBuf,
    sources: &Bound<'_, PyAny>,
    extra_global_metadata: Option<&Bound<'_, PyAny>>,
    digests: Option<bool>,
    compress_level: i32,
    alignment: u64,
    limits: Option<&Bound<'_, PyAny>>,
    progress: Option<Py<PyAny>>,
) -> PyResult<()> {
    let sources = Sources::new(sources)?;
    let global = metadata(extra_global_metadata)?;
    let mut options = AppendOptions::default();
    options.compress_level = Some(compress_level);
    options.digests = digests;
    options.alignment = Some(alignment);
    options.limits = read_limits(py, limits)?;
    run(py, progress, |progress| {
        let mut writer = TensorWriter::append(&path, &sources.specs, &global, &options, progress)?;
        sources.feed(0..sources.specs.len(), &mut writer, progress)?;
        writer.finish()
    })
}

#[pyfunction]
#[pyo3(signature = (path, sources, max_shard_bytes, global_metadata, *, checksum=true, compress=false,
                    compress_level=3, digests=false, alignment=1, progress=None))]
#[expect(clippy::too_many_arguments, reason = "keywords of the Python call")]
pub fn save_sharded(
    py: Python<'_>,
    path: PathBuf,
    sources: &Bound<'_, PyAny>,
    max_shard_bytes: u64,
    global_metadata: Option<&Bound<'_, PyAny>>,
    checksum: bool,
    compress: bool,
    compress_level: i32,
    digests: bool,
    alignment: u64,
    progress: Option<Py<PyAny>>,
) -> PyResult<Vec<OsString>> {
    let sources = Sources::new(sources)?;
    let global = metadata(global_metadata)?;
    let options = options(checksum, compress, compress_level, digests, alignment);
    let paths = run(py, progress, |progress| {
        let mut sharded = deathtensors::ShardedWriter::create(
            &path,
            sources.specs.clone(),
            global,
            max_shard_bytes,
            options,
        )?;
        deathtensors::Progress::start(progress, sharded.data_bytes());
        for range in sharded.ranges() {
            let mut writer = sharded.start()?;
            sources.feed(range, &mut writer, progress)?;
            sharded.add(writer.seal()?);
        }
        sharded.finish()
    })?;
    Ok(texts(paths))
}

#[pyfunction]
#[pyo3(signature = (src, dst, *, checksum=true, compress=false, compress_level=3, digests=false,
                    alignment=1, limits=None, progress=None))]
#[expect(clippy::too_many_arguments, reason = "keywords of the Python call")]
pub fn from_safetensors(
    py: Python<'_>,
    src: Whereabouts<'_>,
    dst: PathBuf,
    checksum: bool,
    compress: bool,
    compress_level: i32,
    digests: bool,
    alignment: u64,
    limits: Option<&Bound<'_, PyAny>>,
    progress: Option<Py<PyAny>>,
) -> PyResult<()> {
    let options = options(checksum, compress, compress_level, digests, alignment);
    let limits = &read_limits(py, limits)?;
    let place = src.detached();
    run(py, progress, |progress| match place {
        Place::Here(src) => deathtensors::from_safetensors(&src, &dst, &options, limits, progress),
        Place::There(name, source) => {
            deathtensors::from_safetensors_ranges(name, source, &dst, &options, limits, progress)
        }
    })
}

#[pyfunction]
#[pyo3(signature = (src, dst, *, limits=None, progress=None))]
pub fn to_safetensors(
    py: Python<'_>,
    src: PathBuf,
    dst: PathBuf,
    limits: Option<&Bound<'_, PyAny>>,
    progress: Option<Py<PyAny>>,
) -> PyResult<()> {
    let mut options = OpenOptions::default();
    options.limits = read_limits(py, limits)?;
    run(py, progress, |progress| {
        deathtensors::to_safetensors(&src, &dst, &options, progress)
    })
}

/// Tensors of open files, as Python names them.
type Parts<'py> = Vec<(Bound<'py, File>, String, String)>;

struct OpenPart {
    file: Arc<TensorFile>,
    nth: usize,
    name: String,
}

fn open_parts(py: Python<'_>, parts: Parts<'_>) -> PyResult<Vec<OpenPart>> {
    let open = |(file, name, new): (Bound<'_, File>, String, String)| {
        let file = file.get().open(py)?;
        let nth = file.position(&name).map_err(|e| raise(py, e))?;
        Ok(OpenPart {
            file,
            nth,
            name: new,
        })
    };
    parts.into_iter().map(open).collect()
}

fn borrow(parts: &[OpenPart]) -> Vec<Part<'_>> {
    parts
        .iter()
        .map(|p| Part {
            file: &p.file,
            nth: p.nth,
            name: &p.name,
        })
        .collect()
}

#[pyfunction]
#[pyo3(signature = (dst, parts, global_metadata, *, checksum=false, compress=false, compress_level=3,
                    digests=false, alignment=1, progress=None))]
#[expect(clippy::too_many_arguments, reason = "keywords of the Python call")]
pub fn copy_tensors(
    py: Python<'_>,
    dst: PathBuf,
    parts: Parts<'_>,
    global_metadata: Option<&Bound<'_, PyAny>>,
    checksum: bool,
    compress: bool,
    compress_level: i32,
    digests: bool,
    alignment: u64,
    progress: Option<Py<PyAny>>,
) -> PyResult<()> {
    let parts = open_parts(py, parts)?;
    let global = metadata(global_metadata)?;
    let options = options(checksum, compress, compress_level, digests, alignment);
    run(py, progress, |progress| {
        deathtensors::copy_tensors(&dst, &borrow(&parts), &global, &options, progress)
    })
}

#[pyfunction]
#[pyo3(signature = (dst, parts, max_shard_bytes, global_metadata, *, checksum=true, compress=false,
                    compress_level=3, digests=false, alignment=1, progress=None))]
#[expect(clippy::too_many_arguments, reason = "keywords of the Python call")]
pub fn copy_tensors_sharded(
    py: Python<'_>,
    dst: PathBuf,
    parts: Parts<'_>,
    max_shard_bytes: u64,
    global_metadata: Option<&Bound<'_, PyAny>>,
    checksum: bool,
    compress: bool,
    compress_level: i32,
    digests: bool,
    alignment: u64,
    progress: Option<Py<PyAny>>,
) -> PyResult<Vec<OsString>> {
    let parts = open_parts(py, parts)?;
    let global = metadata(global_metadata)?;
    let options = options(checksum, compress, compress_level, digests, alignment);
    let paths = run(py, progress, |progress| {
        let borrowed = borrow(&parts);
        deathtensors::copy_tensors_sharded(
            &dst,
            &borrowed,
            max_shard_bytes,
            &global,
            &options,
            progress,
        )
    })?;
    Ok(texts(paths))
}

#[pyfunction]
pub fn write_manifest(
    py: Python<'_>,
    file: &Bound<'_, File>,
    path: PathBuf,
    written_at: &str,
) -> PyResult<()> {
    let open = file.get().open(py)?;
    py.detach(|| deathtensors::write_manifest(&open, &path, written_at))
        .map_err(|e| raise(py, e))
}

#[pyfunction]
#[pyo3(signature = (path, *, limits=None))]
pub fn read_manifest<'py>(
    py: Python<'py>,
    path: PathBuf,
    limits: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let limits = read_limits(py, limits)?;
    // The core checks it; to make dictionaries of it is Python's own business.
    let text = py
        .detach(|| deathtensors::read_manifest(&path, &limits))
        .map_err(|e| raise(py, e))?;
    py.import(intern!(py, "json"))?
        .call_method1(intern!(py, "loads"), (PyBytes::new(py, &text),))
}
