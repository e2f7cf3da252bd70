//! Values to be saved, as the Python side describes them.

use crate::errors::raise;
use crate::memory::Held;
use crate::progress::Reporter;
use deathtensors::core::Code;
use deathtensors::{Dtype, Error, Result, TensorSpec, TensorWriter};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyMapping, PySequence, PyTuple};
use std::collections::BTreeMap;
use std::ops::Range;

/// What is to be saved, in order.
pub struct Sources {
    pub specs: Vec<TensorSpec>,
    data: Vec<Data>,
}

/// Where a tensor's bytes are, or how to get them when it is their turn.
enum Data {
    Here(Held),
    Later(Py<PyAny>),
    /// Tied to an earlier one.
    Elsewhere,
}

impl Sources {
    pub fn new(list: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = list.py();
        let ties = PyDict::new(py);
        let mut out = Self {
            specs: Vec::new(),
            data: Vec::new(),
        };
        for item in list.try_iter()? {
            let item = item?;
            let item = item.cast::<PyTuple>()?;
            let name: String = item.get_item(0)?.extract()?;
            let (spec, data) = Self::one(py, &name, item, &ties, &out)?;
            out.specs.push(spec);
            out.data.push(data);
        }
        Ok(out)
    }

    fn one(
        py: Python<'_>,
        name: &str,
        item: &Bound<'_, PyTuple>,
        ties: &Bound<'_, PyDict>,
        earlier: &Self,
    ) -> PyResult<(TensorSpec, Data)> {
        let failed = |error: Error| raise(py, error.tensor(name));
        let dtype = item.get_item(1)?;
        let dtype = Dtype::parse(&dtype.extract::<std::borrow::Cow<'_, str>>()?)
            .map_err(|e| failed(e.into()))?;
        let shape = sizes(&item.get_item(2)?).map_err(&failed)?;
        let mut spec = TensorSpec::new(name, dtype, shape);
        let metadata = item.get_item(4)?;
        if !metadata.is_none() {
            spec.metadata = strings(&metadata)?;
        }
        let nbytes = dtype.nbytes(&spec.shape).map_err(|e| failed(e.into()))?;
        let tie = item.get_item(5)?;
        if nbytes > 0 && !tie.is_none() {
            let shape = PyTuple::new(py, &spec.shape)?;
            let key = (tie, dtype.as_str(), shape).into_pyobject(py)?;
            if let Some(nth) = ties.get_item(&key)? {
                spec.alias_of = Some(nth.extract()?);
                return Ok((spec, Data::Elsewhere));
            }
            ties.set_item(key, earlier.specs.len())?;
        }
        let data = item.get_item(3)?;
        if data.is_callable() {
            return Ok((spec, Data::Later(data.unbind())));
        }
        let held = Held::new(&data)?;
        check_length(held.bytes(), nbytes).map_err(failed)?;
        Ok((spec, Data::Here(held)))
    }

    /// Pushes the bytes of the sources in `range`: what is here in one go, the
    /// rest one at a time, so that only one copy lives at once.
    pub fn feed(
        &self,
        range: Range<usize>,
        writer: &mut TensorWriter,
        progress: &mut Reporter,
    ) -> Result<()> {
        let mut here: Vec<&[u8]> = Vec::new();
        for (local, nth) in range.enumerate() {
            if !writer.wants(local) {
                continue;
            }
            // A tied tensor whose original is in another shard is stored again.
            let origin = match self.data.get(nth) {
                Some(Data::Elsewhere) => {
                    self.specs.get(nth).and_then(|s| s.alias_of).unwrap_or(nth)
                }
                _ => nth,
            };
            match self.data.get(origin) {
                Some(Data::Here(held)) => here.push(held.bytes()),
                Some(Data::Later(call)) => {
                    writer.push_all(&here, progress)?;
                    here.clear();
                    let spec = self.specs.get(nth);
                    let nbytes = spec
                        .and_then(|s| s.dtype.nbytes(&s.shape).ok())
                        .unwrap_or(0);
                    let held = progress.python(|py| Held::new(&call.bind(py).call0()?))?;
                    let name = spec.map_or("", |s| &s.name);
                    check_length(held.bytes(), nbytes).map_err(|e| e.tensor(name))?;
                    writer.push_all(&[held.bytes()], progress)?;
                    // Freeing what Python made needs the interpreter.
                    Python::attach(|_| drop(held));
                }
                _ => {
                    return Err(Error::new(
                        Code::UsageValue,
                        "a tied tensor has no original",
                    ));
                }
            }
        }
        writer.push_all(&here, progress)
    }
}

fn check_length(bytes: &[u8], nbytes: u64) -> Result<()> {
    if bytes.len() as u64 == nbytes {
        return Ok(());
    }
    let error = deathtensors::core::Error::new(
        Code::UsageDataSize,
        "the data is not as long as dtype and shape say",
    );
    Err(error
        .expected(format!("{nbytes} bytes"))
        .found(format!("{} bytes", bytes.len()))
        .into())
}

/// A shape: non-negative integers.
fn sizes(shape: &Bound<'_, PyAny>) -> Result<Vec<u64>> {
    let wrong = || {
        let error = deathtensors::core::Error::new(
            Code::UsageValue,
            "the shape is not a sequence of non-negative integers",
        );
        Error::from(error.found(shape.repr().map(|r| r.to_string()).unwrap_or_default()))
    };
    if let Ok(sizes) = shape.extract::<Vec<u64>>() {
        return Ok(sizes);
    }
    // torch.Size and the like, or NumPy integers.
    let items = shape.cast::<PySequence>().map_err(|_| wrong())?;
    items
        .try_iter()
        .map_err(|_| wrong())?
        .map(|item| item.ok()?.extract().ok())
        .collect::<Option<_>>()
        .ok_or_else(wrong)
}

/// A mapping of strings to strings.
pub fn strings(mapping: &Bound<'_, PyAny>) -> PyResult<BTreeMap<String, String>> {
    let mapping = mapping.cast::<PyMapping>()?;
    let mut out = BTreeMap::new();
    for pair in mapping.items()?.iter() {
        let (key, value): (String, String) = pair.extract()?;
        out.insert(key, value);
    }
    Ok(out)
}
