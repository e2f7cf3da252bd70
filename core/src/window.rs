//! Parts of a tensor that people look at: two-dimensional windows and samples.
//!
//! Both are planned from dtype and shape alone, as spans of bytes within the tensor.
//! Whoever fetched them hands them back, and gets elements.

use crate::dtype::{Dtype, Unit};
use crate::error::{Code, Error, Result};
use crate::stats::decode_f64;
use alloc::format;
use alloc::vec::Vec;
use core::ops::Range;

/// Some places on an axis: `count` of them, every `step`th from `start` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Every {
    /// The first place.
    pub start: u64,
    /// How many places.
    pub count: u64,
    /// From one place to the next; at least 1.
    pub step: u64,
}

/// Which two-dimensional slice of a tensor is wanted.
#[derive(Clone, Copy, Debug)]
pub struct WindowRequest<'a> {
    /// The axes that run down and across; the last two of the tensor unless told. A
    /// tensor of rank 1 is one row and a scalar one cell, whatever is told.
    pub axes: Option<(usize, usize)>,
    /// A place on every axis, those of the two axes being ignored; all zero if empty.
    pub index: &'a [u64],
    /// Which rows.
    pub rows: Every,
    /// Which columns.
    pub columns: Every,
}

/// A planned window.
#[derive(Clone, Debug)]
pub struct Window {
    unit: Unit,
    dtype: Dtype,
    /// Elements are gathered line by line: the rows, or the columns where those lie
    /// closer together in memory.
    lines: Line,
    inner: Line,
    transposed: bool,
    /// The place of the first element.
    first: u64,
    spans: Vec<Range<u64>>,
    /// Where each span starts in the bytes of all of them together.
    starts: Vec<u64>,
}

/// How many, and how many elements apart.
#[derive(Clone, Copy, Debug)]
struct Line {
    count: u64,
    pitch: u64,
}

impl Unit {
    /// The bytes of the units that hold elements `first..=last`.
    fn bytes_of(self, first: u64, last: u64) -> Range<u64> {
        let (from, to) = (first / self.elements, last / self.elements);
        from * self.bytes..(to + 1) * self.bytes
    }
}

/// A tensor's axis.
#[derive(Clone, Copy)]
struct Axis {
    length: u64,
    /// Elements from one place to the next.
    stride: u64,
}

impl Window {
    /// Most cells of a window.
    pub const MOST_CELLS: u64 = 1 << 24;
    /// Most bytes that a window may ask for.
    pub const MOST_BYTES: u64 = 1 << 30;
    /// Most spans that a window may ask for.
    const MOST_SPANS: usize = 1 << 20;
    /// Bytes between two wanted elements that are read rather than skipped.
    const SHORT_STEP: u64 = 256;
    /// A strided line of up to so many bytes is read whole.
    const SHORT_LINE: u64 = 64 << 10;

    /// Plans a window of a tensor.
    ///
    /// # Errors
    /// `usage.range` for axes or places that the tensor does not have, and for a
    /// window that is too large.
    pub fn new(dtype: Dtype, shape: &[u64], request: &WindowRequest<'_>) -> Result<Self> {
        dtype.nbytes(shape)?;
        let [down, across] = chosen_axes(shape, request.axes)?;
        check_places(request.rows, down.length, "rows")?;
        check_places(request.columns, across.length, "columns")?;
        let (rows, columns) = (request.rows, request.columns);
        let cells = rows.count.saturating_mul(columns.count);
        // An empty axis may be one that is not looked at.
        if cells > 0 && shape.contains(&0) {
            return Err(refuse("the tensor has no elements")
                .expected("a window without cells")
                .found(format!("{cells} cells")));
        }
        if cells > Self::MOST_CELLS {
            return Err(too_large(
                &format!("at most {} cells", Self::MOST_CELLS),
                cells,
            ));
        }
        // Every element that is meant lies within the tensor, whose size was checked,
        // so that nothing below overflows; an empty window means none.
        let pitch = |every: Every, axis: Axis| Line {
            count: every.count,
            pitch: every.step.saturating_mul(axis.stride),
        };
        let at = |every: Every, axis: Axis| every.start.saturating_mul(axis.stride);
        let first = fixed_places(shape, request)?
            .saturating_add(at(rows, down))
            .saturating_add(at(columns, across));
        let (row_line, column_line) = (pitch(rows, down), pitch(columns, across));
        let transposed = (down.stride, across.length) < (across.stride, down.length);
        let (lines, inner) = if transposed {
            (column_line, row_line)
        } else {
            (row_line, column_line)
        };
        let mut window = Self {
            unit: dtype.unit(),
            dtype,
            lines,
            inner,
            transposed,
            first,
            spans: Vec::new(),
            starts: Vec::new(),
        };
        window.plan_spans(cells)?;
        Ok(window)
    }

