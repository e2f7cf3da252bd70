//! Frames of a compressed blob and the seek table that finds them.
//!
//! The blob is a stream in the Zstandard Seekable Format 0.1.0 (zstd,
//! contrib/seekable_format): independent frames, then a skippable frame that
//! lists their sizes. What a frame holds is decided by [`plan_frames`] from sizes
//! alone; how a frame's bytes become data is a [`Codec`]'s business.

use crate::catalogue::{Catalogue, part};
use crate::error::{Code, Error, Result};
use crate::header::Header;
use crate::limits::Limits;
use crate::order;
use crate::prefix::u32_at;
use alloc::format;
use alloc::vec::Vec;
use core::ops::Range;

/// Uncompressed length of a frame in bytes, unless the writer is told otherwise.
pub const FRAME_BYTES: u64 = 256 << 10;

const SKIPPABLE_MAGIC: u32 = 0x184d_2a5e;
const TABLE_MAGIC: u32 = 0x8f92_eab1;
const SKIPPABLE_HEADER: u64 = 8;
const TAIL: u64 = 9;
/// The seekable format's own cap, which keeps a table's length within 32 bits.
const MOST_FRAMES: u64 = 0x0800_0000;
const LONGEST_GUESS: u64 = 4 << 20;
const CHECKSUM_FLAG: u8 = 0x80;
const RESERVED_BITS: u8 = 0x7c;

/// Refuses lengths that no zstd stream can have, before memory is set aside for
/// them: a block takes at least 4 bytes and holds at most 128 KiB.
///
/// # Errors
/// `frames.short`.
pub fn check_expansion(stored: u64, data: u64) -> Result<()> {
    const MOST: u64 = (128 << 10) / 4;
    if data <= stored.saturating_mul(MOST) {
        return Ok(());
    }
    Err(Error::new(
        Code::FramesShort,
        "the compressed data is too short for what it is said to hold",
    )
    .expected(format!("{data} bytes of data"))
    .found(format!("{stored} bytes stored")))
}

/// Turns a stored frame into its data.
pub trait Codec {
    /// Decodes one frame into `out`, which is exactly as long as its data.
    ///
    /// # Errors
    /// `frames.decode`, `frames.inflate`, `frames.short` or `frames.checksum`.
    fn decode(&self, stored: &[u8], out: &mut [u8]) -> Result<()>;
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its bytes as stored, from the start of the blob.
    pub stored: Range<u64>,
    /// What it holds, in the uncompressed blob.
    pub data: Range<u64>,
}

/// Where every frame is: ends of stored bytes and of data, running.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrameTable {
    ends: Vec<(u64, u64)>,
}

impl FrameTable {
    /// Number of frames.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// All frames, in order.
    pub fn frames(&self) -> impl ExactSizeIterator<Item = Frame> + '_ {
        (0..self.len()).map(|nth| {
            self.frame(nth).unwrap_or(Frame {
                stored: 0..0,
                data: 0..0,
            })
        })
    }

    /// The frame at that place.
    pub fn frame(&self, nth: usize) -> Option<Frame> {
        let end = *self.ends.get(nth)?;
        let start = nth
            .checked_sub(1)
            .and_then(|n| self.ends.get(n))
            .copied()
            .unwrap_or((0, 0));
        Some(Frame {
            stored: start.0..end.0,
            data: start.1..end.1,
        })
    }

    /// The frames that hold a span of the uncompressed blob.
    pub fn covering(&self, data: &Range<u64>) -> Range<usize> {
        if data.start >= data.end {
            return 0..0;
        }
        let first = self.ends.partition_point(|end| end.1 <= data.start);
        let last = self.ends.partition_point(|end| end.1 < data.end);
        first..(last + 1).min(self.len())
    }

    /// Stored and data bytes of all frames together.
    pub fn totals(&self) -> (u64, u64) {
        self.ends.last().copied().unwrap_or((0, 0))
    }

    /// Adds a frame after the last one. Lengths in bytes.
    ///
    /// # Errors
    /// `limit.inflated_bytes` when a length does not fit the table's 32 bits, or the
    /// table is full.
    pub fn push(&mut self, stored: u64, data: u64) -> Result<()> {
        let most = u64::from(u32::MAX);
        if stored > most || data > most {
            return Err(Error::new(
                Code::LimitInflated,
                "a frame is too long for the seek table",
            )
            .expected(format!("at most {most} bytes"))
            .found(format!("{data} bytes stored as {stored}")));
        }
        if self.len() as u64 >= MOST_FRAMES {
            return Err(Error::new(
                Code::LimitInflated,
                "there are too many frames for the seek table",
            )
            .expected(format!("at most {MOST_FRAMES}, or longer frames")));
        }
        let (s, d) = self.totals();
        self.ends.push((s + stored, d + data));
        Ok(())
    }

    /// The seek table as it stands on disk, a skippable frame.
    pub fn emit(&self) -> Vec<u8> {
        let body = self.len() * 8 + TAIL as usize;
        let mut out = Vec::with_capacity(body + SKIPPABLE_HEADER as usize);
        out.extend_from_slice(&SKIPPABLE_MAGIC.to_le_bytes());
        out.extend_from_slice(&(body as u32).to_le_bytes());
        for frame in self.frames() {
            // `push` keeps every length within 32 bits.
            out.extend_from_slice(&((frame.stored.end - frame.stored.start) as u32).to_le_bytes());
            out.extend_from_slice(&((frame.data.end - frame.data.start) as u32).to_le_bytes());
        }
        out.extend_from_slice(&(self.len() as u32).to_le_bytes());
        out.push(0);
        out.extend_from_slice(&TABLE_MAGIC.to_le_bytes());
        out
    }
}

