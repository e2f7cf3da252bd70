//! Schemas.

use crate::errors::raise;
use crate::file::File;
use deathtensors::core::{Dtype, Expectation, Schema as CoreSchema};
use pyo3::prelude::*;
use std::sync::{Mutex, PoisonError};

#[pyclass(frozen, module = "deathtensors._deathtensors")]
pub struct Schema(Mutex<CoreSchema>);

impl Schema {
    fn with<T>(&self, work: impl FnOnce(&mut CoreSchema) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[pymethods]
impl Schema {
    #[new]
    fn new() -> Self {
        Self(Mutex::default())
    }

    #[pyo3(signature = (name, dtype, shape, metadata_keys))]
    fn expect(
        &self,
        py: Python<'_>,
        name: &str,
        dtype: Option<&str>,
        shape: Option<Vec<Option<u64>>>,
        metadata_keys: Option<Vec<String>>,
    ) -> PyResult<()> {
        let dtype = dtype
            .map(Dtype::parse)
            .transpose()
            .map_err(|e| raise(py, e.into()))?;
        let expectation = Expectation {
            dtype,
            shape,
            metadata_keys: metadata_keys.unwrap_or_default(),
        };
        self.with(|schema| schema.expect(name, expectation));
        Ok(())
    }

    fn allow_extra(&self, allow: bool) {
        self.with(|schema| schema.allow_extra(allow));
    }

    fn validate(&self, py: Python<'_>, file: &Bound<'_, File>) -> PyResult<()> {
        let open = file.get().open(py)?;
        self.with(|schema| schema.validate(open.header()))
            .map_err(|e| raise(py, deathtensors::Error::from(e).at(open.path())))
    }

    fn problems(&self, py: Python<'_>, file: &Bound<'_, File>) -> PyResult<Vec<String>> {
        let open = file.get().open(py)?;
        Ok(self
            .with(|schema| schema.problems(open.header()))
            .iter()
            .map(ToString::to_string)
            .collect())
    }
}