    /// Number of rows.
    pub fn rows(&self) -> u64 {
        if self.transposed {
            self.inner.count
        } else {
            self.lines.count
        }
    }

    /// Number of columns.
    pub fn columns(&self) -> u64 {
        if self.transposed {
            self.lines.count
        } else {
            self.inner.count
        }
    }

    /// The bytes that are needed, relative to the tensor's start, sorted and apart.
    pub fn spans(&self) -> &[Range<u64>] {
        &self.spans
    }

    /// Length of all spans together, in bytes.
    pub fn nbytes(&self) -> u64 {
        match (self.starts.last(), self.spans.last()) {
            (Some(start), Some(span)) => start + (span.end - span.start),
            _ => 0,
        }
    }

    /// The elements row by row, as [`decode_f64`] makes them, from the bytes of all
    /// spans, one after the other.
    ///
    /// # Errors
    /// `usage.data_size` when `bytes` are not as many as the spans.
    pub fn values(&self, bytes: &[u8]) -> Result<Vec<f64>> {
        if bytes.len() as u64 != self.nbytes() {
            return Err(
                Error::new(Code::UsageDataSize, "the bytes are not those of the window")
                    .expected(format!("{} bytes", self.nbytes()))
                    .found(format!("{} bytes", bytes.len())),
            );
        }
        let (lines, inner) = (self.lines.count as usize, self.inner.count as usize);
        let mut out = alloc::vec![0.0; lines * inner];
        let (mut raw, mut line) = (Vec::new(), Vec::new());
        for nth in 0..lines {
            line.clear();
            self.gather(nth as u64, bytes, &mut raw, &mut line);
            let (from, step) = if self.transposed {
                (nth, lines)
            } else {
                (nth * inner, 1)
            };
            let cells = out.iter_mut().skip(from).step_by(step);
            cells.zip(&line).for_each(|(cell, &value)| *cell = value);
        }
        Ok(out)
    }

    /// Appends a line's elements to `line`.
    fn gather(&self, nth: u64, bytes: &[u8], raw: &mut Vec<u8>, line: &mut Vec<f64>) {
        let first = self.first + nth * self.lines.pitch;
        if self.inner.pitch == 1 {
            let span = self
                .unit
                .bytes_of(first, first + self.inner.count.saturating_sub(1));
            decode_f64(self.dtype, self.held(&span, bytes), line);
            let before = (first % self.unit.elements) as usize;
            line.drain(..before.min(line.len()));
            return;
        }
        raw.clear();
        let places = (0..self.inner.count).map(|n| first + n * self.inner.pitch);
        for place in places.clone() {
            raw.extend_from_slice(self.held(&self.unit.bytes_of(place, place), bytes));
        }
        decode_f64(self.dtype, raw, line);
        let unit = self.unit.elements as usize;
        if unit > 1 {
            for (nth, place) in places.enumerate() {
                let from = nth * unit + place as usize % unit;
                if let Some(&value) = line.get(from)
                    && let Some(cell) = line.get_mut(nth)
                {
                    *cell = value;
                }
            }
            line.truncate(self.inner.count as usize);
        }
    }

    /// The bytes of a part of the tensor that lies within one of the spans.
    fn held<'a>(&self, part: &Range<u64>, bytes: &'a [u8]) -> &'a [u8] {
        let nth = self.spans.partition_point(|span| span.end <= part.start);
        let found = self
            .spans
            .get(nth)
            .zip(self.starts.get(nth))
            .and_then(|(span, start)| {
                let from = start + part.start.checked_sub(span.start)?;
                bytes.get(from as usize..(from + (part.end - part.start)) as usize)
            });
        found.unwrap_or_default()
    }

    fn plan_spans(&mut self, cells: u64) -> Result<()> {
        if cells == 0 {
            return Ok(());
        }
        let extent = (self.inner.count - 1) * self.inner.pitch;
        let per_unit = |elements: u64| elements / self.unit.elements * self.unit.bytes;
        let whole = self.inner.pitch == 1
            || per_unit(self.inner.pitch) <= Self::SHORT_STEP
            || per_unit(extent) <= Self::SHORT_LINE;
        for nth in 0..self.lines.count {
            let first = self.first + nth * self.lines.pitch;
            if whole {
                self.push(self.unit.bytes_of(first, first + extent))?;
                continue;
            }
            for n in 0..self.inner.count {
                let place = first + n * self.inner.pitch;
                self.push(self.unit.bytes_of(place, place))?;
            }
        }
        if self.nbytes() > Self::MOST_BYTES {
            return Err(too_large(
                &format!("at most {} bytes", Self::MOST_BYTES),
                self.nbytes(),
            ));
        }
        Ok(())
    }

    /// Adds a span that does not start before the last one does.
    fn push(&mut self, span: Range<u64>) -> Result<()> {
        let (start, count) = (self.nbytes(), self.spans.len());
        match self.spans.last_mut() {
            Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
            _ if count >= Self::MOST_SPANS => {
                let most = format!("at most {} separate pieces", Self::MOST_SPANS);
                return Err(too_large(&most, "more"));
            }
            _ => {
                self.starts.push(start);
                self.spans.push(span);
            }
        }
        Ok(())
    }
}