/// What [`TableOpening::feed`] answers.
#[derive(Debug)]
pub enum TableStep {
    /// Read these bytes of the file next, end exclusive.
    More(Range<u64>),
    /// The table.
    Ready(FrameTable),
    /// The blob has no seek table, as 0.3.0 wrote it: decode it from its start.
    Absent,
}

/// Finds and checks the seek table of a compressed file by asking for bytes.
#[derive(Clone, Debug)]
pub struct TableOpening {
    blob: Range<u64>,
    data_bytes: u64,
    need: Range<u64>,
    limits: Limits,
}

impl TableOpening {
    /// Starts on a compressed file.
    pub fn new(catalogue: &Catalogue) -> Self {
        let blob = catalogue.blob();
        let tail = blob.end.saturating_sub(TAIL).max(blob.start);
        Self {
            need: tail..blob.end,
            blob,
            data_bytes: catalogue.data_bytes(),
            limits: *catalogue.limits(),
        }
    }

    /// Starts with a guess at the table's length, for readers to whom a step is
    /// dear: the length it has when this crate's planner wrote the file.
    pub fn guessing(catalogue: &Catalogue) -> Self {
        let mut opening = Self::new(catalogue);
        // Counted, not listed: the sizes are only the header's word.
        let runs = runs(catalogue.header(), 0, FRAME_BYTES);
        let frames = runs
            .iter()
            .map(|run| (run.end - run.start).div_ceil(FRAME_BYTES))
            .fold(0, u64::saturating_add);
        let table = frames
            .saturating_mul(8)
            .saturating_add(SKIPPABLE_HEADER + TAIL)
            .min(LONGEST_GUESS);
        let start = opening.blob.end.saturating_sub(table);
        opening.need.start = start.max(opening.blob.start);
        opening
    }

    /// The bytes wanted next.
    pub fn need(&self) -> Range<u64> {
        self.need.clone()
    }

    /// Takes bytes of the file from `offset` on. As in [`crate::Opening::feed`], more
    /// than what is needed may save a step.
    ///
    /// # Errors
    /// `frames.table` for a malformed table, `frames.table_sizes` for one that
    /// disagrees with the blob or with the header, `limit.memory`.
    pub fn feed(&mut self, offset: u64, bytes: &[u8]) -> Result<TableStep> {
        let Some(wanted) = part(&self.need, offset, bytes) else {
            return Ok(TableStep::More(self.need.clone()));
        };
        let tail = wanted
            .len()
            .checked_sub(TAIL as usize)
            .and_then(|at| wanted.get(at..));
        let Some(tail) = tail.filter(|t| u32_at(t, 5) == Some(TABLE_MAGIC)) else {
            return Ok(TableStep::Absent);
        };
        let frames = u64::from(u32_at(tail, 0).unwrap_or(0));
        let descriptor = tail.get(4).copied().unwrap_or(0);
        if descriptor & RESERVED_BITS != 0 {
            return Err(malformed(
                "its reserved bits are set",
                "zero bits 2 to 6",
                format!("descriptor {descriptor:#04x}"),
            ));
        }
        let entry = if descriptor & CHECKSUM_FLAG != 0 {
            12
        } else {
            8
        };
        if frames > MOST_FRAMES {
            return Err(malformed(
                "it lists too many frames",
                &format!("at most {MOST_FRAMES}"),
                format!("{frames}"),
            ));
        }
        let table = SKIPPABLE_HEADER + frames * entry + TAIL;
        let blob_bytes = self.blob.end - self.blob.start;
        if table > blob_bytes {
            return Err(malformed(
                "it is longer than the blob",
                &format!("at most {blob_bytes} bytes"),
                format!("{table} bytes for {frames} frames"),
            ));
        }
        self.limits.check_table(table)?;
        let exact = self.blob.end - table..self.blob.end;
        match part(&exact, offset, bytes) {
            Some(bytes) => self.parse(bytes, table, entry).map(TableStep::Ready),
            None => {
                self.need = exact;
                Ok(TableStep::More(self.need.clone()))
            }
        }
    }

