//! Planning what to fetch for a look at a tensor.

use crate::convert::{flat, place, whole, wholes};
use crate::failure::{Failure, Result};
use crate::model::Model;
use alloc::format;
use alloc::vec::Vec;
use deathtensors_core::{Every, Window, WindowRequest, ranges, sample};
use wasm_bindgen::prelude::wasm_bindgen;

/// A planned window of a tensor.
#[wasm_bindgen]
pub struct WindowPlan(Window);

#[wasm_bindgen]
impl WindowPlan {
    /// Number of rows.
    #[wasm_bindgen(getter)]
    pub fn rows(&self) -> f64 {
        self.0.rows() as f64
    }

    /// Number of columns.
    #[wasm_bindgen(getter)]
    pub fn columns(&self) -> f64 {
        self.0.columns() as f64
    }

    /// The bytes that are needed, within the tensor: starts and ends.
    pub fn spans(&self) -> Vec<f64> {
        flat(self.0.spans())
    }

    /// The elements row by row, from the bytes of all spans, one after the other.
    pub fn values(&self, bytes: &[u8]) -> Result<Vec<f64>, Failure> {
        Ok(self.0.values(bytes)?)
    }
}

#[wasm_bindgen]
impl Model {
    /// Plans a window of a tensor. Rows and columns are `[start, count, step]`.
    pub fn window(
        &self,
        nth: f64,
        axes: Option<Vec<u32>>,
        index: Option<Vec<f64>>,
        rows: &[f64],
        columns: &[f64],
    ) -> Result<WindowPlan, Failure> {
        let tensor = self.tensor(nth)?;
        let axes = match axes.as_deref() {
            None => None,
            Some(&[down, across]) => Some((down as usize, across as usize)),
            Some(axes) => {
                return Err(Failure::new("usage.range", "a window has two axes")
                    .but("2 axes", format!("{}", axes.len())));
            }
        };
        let index = wholes(&index.unwrap_or_default(), "the index")?;
        let request = WindowRequest {
            axes,
            index: &index,
            rows: every(rows)?,
            columns: every(columns)?,
        };
        let plan = Window::new(tensor.dtype, tensor.shape, &request);
        Ok(WindowPlan(plan.map_err(|e| e.tensor(tensor.name))?))
    }

    /// Evenly spaced parts of a tensor, as starts and ends within it.
    pub fn sample(&self, nth: f64, most: f64) -> Result<Vec<f64>, Failure> {
        let tensor = self.tensor(nth)?;
        let most = whole(most, "the size of the sample")?;
        Ok(flat(&sample(tensor.dtype, tensor.nbytes(), most)))
    }
}

fn every(numbers: &[f64]) -> Result<Every> {
    let &[start, count, step] = numbers else {
        return Err(
            Failure::new("usage.range", "rows and columns are three numbers each").but(
                "start, count and step",
                format!("{} numbers", numbers.len()),
            ),
        );
    };
    // A count is a length of an array here.
    let count = place(count, "the count")? as u64;
    Ok(Every {
        start: whole(start, "the start")?,
        count,
        step: whole(step, "the step")?,
    })
}

/// Few fetches for many ranges. Ranges are starts and ends, one after the other.
#[wasm_bindgen]
pub fn coalesce(numbers: &[f64], gap: f64, longest: f64) -> Result<Vec<f64>, Failure> {
    let (pairs, []) = numbers.as_chunks::<2>() else {
        return Err(Failure::new("usage.range", "a start has no end"));
    };
    let mut wanted = Vec::with_capacity(pairs.len());
    for &[start, end] in pairs {
        wanted.push(whole(start, "a start")?..whole(end, "an end")?);
    }
    let (gap, longest) = (whole(gap, "the gap")?, whole(longest, "the longest fetch")?);
    Ok(flat(&ranges::coalesce(&wanted, gap, longest)))
}
