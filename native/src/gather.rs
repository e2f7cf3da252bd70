//! Getting at the data: single spans, many tensors at once, and streams of pieces.

use crate::blob::{Blob, Frames, part_of};
use crate::error::{Error, Result};
use crate::file::{STEP_BYTES, TensorFile};
use crate::map::{Memory, make_readable};
use crate::options::Progress;
use crate::remote::BATCH_BYTES;
use crate::source::{Data, memory, refill};
use crate::threads::{num_threads, run, try_each, watched};
use deathtensors_core::digest::Sha256;
use rayon::prelude::*;
use std::collections::HashSet;
use std::ops::Range;

/// Less than this is read without telling anybody how far it is: it takes a few
/// milliseconds.
const BRIEF_BYTES: u64 = 8 << 20;

/// Where the bytes of a part come from.
enum Origin<'a> {
    /// The nth of these frames, from some byte of its data on.
    Frame(&'a Frames, usize, u64),
    /// An offset in the file.
    Plain(u64),
}

/// Some bytes that are read in one go.
struct Part<'a> {
    origin: Origin<'a>,
    out: &'a mut [u8],
    /// Which of the spans asked for it belongs to.
    span: usize,
}

impl TensorFile {
    /// Makes sure that the nth tensor can be read, before memory is set aside for
    /// it: that its frames can hold it, and with a pinned root, that it is sound.
    ///
    /// # Errors
    /// The `frames.*` codes and `integrity.tensor`.
    pub fn prepare(&self, nth: usize) -> Result<()> {
        self.prepare_frames(nth)?;
        self.ensure_checked(nth)
    }

    /// Makes sure that the nth tensor's frames can hold it.
    ///
    /// # Errors
    /// The `frames.*` codes and `io.failed`.
    pub fn prepare_frames(&self, nth: usize) -> Result<()> {
        if self.is_compressed() && self.tensor(nth)?.nbytes() > 0 {
            let name = self.tensor(nth)?.name;
            self.blob().map_err(|e| e.tensor(name))?;
        }
        Ok(())
    }

    /// Refuses to copy these tensors in one call when it would take more memory than the
    /// limit: their bytes, each frame of which a part only is wanted, all of a blob
    /// without a table, and the `held` bytes that the call has copied before. Nothing is
    /// set aside for them yet.
    ///
    /// # Errors
    /// `limit.memory`, and the `frames.*` codes.
    pub fn check_copies(&self, nths: &[usize], held: u64) -> Result<()> {
        let tensors = nths.iter().map(|&nth| self.tensor(nth));
        let tensors = tensors.collect::<Result<Vec<_>>>()?;
        self.check_spans(tensors.iter().map(|t| (t.data(), t.name)), held)
    }

    /// The same for parts of tensors.
    pub(crate) fn check_spans<'n>(
        &self,
        spans: impl IntoIterator<Item = (Range<u64>, &'n str)>,
        held: u64,
    ) -> Result<()> {
        let (mut need, mut whole, mut count) = (held, 0, 0);
        let mut in_part = HashSet::new();
        // The first tensor that is too much.
        let mut over = None;
        for (data, name) in spans {
            count += 1;
            need = need.saturating_add(data.end.saturating_sub(data.start));
            if self.is_compressed() && data.start < data.end {
                match self.blob().map_err(|e| e.tensor(name))? {
                    Blob::Whole(all) => whole = all.len() as u64,
                    Blob::Frames(frames) => {
                        let covering = frames.table.covering(&data);
                        for nth in [covering.start, covering.end.saturating_sub(1)] {
                            let frame = frames.table.frame(nth).map_or(0..0, |frame| frame.data);
                            let is_part = frame.start < data.start || frame.end > data.end;
                            if is_part && in_part.insert(nth) {
                                need = need.saturating_add(frame.end - frame.start);
                            }
                        }
                    }
                }
            }
            if over.is_none() && self.afford(need.saturating_add(whole)).is_err() {
                over = Some(name);
            }
        }
        let Some(name) = over else {
            return Ok(());
        };
        let refused = self.afford(need.saturating_add(whole));
        refused.map_err(|e| match count {
            1 => e.tensor(name),
            _ => e.note(&format!("{count} tensors at once")).tensor(name),
        })
    }

    /// Refuses to set aside so many bytes for one call.
    pub(crate) fn afford(&self, bytes: u64) -> Result<()> {
        let checked = self.limits.check_memory(bytes);
        checked.map_err(|e| Error::from(e).at(self.path()))
    }