    fn parse(&self, bytes: &[u8], table: u64, entry: u64) -> Result<FrameTable> {
        if u32_at(bytes, 0) != Some(SKIPPABLE_MAGIC) {
            return Err(malformed(
                "it is not a skippable frame",
                "the magic 0x184d2a5e",
                "another".into(),
            ));
        }
        let declared = u32_at(bytes, 4).map(u64::from);
        if declared != Some(table - SKIPPABLE_HEADER) {
            return Err(malformed(
                "its frame has another length",
                &format!("{} bytes", table - SKIPPABLE_HEADER),
                format!("{} bytes", declared.unwrap_or(0)),
            ));
        }
        let body = bytes
            .get(SKIPPABLE_HEADER as usize..bytes.len() - TAIL as usize)
            .unwrap_or_default();
        let mut found = FrameTable {
            ends: Vec::with_capacity(body.len() / entry as usize),
        };
        let (mut stored, mut data) = (0u64, 0u64);
        for item in body.chunks_exact(entry as usize) {
            let bytes = u32_at(item, 0).unwrap_or(0);
            if bytes == 0 {
                let found = "0 bytes".into();
                return Err(malformed("a frame has no bytes", "at least one", found));
            }
            stored += u64::from(bytes);
            data += u64::from(u32_at(item, 4).unwrap_or(0));
            found.ends.push((stored, data));
        }
        let room = self.blob.end - self.blob.start - table;
        if stored != room {
            return Err(Error::new(
                Code::FramesTableSizes,
                "the seek table's frames do not fill the blob",
            )
            .expected(format!("{room} bytes stored"))
            .found(format!("{stored} bytes")));
        }
        if data != self.data_bytes {
            return Err(Error::new(
                Code::FramesTableSizes,
                "the seek table's frames do not hold the tensors' data",
            )
            .expected(format!("{} bytes of data", self.data_bytes))
            .found(format!("{data} bytes")));
        }
        found.frames().try_for_each(|frame| {
            check_expansion(
                frame.stored.end - frame.stored.start,
                frame.data.end - frame.data.start,
            )
        })?;
        Ok(found)
    }
}

fn malformed(why: &str, expected: &str, found: alloc::string::String) -> Error {
    Error::new(Code::FramesTable, format!("malformed seek table: {why}"))
        .expected(expected)
        .found(found)
}

/// Cuts the uncompressed blob into frames of at most `frame_bytes`, from sizes
/// alone. A frame never crosses from one tensor into the next when either is
/// longer than a frame; small neighbours share one; a long tensor is cut into
/// full frames and a rest. Gaps go with what follows them.
pub fn plan_frames(header: &Header, frame_bytes: u64) -> Vec<Range<u64>> {
    plan_frames_from(header, 0, frame_bytes)
}

/// The same for the data from `start` on, which is where frames begin.
pub(crate) fn plan_frames_from(header: &Header, start: u64, frame_bytes: u64) -> Vec<Range<u64>> {
    let frame_bytes = frame_bytes.clamp(1, u64::from(u32::MAX));
    let mut frames = Vec::new();
    for Range { mut start, end } in runs(header, start, frame_bytes) {
        while end - start > frame_bytes {
            frames.push(start..start + frame_bytes);
            start += frame_bytes;
        }
        frames.push(start..end);
    }
    frames
}

/// What is cut into frames independently: small neighbours that share a frame,
/// or one tensor that is longer than a frame.
fn runs(header: &Header, start: u64, frame_bytes: u64) -> Vec<Range<u64>> {
    let spans = header.tensors().map(|t| (t.start, t.end));
    let mut spans: Vec<_> = spans.filter(|s| s.0 < s.1 && s.0 >= start).collect();
    if !spans.is_sorted() {
        order::sort(&mut spans);
    }
    let mut runs = Vec::new();
    let mut open = start..start;
    for (_, end) in spans {
        if end <= open.end {
            continue; // an alias
        }
        if end - open.start > frame_bytes && open.start < open.end {
            runs.push(open.clone());
            open.start = open.end;
        }
        open.end = end;
        if end - open.start > frame_bytes {
            runs.push(open.clone());
            open.start = end;
        }
    }
    if open.start < open.end {
        runs.push(open);
    }
    runs
}