fn refuse(message: &str) -> Error {
    Error::new(Code::UsageRange, message)
}

fn too_large(most: &str, found: impl alloc::string::ToString) -> Error {
    refuse("the window is too large")
        .expected(most)
        .found(found)
}

/// The axes that run down and across.
fn chosen_axes(shape: &[u64], axes: Option<(usize, usize)>) -> Result<[Axis; 2]> {
    const ONE: Axis = Axis {
        length: 1,
        stride: u64::MAX,
    };
    let stride = |axis: usize| {
        let inner = shape.iter().skip(axis + 1);
        inner.fold(1u64, |product, &dim| product.saturating_mul(dim))
    };
    let axis = |axis: usize| {
        let length = shape.get(axis).copied();
        length.map(|length| Axis {
            length,
            stride: stride(axis),
        })
    };
    let (down, across) = match (shape.len(), axes) {
        (0, _) => {
            return Ok([
                ONE,
                Axis {
                    length: 1,
                    stride: 1,
                },
            ]);
        }
        (1, _) => return Ok([ONE, axis(0).unwrap_or(ONE)]),
        (_, Some(axes)) => axes,
        (rank, None) => (rank - 2, rank - 1),
    };
    match (axis(down), axis(across)) {
        (Some(a), Some(b)) if down != across => Ok([a, b]),
        _ => Err(refuse("the tensor has no such pair of axes")
            .expected(format!("two different ones below {}", shape.len()))
            .found(format!("{down} and {across}"))),
    }
}

fn check_places(every: Every, length: u64, what: &str) -> Result<()> {
    let last = every
        .count
        .saturating_sub(1)
        .checked_mul(every.step)
        .and_then(|n| n.checked_add(every.start));
    let inside = match every.count {
        0 => every.start <= length,
        _ => last.is_some_and(|last| last < length),
    };
    if inside && every.step > 0 {
        return Ok(());
    }
    Err(
        refuse(&format!("the window's {what} are outside the tensor"))
            .expected(format!("{what} below {length}, and a step of at least 1"))
            .found(format!(
                "{} from {} in steps of {}",
                every.count, every.start, every.step
            )),
    )
}

/// The place of the first element of the slice that `index` chooses.
fn fixed_places(shape: &[u64], request: &WindowRequest<'_>) -> Result<u64> {
    let rank = shape.len();
    if rank < 2 || request.index.is_empty() {
        return Ok(0);
    }
    if request.index.len() != rank {
        return Err(refuse("the index has another rank than the tensor")
            .expected(format!("{rank} places"))
            .found(request.index.len()));
    }
    let (down, across) = request.axes.unwrap_or((rank - 2, rank - 1));
    let (mut place, mut stride) = (0u64, 1u64);
    for (axis, (&dim, &at)) in shape.iter().zip(request.index).enumerate().rev() {
        if axis != down && axis != across {
            if at >= dim {
                return Err(refuse("the index is outside the tensor")
                    .expected(format!("a place below {dim} on axis {axis}"))
                    .found(at));
            }
            place = place.saturating_add(at.saturating_mul(stride));
        }
        stride = stride.saturating_mul(dim);
    }
    Ok(place)
}

/// Evenly spaced spans of a tensor of `nbytes` bytes, `most` bytes at most together,
/// the first at its start and the last at its end; or all of it, when it is no longer
/// than that. They hold whole elements, a single one where `most` has room for none,
/// and depend on nothing but the arguments.
pub fn sample(dtype: Dtype, nbytes: u64, most: u64) -> Vec<Range<u64>> {
    // Pieces cost a request or a frame each, so there are few.
    const PIECES: u64 = 16;
    const SHORTEST: u64 = 4096;
    let unit = dtype.unit().bytes;
    let (units, budget) = (nbytes / unit, most.min(nbytes) / unit);
    if nbytes == 0 || nbytes <= most {
        return Vec::from_iter((nbytes > 0).then_some(0..nbytes));
    }
    let pieces = (most / SHORTEST).clamp(1, PIECES);
    let length = (budget / pieces).max(1);
    let room = units.saturating_sub(length);
    let start = |nth: u64| match pieces {
        1 => room / 2,
        _ => (u128::from(room) * u128::from(nth) / u128::from(pieces - 1)) as u64,
    };
    (0..pieces)
        .map(|nth| start(nth) * unit..(start(nth) + length) * unit)
        .collect()
}

#[cfg(test)]
mod tests;