    /// Refuses a frame that is longer, as it is stored, than both the limit and what is
    /// held on its way anyway.
    pub(crate) fn afford_stored(&self, stored: &Range<u64>) -> Result<()> {
        match stored.end - stored.start {
            0..=BATCH_BYTES => Ok(()),
            length => self.afford(length),
        }
    }

    /// Whether a span of the uncompressed blob can be had without a copy.
    pub(crate) fn is_at_hand(&self, data: &Range<u64>) -> Result<bool> {
        if data.is_empty() {
            return Ok(true);
        }
        match self.catalogue().locate(data.clone()) {
            Some(range) => Ok(self.source.borrow(&range).is_some()),
            None => Ok(matches!(self.blob()?, Blob::Whole(_))),
        }
    }

    /// A copy of `data`, a span of the uncompressed blob within the nth tensor.
    ///
    /// # Errors
    /// Those of [`TensorFile::read`].
    pub fn read_owned(&self, nth: usize, data: Range<u64>) -> Result<Memory> {
        if self.must_check(nth) {
            let tensor = self.tensor(nth)?;
            let part = data.end.saturating_sub(data.start);
            self.check_spans([(tensor.data(), tensor.name)], part)?;
            let whole = self.read_checked(nth, &mut ())?;
            let start = tensor.start;
            let part = data.start.saturating_sub(start)..data.end.saturating_sub(start);
            let mut out = memory(part.end.saturating_sub(part.start))?;
            out.copy_from_slice(part_of(&whole, &part)?);
            return Ok(out);
        }
        let name = self.tensor(nth)?.name;
        self.check_spans([(data.clone(), name)], 0)?;
        self.prepare(nth)?;
        let mut out = memory(data.end.saturating_sub(data.start))?;
        self.data_into(data, &mut out).map_err(|e| e.tensor(name))?;
        Ok(out)
    }

    /// Copies of several tensors, each in memory of its own. Frames and pieces of
    /// all of them are read together on all cores, and a frame that several share
    /// is decoded once. With a pinned root, what was read is what is checked.
    ///
    /// # Errors
    /// Those of [`TensorFile::read`], where what all of them take together counts, and
    /// what `progress` cancels with.
    pub fn read_many(&self, nths: &[usize], progress: &mut dyn Progress) -> Result<Vec<Memory>> {
        self.check_copies(nths, 0)?;
        let mut total = 0;
        for &nth in nths {
            total += self.tensor(nth)?.nbytes();
        }
        progress.start(total);
        let out = self.read_unchecked(nths, progress)?;
        self.check_all(nths, &out, progress)?;
        Ok(out)
    }

    /// Checks whole tensors that were read, those that need it, on all cores.
    pub(crate) fn check_all(
        &self,
        nths: &[usize],
        all: &[Memory],
        progress: &mut dyn Progress,
    ) -> Result<()> {
        if nths.iter().all(|&nth| self.is_checked(nth)) {
            return Ok(());
        }
        let check = |(&nth, memory): (&usize, &Memory)| match self.is_checked(nth) {
            true => Ok(()),
            false => self.check_bytes(nth, memory),
        };
        watched(&mut Silent(progress), |_| {
            try_each(nths.par_iter().zip(all), check)
        })?
    }

    /// A copy of the nth tensor, whose own bytes were checked.
    pub(crate) fn read_checked(&self, nth: usize, progress: &mut dyn Progress) -> Result<Memory> {
        let mut all = self.read_many(&[nth], progress)?;
        match all.pop() {
            Some(whole) => Ok(whole),
            None => memory(0),
        }
    }

    /// The same without looking at digests, nor telling how much it will be.
    pub(crate) fn read_unchecked(
        &self,
        nths: &[usize],
        progress: &mut dyn Progress,
    ) -> Result<Vec<Memory>> {
        let mut spans = Vec::with_capacity(nths.len());
        let mut out = Vec::with_capacity(nths.len());
        for &nth in nths {
            self.prepare_frames(nth)?;
            let tensor = self.tensor(nth)?;
            spans.push(tensor.data());
            out.push(memory(tensor.nbytes())?);
        }
        {
            let outs = out.iter_mut().map(|memory| &mut **memory);
            let parts = self.parts(spans.iter().cloned().zip(outs))?;
            self.fill(parts, progress, |span| {
                nths.get(span)
                    .and_then(|&nth| Some(self.header().at(nth)?.name))
            })?;
        }
        Ok(out)
    }

