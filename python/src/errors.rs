//! From this project's errors to Python's.

use deathtensors::Error;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use std::path::Path;

/// Builds the exception that `deathtensors.errors.make` chooses for the code.
/// What Python itself raised on the way is raised again as it was.
pub fn raise(py: Python<'_>, error: Error) -> PyErr {
    let cause = error.os_error().and_then(std::io::Error::get_ref);
    if let Some(raised) = cause.and_then(|cause| cause.downcast_ref::<PyErr>()) {
        return raised.clone_ref(py);
    }
    static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let build = || -> PyResult<PyErr> {
        let make = MAKE.get_or_try_init(py, || {
            py.import(intern!(py, "deathtensors.errors"))?
                .getattr(intern!(py, "make"))
                .map(Bound::unbind)
        })?;
        let detail = error.detail();
        let arguments = (
            error.code().as_str(),
            error.kind().as_str(),
            error.to_string(),
            error.tensor_name(),
            detail.expected_text(),
            detail.found_text(),
            error.path().map(Path::as_os_str),
            error.os_error().and_then(std::io::Error::raw_os_error),
        );
        Ok(PyErr::from_value(make.bind(py).call1(arguments)?))
    };
    build().unwrap_or_else(|failed| failed)
}
