//! Where the bytes of a span are: frames of a compressed file, or plain bytes.

use crate::codec::{Decoder, decode_blob};
use crate::convert::{MOST, pair, place, whole};
use crate::failure::{Failure, Result, memory};
use crate::model::{File, Model};
use alloc::format;
use alloc::vec::Vec;
use core::ops::Range;
use deathtensors_core::{
    Catalogue, Code, Codec, Error, FrameTable, TableOpening, TableStep, check_expansion,
    check_frame,
};
use wasm_bindgen::prelude::wasm_bindgen;

/// What is known about the frames.
pub(crate) enum Table {
    /// The data is not compressed.
    Plain,
    Unread(TableOpening),
    Frames(FrameTable),
    /// Compressed without a seek table.
    Absent,
}

impl Table {
    pub fn of(catalogue: &Catalogue) -> Self {
        match catalogue.flags().compressed {
            true => Self::Unread(TableOpening::guessing(catalogue)),
            false => Self::Plain,
        }
    }
}

/// How a piece is read.
const PLAIN: f64 = 0.0;
const FRAME: f64 = 1.0;
const WHOLE: f64 = 2.0;

#[wasm_bindgen]
impl Model {
    /// The bytes that the seek table wants next; undefined when nothing more is needed.
    #[wasm_bindgen(js_name = tableNeed)]
    pub fn table_need(&self) -> Option<Vec<f64>> {
        match &self.table {
            Table::Unread(opening) => Some(pair(&opening.need())),
            _ => None,
        }
    }

    /// Takes bytes of the file from `offset` on; whether that was all.
    #[wasm_bindgen(js_name = tableFeed)]
    pub fn table_feed(&mut self, offset: f64, bytes: &[u8]) -> Result<bool, Failure> {
        let offset = whole(offset, "the offset")?;
        let Table::Unread(opening) = &mut self.table else {
            return Ok(true);
        };
        self.table = match opening.feed(offset, bytes)? {
            TableStep::More(_) => return Ok(false),
            TableStep::Ready(table) => Table::Frames(table),
            TableStep::Absent => Table::Absent,
        };
        Ok(true)
    }

    /// How many frames the seek table lists; undefined without one.
    #[wasm_bindgen(js_name = frameCount)]
    pub fn frame_count(&self) -> Option<f64> {
        match &self.table {
            Table::Frames(table) => Some(table.len() as f64),
            _ => None,
        }
    }

    /// The pieces that hold a span of the uncompressed data, as groups of five: start
    /// and end in the file, start and end in the data, and how they are read.
    pub fn plan(&self, start: f64, end: f64) -> Result<Vec<f64>, Failure> {
        let (start, end) = (whole(start, "the start")?, whole(end, "the end")?);
        let data_bytes = self.header().data_bytes();
        if start > end || end > data_bytes {
            return Err(Failure::new("usage.range", "the span is outside the data")
                .but(format!("0 to {data_bytes}"), format!("{start} to {end}")));
        }
        let blob = self.data_range()?;
        if start == end {
            return Ok(Vec::new());
        }
        let piece = |stored: Range<u64>, data: Range<u64>, how: f64| {
            [
                stored.start as f64,
                stored.end as f64,
                data.start as f64,
                data.end as f64,
                how,
            ]
        };
        match &self.table {
            // The header was checked against the file, so that the sums are within it.
            Table::Plain => {
                Ok(piece(blob.start + start..blob.start + end, start..end, PLAIN).into())
            }
            Table::Unread(_) => Err(Failure::new(
                "usage.unavailable",
                "the seek table has not been read yet",
            )),
            Table::Absent => {
                self.check_inflated(data_bytes)?;
                Ok(piece(blob, 0..data_bytes, WHOLE).into())
            }
            Table::Frames(table) => {
                let mut plan = Vec::new();
                for nth in table.covering(&(start..end)) {
                    let Some(frame) = table.frame(nth) else { break };
                    if frame.data.start == frame.data.end {
                        continue;
                    }
                    self.check_inflated(frame.data.end - frame.data.start)?;
                    let stored = blob.start + frame.stored.start..blob.start + frame.stored.end;
                    plan.extend(piece(stored, frame.data, FRAME));
                }
                Ok(plan)
            }
        }
    }
}

impl Model {
    fn check_inflated(&self, bytes: u64) -> Result<()> {
        let most = self.limits.inflated_bytes.min(MOST);
        if bytes <= most || !matches!(self.file, File::Ours(_)) {
            // It is decoded as a whole, whatever part of it is wanted.
            return Ok(self.limits.check_memory(bytes)?);
        }
        Err(Error::new(
            Code::LimitInflated,
            "the data would inflate beyond the limit",
        )
        .expected(format!("at most {most} bytes"))
        .found(format!("{bytes} bytes"))
        .into())
    }
}

/// Decodes a frame of `data_bytes`, and answers `take` bytes of it from `skip` on.
#[wasm_bindgen(js_name = decodeFrame)]
pub fn decode_frame(
    stored: &[u8],
    data_bytes: f64,
    skip: f64,
    take: f64,
) -> Result<Vec<u8>, Failure> {
    let data_bytes = whole(data_bytes, "the frame's length")?;
    let (skip, take) = (place(skip, "what to skip")?, place(take, "what to take")?);
    check_expansion(stored.len() as u64, data_bytes)?;
    check_frame(stored, data_bytes)?;
    let mut out = memory(data_bytes)?;
    out.resize(data_bytes as usize, 0);
    Decoder.decode(stored, &mut out)?;
    let end = skip.checked_add(take).filter(|&end| end <= out.len());
    let Some(end) = end else {
        return Err(
            Failure::new("usage.range", "the part is outside the frame").but(
                format!("at most {data_bytes} bytes"),
                format!("{take} bytes from {skip}"),
            ),
        );
    };
    out.truncate(end);
    out.drain(..skip);
    Ok(out)
}

/// Whether a stream that begins so can be zstd.
#[wasm_bindgen(js_name = startsAsZstd)]
pub fn starts_as_zstd(stored: &[u8]) -> bool {
    deathtensors_core::starts_as_zstd(stored)
}

/// Decodes a blob without a seek table: any number of frames, one after the other.
#[wasm_bindgen(js_name = decodeWhole)]
pub fn decode_whole(stored: &[u8], data_bytes: f64) -> Result<Vec<u8>, Failure> {
    let data_bytes = whole(data_bytes, "the data's length")?;
    check_expansion(stored.len() as u64, data_bytes)?;
    Ok(decode_blob(
        stored,
        memory(data_bytes)?,
        data_bytes as usize,
    )?)
}