    /// The tensors in groups that are each small enough to be held, or one tensor.
    pub(crate) fn batches<'n>(&self, nths: &'n [usize]) -> Vec<&'n [usize]> {
        let most = self.batch_bytes();
        let mut out = Vec::new();
        let mut rest = nths;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = |nth: &&usize| {
                bytes += self.header().at(**nth).map_or(0, |tensor| tensor.nbytes());
                bytes <= most
            };
            let (batch, tail) = rest.split_at(rest.iter().take_while(fits).count().max(1));
            out.push(batch);
            rest = tail;
        }
        out
    }

    /// How much of what a call works through is held at once.
    fn batch_bytes(&self) -> u64 {
        BATCH_BYTES.min(self.limits.memory_bytes)
    }

    /// Fills `out`, which must be as long as the tensor. `progress` hears of it.
    ///
    /// # Errors
    /// Those of [`TensorFile::read_into`], and what `progress` cancels with.
    pub fn read_into_with(
        &self,
        name: &str,
        out: &mut [u8],
        progress: &mut dyn Progress,
    ) -> Result<()> {
        let nth = self.position(name)?;
        let data = self.tensor(nth)?.data();
        self.check_length(name, &data, out.len())?;
        self.ensure_checked_with(nth, progress)?;
        progress.start(data.end - data.start);
        let parts = self
            .parts([(data, &mut *out)].into_iter())
            .map_err(|e| e.tensor(name))?;
        self.fill(parts, progress, |_| Some(name))?;
        self.check_brought(nth, out)
    }

    /// Hands the nth tensor to `each`, piece by piece, and refuses it at the end if those
    /// pieces had to be checked and are others than they should be.
    pub(crate) fn visit_tensor(
        &self,
        nth: usize,
        progress: &mut dyn Progress,
        each: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let tensor = self.tensor(nth)?;
        let mut hasher = self.must_check(nth).then(Sha256::new);
        self.visit(tensor.data(), progress, &mut |bytes| {
            if let Some(hasher) = &mut hasher {
                hasher.update(bytes);
            }
            each(bytes)
        })
        .map_err(|e| e.tensor(tensor.name))?;
        match hasher {
            Some(hasher) => self.check_digest(nth, &hasher.finish()),
            None => Ok(()),
        }
    }

    /// A span of the uncompressed blob.
    pub(crate) fn read_data(&self, data: Range<u64>) -> Result<Data<'_>> {
        // Nothing needs no frames, sound or not.
        if data.is_empty() {
            return Ok(Data::Borrowed(&[]));
        }
        if let Some(range) = self.catalogue().locate(data.clone()) {
            return self.source.read(&range);
        }
        if let Blob::Whole(all) = self.blob()? {
            return Ok(Data::Borrowed(part_of(all, &data)?));
        }
        let mut out = memory(data.end.saturating_sub(data.start))?;
        self.data_into(data, &mut out)?;
        Ok(Data::Owned(out))
    }

    /// Fills `out` from a span of the uncompressed blob, frames in parallel.
    pub(crate) fn data_into(&self, data: Range<u64>, out: &mut [u8]) -> Result<()> {
        let parts = self.parts([(data, out)].into_iter())?;
        if self.source.is_elsewhere() {
            return self.fill(parts, &mut (), |_| None);
        }
        let each = |part| self.read_part(part);
        match parts.len() {
            0 | 1 => parts.into_iter().try_for_each(each),
            _ => run(|| try_each(parts.into_par_iter(), each)),
        }
    }

    /// What has to be read to fill each span of the uncompressed blob. What needs
    /// no reading, since the whole blob is decoded already, is filled now.
    fn parts<'a>(
        &'a self,
        spans: impl Iterator<Item = (Range<u64>, &'a mut [u8])>,
    ) -> Result<Vec<Part<'a>>> {
        let mut parts = Vec::new();
        for (span, (data, out)) in spans.enumerate() {
            if data.is_empty() {
                continue;
            }
            if let Some(range) = self.catalogue().locate(data.clone()) {
                let mut at = range.start;
                for out in out.chunks_mut(STEP_BYTES as usize) {
                    let origin = Origin::Plain(at);
                    at += out.len() as u64;
                    parts.push(Part { origin, out, span });
                }
                continue;
            }
            let frames = match self.blob()? {
                Blob::Frames(frames) => frames,
                Blob::Whole(all) => {
                    out.copy_from_slice(part_of(all, &data)?);
                    continue;
                }
            };
            let mut rest = out;
            for nth in frames.table.covering(&data) {
                let Some(frame) = frames.table.frame(nth) else {
                    continue;
                };
                let from = frame.data.start.max(data.start);
                let to = frame.data.end.min(data.end);
                let (out, tail) = rest.split_at_mut(to.saturating_sub(from) as usize);
                let origin = Origin::Frame(frames, nth, from - frame.data.start);
                parts.push(Part { origin, out, span });
                rest = tail;
            }
        }
        Ok(parts)
    }

    /// Reads all parts on all cores. `name` tells what a span is called.
    fn fill<'n>(
        &self,
        mut parts: Vec<Part<'_>>,
        progress: &mut dyn Progress,
        name: impl Fn(usize) -> Option<&'n str> + Sync,
    ) -> Result<()> {
        // Parts of one frame follow each other, so that it is decoded once.
        let place = |part: &Part<'_>| match part.origin {
            Origin::Frame(_, nth, _) => nth as u64,
            Origin::Plain(at) => at,
        };
        parts.sort_by_key(place);
        let named = |part: Part<'_>| {
            let span = part.span;
            self.read_part(part).map_err(|e| match name(span) {
                Some(name) => e.tensor(name),
                None => e,
            })
        };
        let bytes: u64 = parts.iter().map(|part| part.out.len() as u64).sum();
        if self.source.is_elsewhere() {
            let groups = grouped(parts, place);
            return self.bring(groups, progress, name);
        }
        if bytes <= BRIEF_BYTES && parts.len() <= 1 {
            parts.into_iter().try_for_each(named)?;
            return progress.advance(bytes);
        }
        let groups = grouped(parts, place);
        watched(progress, |tally| {
            try_each(groups.into_par_iter(), |group| {
                let bytes = group.iter().map(|part| part.out.len() as u64).sum();
                group.into_iter().try_for_each(named)?;
                (&mut &*tally).advance(bytes)
            })
        })?
    }

    /// Fills groups of parts, each of one frame or one piece, where bytes are brought by
    /// somebody: asks for as much as may be held at once, then decodes it on all cores.
    fn bring<'n>(
        &self,
        groups: Vec<Vec<Part<'_>>>,
        progress: &mut dyn Progress,
        name: impl Fn(usize) -> Option<&'n str> + Sync,
    ) -> Result<()> {
        let named = |span: usize, e: Error| match name(span) {
            Some(name) => e.tensor(name),
            None => e,
        };
        let mut rest = groups.into_iter().peekable();
        while rest.peek().is_some() {
            let mut batch = Vec::new();
            let mut held = 0;
            while let Some(group) = rest.next_if(|group| {
                let stored = self.stored(group);
                held == 0 || held + stored.end - stored.start <= BATCH_BYTES
            }) {
                let stored = self.stored(&group);
                self.afford_stored(&stored)?;
                held += (stored.end - stored.start).max(1);
                batch.push((stored, group));
            }
            // A frame that this thread decoded a moment ago is not asked for again.
            let alone = batch.len() == 1;
            let wanted: Vec<_> = batch
                .iter()
                .filter(|(_, group)| !(alone && self.is_recent(group)))
                .map(|(stored, _)| stored.clone())
                .collect();
            let first = batch
                .first()
                .and_then(|(_, group)| Some(group.first()?.span));
            let fetched = self
                .source
                .fetch(&wanted)
                .map_err(|e| named(first.unwrap_or(0), e))?;
            let Some(fetched) = &fetched else {
                return Ok(());
            };
            let bytes = batch.iter().flat_map(|(_, group)| group);
            let bytes = bytes.map(|part| part.out.len() as u64).sum();
            let take = |(stored, group): (Range<u64>, Vec<Part<'_>>)| {
                let span = group.first().map_or(0, |part| part.span);
                self.take(fetched.get(&stored), group)
                    .map_err(|e| named(span, e))
            };
            match alone {
                true => batch.into_iter().try_for_each(take)?,
                false => run(|| try_each(batch.into_par_iter(), take))?,
            }
            progress.advance(bytes)?;
        }
        Ok(())
    }

    /// Where a group's bytes are stored in the file.
    fn stored(&self, group: &[Part<'_>]) -> Range<u64> {
        match group.first() {
            Some(Part {
                origin: Origin::Frame(frames, nth, _),
                ..
            }) => self.stored_frame(frames, *nth),
            Some(Part {
                origin: Origin::Plain(at),
                out,
                ..
            }) => *at..at + out.len() as u64,
            None => 0..0,
        }
    }

    /// Fills a group from its bytes as stored.
    fn take(&self, stored: &[u8], group: Vec<Part<'_>>) -> Result<()> {
        for part in group {
            match part.origin {
                Origin::Frame(frames, nth, skip) => {
                    self.decode_brought(frames, nth, stored, skip, part.out)?;
                }
                // Tied tensors share what is stored.
                Origin::Plain(_) => {
                    part.out
                        .copy_from_slice(stored.get(..part.out.len()).unwrap_or_default());
                }
            }
        }
        Ok(())
    }

    fn is_recent(&self, group: &[Part<'_>]) -> bool {
        match group.first().map(|part| &part.origin) {
            Some(Origin::Frame(frames, nth, _)) => self.holds_recent(frames, *nth),
            _ => false,
        }
    }

    fn read_part(&self, part: Part<'_>) -> Result<()> {
        match part.origin {
            Origin::Frame(frames, nth, skip) => self.decode_part(frames, nth, skip, part.out),
            Origin::Plain(at) => self.source.read_into(at, part.out),
        }
    }

    /// Hands a span of the uncompressed blob to `each`, piece by piece, in order
    /// and in bounded memory. Progress is told of every piece.
    pub(crate) fn visit(
        &self,
        data: Range<u64>,
        progress: &mut dyn Progress,
        each: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        let frames = match self.is_compressed().then(|| self.blob()).transpose()? {
            Some(Blob::Frames(frames)) => frames,
            _ => {
                let step = self.source.step_bytes();
                let mut at = data.start;
                while at < data.end {
                    let next = data.end.min(at + step);
                    let piece = self.read_data(at..next)?;
                    make_readable(&piece);
                    each(&piece)?;
                    progress.advance(next - at)?;
                    at = next;
                }
                return Ok(());
            }
        };
        let batch = match self.source.is_elsewhere() {
            true => 128,
            false => 8 * num_threads(),
        };
        let most = self.batch_bytes();
        let mut buffers: Vec<Vec<u8>> = Vec::new();
        let mut rest = frames.table.covering(&data);
        while !rest.is_empty() {
            // Frames may be of any length, and all of a group are held.
            let mut bytes = 0;
            let fits = |nth: &usize| {
                let frame = frames.table.frame(*nth);
                bytes += frame.map_or(0, |frame| frame.data.end - frame.data.start);
                bytes <= most
            };
            let count = rest.clone().take(batch).take_while(fits).count().max(1);
            let group = rest.start..rest.start + count;
            rest.start = group.end;
            buffers.resize_with(group.len(), Vec::new);
            let mut stored = Vec::with_capacity(group.len());
            for nth in group.clone() {
                let range = self.stored_frame(frames, nth);
                let frame = frames.table.frame(nth).map_or(0..0, |frame| frame.data);
                self.afford(frame.end - frame.start)?;
                self.afford_stored(&range)?;
                stored.push(range);
            }
            let fetched = self.source.fetch(&stored)?;
            let decode = |(nth, out): (usize, &mut Vec<u8>)| -> Result<()> {
                let Some(frame) = frames.table.frame(nth) else {
                    return Ok(());
                };
                self.within_limit(frame.data.end - frame.data.start)?;
                let from = frame.data.start.max(data.start);
                let to = frame.data.end.min(data.end);
                refill(out, to.saturating_sub(from))?;
                let skip = from - frame.data.start;
                match &fetched {
                    Some(fetched) => {
                        let stored = fetched.get(&self.stored_frame(frames, nth));
                        self.decode_brought(frames, nth, stored, skip, out)
                    }
                    None => self.decode_part(frames, nth, skip, out),
                }
            };
            if group.len() == 1 {
                group.zip(&mut buffers).try_for_each(decode)?;
            } else {
                run(|| try_each(group.into_par_iter().zip(&mut buffers), decode))?;
            }
            for piece in &buffers {
                each(piece)?;
                progress.advance(piece.len() as u64)?;
            }
        }
        Ok(())
    }
}

/// Parts of one place together; they come sorted by it.
fn grouped<'a>(parts: Vec<Part<'a>>, place: impl Fn(&Part<'a>) -> u64) -> Vec<Vec<Part<'a>>> {
    let mut groups: Vec<Vec<Part<'_>>> = Vec::new();
    for part in parts {
        match groups.last_mut() {
            Some(group) if group.first().is_some_and(|p| place(p) == place(&part)) => {
                group.push(part);
            }
            _ => groups.push(vec![part]),
        }
    }
    groups
}

/// Hears whether to go on, and tells nothing.
struct Silent<'a>(&'a mut dyn Progress);

impl Progress for Silent<'_> {
    fn advance(&mut self, _: u64) -> Result<()> {
        self.0.advance(0)
    }
}
