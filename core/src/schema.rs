//! Holding a file against what its user expects, from the header alone.

mod text;

use crate::dtype::{Dtype, Shape};
use crate::error::{Code, Error, Result};
use crate::header::{Header, TensorInfo, nearest};
use crate::order;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// What a tensor should be like. What is left out is not checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expectation {
    /// The type of its elements.
    pub dtype: Option<Dtype>,
    /// Its dimensions, outermost first; `None` in place of one is any size.
    pub shape: Option<Vec<Option<u64>>>,
    /// Keys that its metadata must have, whatever their values.
    pub metadata_keys: Vec<String>,
}

/// The tensors that a file should have.
///
/// ```
/// # use deathtensors_core::{Dtype, Expectation, Header, Schema};
/// # fn check(header: &Header) -> deathtensors_core::Result<()> {
/// let mut schema = Schema::default();
/// let shape = Some(vec![None, Some(768)]);
/// let dtype = Some(Dtype::F32);
/// schema.expect("embedding", Expectation { dtype, shape, ..Default::default() });
/// schema.allow_extra(true);
/// schema.validate(header)
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Schema {
    tensors: BTreeMap<String, Expectation>,
    allow_extra: bool,
}

impl Schema {
    /// Expects a tensor of that name. The last expectation for a name holds.
    pub fn expect(&mut self, name: &str, expectation: Expectation) {
        self.tensors.insert(name.into(), expectation);
    }

    /// Whether tensors that are not expected are fine. They are not by default.
    pub fn allow_extra(&mut self, allow: bool) {
        self.allow_extra = allow;
    }

    /// Everything in which the file differs from the schema: first tensors that
    /// are missing, then those that are too many, then those that are different,
    /// each sorted by name. All have the code `schema.mismatch`.
    pub fn problems(&self, header: &Header) -> Vec<Error> {
        let mut problems = Vec::new();
        self.push_missing(header, &mut problems);
        if !self.allow_extra {
            let mut names: Vec<_> = self.extra_names(header).collect();
            order::sort(&mut names);
            problems.extend(names.into_iter().map(|name| {
                mismatch(
                    name,
                    "the schema does not know this tensor, nor allows extra ones",
                )
            }));
        }
        for (name, expectation) in &self.tensors {
            if let Some(tensor) = header.find(name) {
                compare(&tensor, expectation, &mut problems);
            }
        }
        problems
    }

    /// Checks a file.
    ///
    /// # Errors
    /// `schema.mismatch`: the problem, or when there are several, how many and
    /// the first few of them.
    pub fn validate(&self, header: &Header) -> Result<()> {
        const LISTED: usize = 3;
        let mut problems = self.problems(header);
        let count = problems.len();
        if count < 2 {
            return problems.pop().map_or(Ok(()), Err);
        }
        let listed: Vec<_> = problems.iter().take(LISTED).map(Error::to_string).collect();
        let more = match count - listed.len() {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        let text = format!(
            "the file breaks the schema in {count} ways: {}{more}",
            listed.join("; ")
        );
        Err(Error::new(Code::SchemaMismatch, text))
    }

    fn extra_names<'a>(&self, header: &'a Header) -> impl Iterator<Item = &'a str> {
        let names = header.tensors().map(|t| t.name);
        names.filter(|name| !self.tensors.contains_key(*name))
    }

    fn push_missing(&self, header: &Header, problems: &mut Vec<Error>) {
        // Looking for a likely name costs a pass over all of them.
        const SUGGESTIONS: usize = 8;
        let missing = self
            .tensors
            .keys()
            .filter(|name| header.position(name).is_none());
        for (nth, name) in missing.enumerate() {
            let error = mismatch(name, "the tensor is missing");
            let near = (nth < SUGGESTIONS).then(|| nearest(name, self.extra_names(header)));
            problems.push(match near.flatten() {
                Some(near) => error.found(format!("'{near}', which is not expected")),
                None => error,
            });
        }
    }
}

fn mismatch(name: &str, message: &str) -> Error {
    Error::new(Code::SchemaMismatch, message).tensor(name)
}

fn compare(tensor: &TensorInfo<'_>, expectation: &Expectation, problems: &mut Vec<Error>) {
    let Expectation {
        dtype,
        shape,
        metadata_keys,
    } = expectation;
    if let Some(dtype) = dtype.filter(|&dtype| dtype != tensor.dtype) {
        let error = mismatch(tensor.name, "the dtype is not as expected");
        problems.push(error.expected(dtype).found(tensor.dtype));
    }
    if let Some(shape) = shape
        .as_ref()
        .filter(|shape| !shape_fits(shape, tensor.shape))
    {
        let error = mismatch(tensor.name, "the shape is not as expected");
        problems.push(
            error
                .expected(shape_text(shape))
                .found(Shape(tensor.shape).to_string()),
        );
    }
    for key in metadata_keys
        .iter()
        .filter(|key| tensor.metadata.get(key).is_none())
    {
        let error = mismatch(tensor.name, "the metadata lacks a key");
        problems.push(error.expected(format!("'{key}'")));
    }
}

fn shape_fits(wanted: &[Option<u64>], shape: &[u64]) -> bool {
    let fits = |(wanted, dim): (&Option<u64>, &u64)| wanted.is_none_or(|wanted| wanted == *dim);
    wanted.len() == shape.len() && wanted.iter().zip(shape).all(fits)
}

fn shape_text(wanted: &[Option<u64>]) -> String {
    let dims: Vec<_> = wanted
        .iter()
        .map(|dim| dim.map_or("any".into(), |dim| dim.to_string()))
        .collect();
    format!("[{}]", dims.join(", "))
}
