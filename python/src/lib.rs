//! The compiled module `_deathtensors`: buffers in, buffers out, errors across.
//!
//! Everything about the format is in `deathtensors`; the signatures that Python
//! sees are described in `_deathtensors.pyi`.
#![allow(missing_docs)]
#![deny(unsafe_code)]

mod errors;
mod file;
mod input;
#[allow(unsafe_code)]
mod memory;
mod progress;
mod remote;
mod schema;
mod sharded;
mod write;

use deathtensors::core;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

#[pymodule(gil_used = false)]
fn _deathtensors(m: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = m.py();
    m.add("__version__", env!("CARGO_PKG_VERSION"))?;
    m.add("MAGIC", PyBytes::new(py, &core::MAGIC))?;
    m.add("FORMAT_VERSION", core::VERSION)?;
    m.add("CANONICAL_EXTENSION", core::CANONICAL_EXTENSION)?;
    m.add("LEGACY_EXTENSION", core::LEGACY_EXTENSION)?;
    let dtypes: Vec<_> = core::Dtype::ALL
        .iter()
        .map(|d| (d.as_str(), d.bits(), d.torch_name(), d.numpy_name()))
        .collect();
    m.add("DTYPES", dtypes)?;
    let codes: Vec<_> = core::Code::ALL
        .iter()
        .map(|c| (c.as_str(), c.kind().as_str(), c.meaning().trim()))
        .collect();
    m.add("CODES", codes)?;
    let limits = PyDict::new(py);
    for row in core::Limits::TABLE {
        limits.set_item(row.name, row.default)?;
    }
    m.add("LIMITS", limits)?;
    let table: Vec<_> = core::Limits::TABLE
        .iter()
        .map(|row| (row.name, row.default, row.code.as_str(), row.meaning.trim()))
        .collect();
    m.add("LIMIT_TABLE", table)?;
    m.add_class::<memory::Buffer>()?;
    m.add_class::<file::File>()?;
    m.add_class::<sharded::Sharded>()?;
    m.add_class::<remote::Ranges>()?;
    m.add_class::<schema::Schema>()?;
    for function in [
        wrap_pyfunction!(nbytes, m)?,
        wrap_pyfunction!(printable, m)?,
        wrap_pyfunction!(set_num_threads, m)?,
        wrap_pyfunction!(get_num_threads, m)?,
        wrap_pyfunction!(write::save, m)?,
        wrap_pyfunction!(write::append, m)?,
        wrap_pyfunction!(write::save_sharded, m)?,
        wrap_pyfunction!(write::from_safetensors, m)?,
        wrap_pyfunction!(write::to_safetensors, m)?,
        wrap_pyfunction!(write::copy_tensors, m)?,
        wrap_pyfunction!(write::copy_tensors_sharded, m)?,
        wrap_pyfunction!(write::write_manifest, m)?,
        wrap_pyfunction!(write::read_manifest, m)?,
        wrap_pyfunction!(file::diff, m)?,
        wrap_pyfunction!(sharded::shard_name, m)?,
        wrap_pyfunction!(sharded::shard_metadata, m)?,
        wrap_pyfunction!(sharded::index_metadata, m)?,
        wrap_pyfunction!(sharded::read_safetensors_index, m)?,
    ] {
        m.add_function(function)?;
    }
    Ok(())
}

#[pyfunction]
fn nbytes(py: Python<'_>, dtype: &str, shape: Vec<u64>) -> PyResult<u64> {
    core::Dtype::parse(dtype)
        .and_then(|d| d.nbytes(&shape))
        .map_err(|e| errors::raise(py, e.into()))
}

#[pyfunction]
fn printable(text: &str) -> String {
    core::Printable(text).to_string()
}

#[pyfunction]
#[pyo3(signature = (n))]
fn set_num_threads(py: Python<'_>, n: Option<i64>) -> PyResult<()> {
    let wanted = n.map(usize::try_from);
    if !matches!(wanted, None | Some(Ok(1..))) {
        let error = deathtensors::Error::new(
            core::Code::UsageOption,
            "the number of threads must be positive",
        );
        return Err(errors::raise(py, error));
    }
    deathtensors::set_num_threads(wanted.and_then(std::result::Result::ok));
    Ok(())
}

#[pyfunction]
fn get_num_threads() -> usize {
    deathtensors::num_threads()
}
