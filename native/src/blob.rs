//! How the data of a compressed blob is reached.

use crate::codec::Zstd;
use crate::error::{Error, Result};
use crate::file::TensorFile;
use crate::map::{Memory, make_present};
use crate::remote::BATCH_BYTES;
use crate::source::memory;
use deathtensors_core::{
    self as core, Code, Codec, Frame, FrameTable, TableOpening, TableStep, check_expansion,
    check_frame, starts_as_zstd,
};
use std::cell::RefCell;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// Frames longer than this are decoded once and kept: only files that 0.3.0 began
/// have them.
const LONG_FRAME: u64 = 32 << 20;

/// Frames stored in no more than this are read into memory that a thread keeps.
const NEAR_BYTES: u64 = 4 << 20;

/// A frame that was decoded for a part of it. Small tensors share frames and are
/// mostly read in order, so that the next part is in the same frame.
#[derive(Default)]
struct RecentFrame {
    /// The file's id and the frame's place.
    holds: Option<(u64, usize)>,
    data: Vec<u8>,
}

thread_local! {
    /// The last frame, and the one before it: two files may be read in turns.
    static RECENT: RefCell<[RecentFrame; 2]> = RefCell::default();

    /// Room for a frame as it is stored.
    static STORED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The data of a compressed blob.
#[derive(Debug)]
pub(crate) enum Blob {
    Frames(Frames),
    /// Without a seek table everything is decoded at once, on first use.
    Whole(Memory),
}

impl Blob {
    /// Frames by their table.
    pub fn frames(table: FrameTable) -> Self {
        Self::Frames(Frames {
            table,
            long: Mutex::default(),
        })
    }
}

/// Frames that are decoded when something in them is asked for.
#[derive(Debug)]
pub(crate) struct Frames {
    pub table: FrameTable,
    long: Mutex<Vec<(usize, Arc<Memory>)>>,
}

impl TensorFile {
    pub(crate) fn blob(&self) -> Result<&Blob> {
        if let Some(blob) = self.blob.get() {
            return Ok(blob);
        }
        let _one_at_a_time = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(blob) = self.blob.get() {
            return Ok(blob);
        }
        let blob = match self.find_table()? {
            TableStep::Ready(table) => Blob::frames(table),
            _ => Blob::Whole(self.decode_whole()?),
        };
        Ok(self.blob.get_or_init(|| blob))
    }

    pub(crate) fn find_table(&self) -> Result<TableStep> {
        let mut opening = TableOpening::guessing(self.catalogue());
        loop {
            let need = opening.need();
            let mut bytes = memory(need.end - need.start)?;
            self.source.copy_into(need.start, &mut bytes)?;
            match opening
                .feed(need.start, &bytes)
                .map_err(|e| Error::from(e).at(self.path()))?
            {
                TableStep::More(_) => {}
                found => return Ok(found),
            }
        }
    }

    /// Decodes a blob without a seek table, trusting no length in it.
    fn decode_whole(&self) -> Result<Memory> {
        let refuse = |e: core::Error| Error::from(e).at(self.path());
        let wanted = self.within_limit(self.catalogue().data_bytes())?;
        let blob = self.catalogue().blob();
        check_expansion(blob.end - blob.start, wanted).map_err(refuse)?;
        let copied = match self.source.borrow(&blob) {
            Some(_) => 0,
            None => blob.end - blob.start,
        };
        self.afford(wanted.saturating_add(copied))?;
        if self.source.is_elsewhere() && copied > BATCH_BYTES {
            // Before gigabytes of something else are brought.
            let mut first = [0; 4];
            self.source.copy_into(blob.start, &mut first)?;
            if !starts_as_zstd(&first) {
                let what = "the blob is not a zstd stream";
                return Err(refuse(core::Error::new(Code::FramesDecode, what)));
            }
        }
        let stored = self.source.read(&blob)?;
        let mut out = memory(wanted)?;
        // At once and into its place: a stream would set a window aside, as long as the
        // frame says.
        Zstd.decode_frames(&stored, &mut out).map_err(refuse)?;
        Ok(out)
    }

    /// Decodes a frame, or the part of it from `skip` on that `out` has room for.
    pub(crate) fn decode_part(
        &self,
        frames: &Frames,
        nth: usize,
        skip: u64,
        out: &mut [u8],
    ) -> Result<()> {
        let Some(frame) = &frames.table.frame(nth) else {
            return Ok(());
        };
        let length = self.within_limit(frame.data.end - frame.data.start)?;
        if length == out.len() as u64 {
            make_present(out);
            return self.decode(frame, out);
        }
        self.afford(length)?;
        let part = skip..skip + out.len() as u64;
        if length > LONG_FRAME {
            let all = decode_long(&frames.long, nth, frame, |data| self.decode(frame, data))?;
            out.copy_from_slice(part_of(&all, &part)?);
            return Ok(());
        }
        self.part_of_recent(nth, length, part, out, |data| self.decode(frame, data))
    }

    /// The same for a frame whose stored bytes were brought; none where the frame is
    /// among the recent ones.
    pub(crate) fn decode_brought(
        &self,
        frames: &Frames,
        nth: usize,
        stored: &[u8],
        skip: u64,
        out: &mut [u8],
    ) -> Result<()> {
        let Some(frame) = &frames.table.frame(nth) else {
            return Ok(());
        };
        let length = self.within_limit(frame.data.end - frame.data.start)?;
        if length == out.len() as u64 && !stored.is_empty() {
            make_present(out);
            return self.decode_stored(stored, out);
        }
        self.afford(length)?;
        let part = skip..skip + out.len() as u64;
        let decode = |data: &mut [u8]| self.decode_stored(stored, data);
        if length > LONG_FRAME {
            let all = decode_long(&frames.long, nth, frame, decode)?;
            out.copy_from_slice(part_of(&all, &part)?);
            return Ok(());
        }
        self.part_of_recent(nth, length, part, out, decode)
    }

    /// Whether this thread decoded the nth frame a moment ago, or it was kept.
    pub(crate) fn holds_recent(&self, frames: &Frames, nth: usize) -> bool {
        let kept = frames.long.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().any(|(held, _)| *held == nth)
            || RECENT.with_borrow(|recent| recent.iter().any(|f| f.holds == Some((self.id, nth))))
    }

    /// Copies a part of the nth frame's data, which `decode` makes unless this thread
    /// has it.
    fn part_of_recent(
        &self,
        nth: usize,
        length: u64,
        part: Range<u64>,
        out: &mut [u8],
        decode: impl FnOnce(&mut [u8]) -> Result<()>,
    ) -> Result<()> {
        RECENT.with_borrow_mut(|recent| {
            let wanted = Some((self.id, nth));
            if recent.first().is_none_or(|frame| frame.holds != wanted) {
                recent.reverse();
            }
            let [first, _] = recent;
            if first.holds != wanted {
                first.holds = None;
                first.data.resize(length as usize, 0);
                decode(&mut first.data)?;
                first.holds = wanted;
            }
            out.copy_from_slice(part_of(&first.data, &part)?);
            Ok(())
        })
    }

    /// Where the nth frame is stored in the file.
    pub(crate) fn stored_frame(&self, frames: &Frames, nth: usize) -> Range<u64> {
        let start = self.catalogue().blob().start;
        let frame = frames.table.frame(nth);
        frame.map_or(0..0, |frame| {
            start + frame.stored.start..start + frame.stored.end
        })
    }

    fn decode(&self, frame: &Frame, out: &mut [u8]) -> Result<()> {
        let start = self.catalogue().blob().start + frame.stored.start;
        let length = frame.stored.end - frame.stored.start;
        if length > NEAR_BYTES {
            let range = start..start + length;
            if self.source.borrow(&range).is_none() {
                self.afford_stored(&range)?;
            }
            let stored = self.source.read(&range)?;
            return self.decode_stored(&stored, out);
        }
        // Copied into memory that is near and stays, which costs no more than the
        // faults of a map, and waits for the disk once.
        STORED.with_borrow_mut(|held| {
            let wanted = length as usize;
            if held.len() < wanted {
                held.resize(wanted, 0);
            }
            let stored = held.get_mut(..wanted).unwrap_or_default();
            self.source.copy_into(start, stored)?;
            self.decode_stored(stored, out)
        })
    }

    fn decode_stored(&self, stored: &[u8], out: &mut [u8]) -> Result<()> {
        check_frame(stored, out.len() as u64)
            .and_then(|()| Zstd.decode(stored, out))
            .map_err(|e| Error::from(e).at(self.path()))
    }

    pub(crate) fn within_limit(&self, bytes: u64) -> Result<u64> {
        if bytes <= self.limits.inflated_bytes {
            return Ok(bytes);
        }
        let error = core::Error::new(
            Code::LimitInflated,
            "the data would inflate beyond the limit",
        )
        .expected(format!("at most {} bytes", self.limits.inflated_bytes))
        .found(format!("{bytes} bytes"));
        Err(Error::from(error).at(self.path()))
    }
}

/// The nth frame's data, decoded once and kept.
fn decode_long(
    long: &Mutex<Vec<(usize, Arc<Memory>)>>,
    nth: usize,
    frame: &Frame,
    decode: impl FnOnce(&mut [u8]) -> Result<()>,
) -> Result<Arc<Memory>> {
    let mut kept = long.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, held)) = kept.iter().find(|(n, _)| *n == nth) {
        return Ok(held.clone());
    }
    let mut out = memory(frame.data.end - frame.data.start)?;
    decode(&mut out)?;
    let out = Arc::new(out);
    kept.push((nth, out.clone()));
    Ok(out)
}

pub(crate) fn part_of<'a>(bytes: &'a [u8], part: &Range<u64>) -> Result<&'a [u8]> {
    bytes
        .get(part.start as usize..part.end as usize)
        .ok_or_else(|| Error::new(Code::FramesShort, "the data ends before the tensor does"))
}
