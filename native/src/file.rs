//! An open file: a catalogue over bytes.

use crate::codec::Zstd;
use crate::error::{Error, Result};
use crate::map::{Memory, PrivateMapping};
use crate::options::{OpenOptions, Progress};
use crate::source::{Data, Source, memory};
use crate::threads::{num_threads, run};
use deathtensors_core::digest::{Digest, Sha256};
use deathtensors_core::{
    self as core, Catalogue, Code, Codec, Frame, FrameTable, Header, Limits, Opening, Step,
    TableOpening, TableStep, TensorInfo, check_expansion, check_frame,
};
use rayon::prelude::*;
use std::cell::RefCell;
use std::io::Read;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// How much of a plain blob is looked at between two reports of progress.
pub(crate) const STEP_BYTES: u64 = 8 << 20;
/// Frames longer than this are decoded once and kept: only files that 0.3.0 began
/// have them.
const LONG_FRAME: u64 = 32 << 20;

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
}

/// An open tensor file. Opening reads the header only; everything else is read
/// when it is asked for. All methods may be called from many threads.
#[derive(Debug)]
pub struct TensorFile {
    /// Of this process, never given twice.
    id: u64,
    pub(crate) source: Source,
    catalogue: Catalogue,
    limits: Limits,
    /// With a pinned root: which tensors have been checked.
    checked: Option<Vec<AtomicBool>>,
    private: OnceLock<Arc<PrivateMapping>>,
    blob: OnceLock<Blob>,
    opening: Mutex<()>,
}

/// How the data of a compressed blob is reached.
#[derive(Debug)]
pub(crate) enum Blob {
    Frames {
        table: FrameTable,
        long: Mutex<Vec<(usize, Arc<Memory>)>>,
    },
    /// Without a seek table everything is decoded at once, on first use.
    Whole(Memory),
}

impl TensorFile {
    /// Opens a file with default options.
    ///
    /// # Errors
    /// `not_found.file` and `io.failed` from the system; every refusal of
    /// [`Opening`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, &OpenOptions::default())
    }

    /// Opens a file.
    ///
    /// # Errors
    /// Those of [`TensorFile::open`], and `integrity.root`.
    pub fn open_with(path: impl AsRef<Path>, options: &OpenOptions) -> Result<Self> {
        let path = path.as_ref();
        Self::start(path, options).map_err(|e| e.at(path))
    }

    fn start(path: &Path, options: &OpenOptions) -> Result<Self> {
        let source = Source::open(path, options.backend)?;
        let catalogue = {
            let mut opening = Opening::new(source.len, options.limits);
            if let Some(all) = source.borrow(&(0..source.len)) {
                match opening.feed(0, all)? {
                    Step::Ready(catalogue) => catalogue,
                    Step::More(_) => {
                        return Err(Error::new(
                            Code::HeaderTruncated,
                            "the file ends inside its header",
                        ));
                    }
                }
            } else {
                open_by_reading(&source, &mut opening)?
            }
        };
        if let Some(root) = &options.root {
            let header = source.read(&catalogue.header_range())?;
            catalogue.check_root(&header, Some(root))?;
            if let Some(bare) = catalogue.header().tensors().find(|t| t.sha256.is_none()) {
                return Err(Error::new(
                    Code::IntegrityRoot,
                    "the tensor carries no digest, so the root does not pin it",
                )
                .tensor(bare.name));
            }
        }
        let checked = options.root.map(|_| {
            (0..catalogue.header().len())
                .map(|_| AtomicBool::new(false))
                .collect()
        });
        static COUNT: AtomicU64 = AtomicU64::new(0);
        Ok(Self {
            id: COUNT.fetch_add(1, Ordering::Relaxed),
            source,
            catalogue,
            limits: options.limits,
            checked,
            private: OnceLock::new(),
            blob: OnceLock::new(),
            opening: Mutex::new(()),
        })
    }

    /// Where the file was opened.
    pub fn path(&self) -> &Path {
        &self.source.path
    }

    /// What is in the file, and where.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// The header.
    pub fn header(&self) -> &Header {
        self.catalogue.header()
    }

    /// Whether the blob is compressed.
    pub fn is_compressed(&self) -> bool {
        self.catalogue.flags().compressed
    }

    /// A tensor's bytes: a view where that is possible, else a copy.
    ///
    /// # Errors
    /// `not_found.tensor`, the `frames.*` codes, `integrity.tensor` when a root is
    /// pinned, `io.failed`.
    pub fn read(&self, name: &str) -> Result<Data<'_>> {
        let nth = self.position(name)?;
        self.ensure_checked(nth)?;
        let data = self.tensor(nth)?.data();
        self.read_data(data).map_err(|e| e.tensor(name))
    }

    /// The bytes of rows `start..start + count` of the tensor's first axis.
    ///
    /// # Errors
    /// Those of [`TensorFile::read`], and `usage.range`.
    pub fn read_rows(&self, name: &str, start: u64, count: u64) -> Result<Data<'_>> {
        let nth = self.position(name)?;
        let data = self.rows(nth, start, count)?;
        self.ensure_checked(nth)?;
        self.read_data(data).map_err(|e| e.tensor(name))
    }

    /// Fills `out`, which must be as long as the tensor.
    ///
    /// # Errors
    /// Those of [`TensorFile::read`], and `usage.data_size`.
    pub fn read_into(&self, name: &str, out: &mut [u8]) -> Result<()> {
        let nth = self.position(name)?;
        let data = self.tensor(nth)?.data();
        if out.len() as u64 != data.end - data.start {
            return Err(core::Error::new(
                Code::UsageDataSize,
                "the destination has another length",
            )
            .tensor(name)
            .expected(format!("{} bytes", data.end - data.start))
            .found(format!("{} bytes", out.len()))
            .into());
        }
        self.ensure_checked(nth)?;
        self.data_into(data, out).map_err(|e| e.tensor(name))
    }

    /// The place of a tensor in the file's order.
    ///
    /// # Errors
    /// `not_found.tensor`.
    pub fn position(&self, name: &str) -> Result<usize> {
        match self.header().position(name) {
            Some(nth) => Ok(nth),
            None => Err(self.header().get(name).err().map_or_else(
                || Error::new(Code::TensorNotFound, "no such tensor"),
                |e| Error::from(e).at(self.path()),
            )),
        }
    }

    /// Where rows of the nth tensor lie in the uncompressed blob.
    ///
    /// # Errors
    /// `usage.range`.
    pub fn rows(&self, nth: usize, start: u64, count: u64) -> Result<Range<u64>> {
        let tensor = self.tensor(nth)?;
        let rows = tensor.rows(start, count)?;
        Ok(tensor.start + rows.start..tensor.start + rows.end)
    }

    /// A writable view of `data`, a span of the uncompressed blob within the nth
    /// tensor, whose changes stay in this process: the mapping and the span in it.
    /// None when the blob is compressed, the file is not mapped, or the span does
    /// not start at a multiple of `align` bytes.
    ///
    /// # Errors
    /// `io.failed` when the system cannot map the file once more;
    /// `integrity.tensor` when a root is pinned.
    pub fn view(
        &self,
        nth: usize,
        data: &Range<u64>,
        align: u64,
    ) -> Result<Option<(Arc<PrivateMapping>, Range<usize>)>> {
        let Some(range) = self.catalogue.locate(data.clone()) else {
            return Ok(None);
        };
        if self.source.borrow(&range).is_none() || range.start % align.max(1) != 0 {
            return Ok(None);
        }
        self.ensure_checked(nth)?;
        let mapping = match self.private.get() {
            Some(mapping) => mapping,
            None => {
                let made = PrivateMapping::new(&self.source.file)
                    .map_err(|e| Error::io("map", self.path(), e))?;
                self.private.get_or_init(|| Arc::new(made))
            }
        };
        // A borrow of the same range succeeded, so it fits.
        let part = range.start as usize..range.end as usize;
        Ok((part.end <= mapping.len()).then(|| (mapping.clone(), part)))
    }

    /// A read-only view of `data`, a span of the uncompressed blob within the nth
    /// tensor, where there is one to be had without a copy.
    pub fn borrow(&self, nth: usize, data: &Range<u64>) -> Option<&[u8]> {
        let range = self.catalogue.locate(data.clone())?;
        self.ensure_checked(nth).ok()?;
        self.source.borrow(&range)
    }

    /// Makes sure that the nth tensor can be read, before memory is set aside for
    /// it: that its frames can hold it, and with a pinned root, that it is sound.
    ///
    /// # Errors
    /// The `frames.*` codes and `integrity.tensor`.
    pub fn prepare(&self, nth: usize) -> Result<()> {
        if self.is_compressed() && self.tensor(nth)?.nbytes() > 0 {
            let name = self.tensor(nth)?.name;
            self.blob().map_err(|e| e.tensor(name))?;
        }
        self.ensure_checked(nth)
    }

    /// A copy of `data`, a span of the uncompressed blob within the nth tensor.
    ///
    /// # Errors
    /// Those of [`TensorFile::read`].
    pub fn read_owned(&self, nth: usize, data: Range<u64>) -> Result<Memory> {
        self.prepare(nth)?;
        let mut out = memory(data.end.saturating_sub(data.start))?;
        let name = self.tensor(nth)?.name;
        self.data_into(data, &mut out).map_err(|e| e.tensor(name))?;
        Ok(out)
    }

    /// The seek table, if the file is compressed and has one.
    ///
    /// # Errors
    /// The `frames.*` codes.
    pub fn frames(&self) -> Result<Option<FrameTable>> {
        if !self.is_compressed() {
            return Ok(None);
        }
        match self.find_table()? {
            TableStep::Ready(table) => Ok(Some(table)),
            _ => Ok(None),
        }
    }

    /// SHA-256 of the nth tensor's bytes, computed now.
    ///
    /// # Errors
    /// The `frames.*` codes and `io.failed`.
    pub fn digest(&self, nth: usize) -> Result<Digest> {
        self.digest_with(nth, &mut ())
    }

    pub(crate) fn digest_with(&self, nth: usize, progress: &mut dyn Progress) -> Result<Digest> {
        let data = self.tensor(nth)?.data();
        let mut hasher = Sha256::new();
        self.visit(data, progress, &mut |bytes| {
            hasher.update(bytes);
            Ok(())
        })?;
        Ok(hasher.finish())
    }

    /// A span of the uncompressed blob.
    pub(crate) fn read_data(&self, data: Range<u64>) -> Result<Data<'_>> {
        if let Some(range) = self.catalogue.locate(data.clone()) {
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
        if let Some(range) = self.catalogue.locate(data.clone()) {
            return self.source.read_into(range.start, out);
        }
        let (table, long) = match self.blob()? {
            Blob::Whole(all) => {
                out.copy_from_slice(part_of(all, &data)?);
                return Ok(());
            }
            Blob::Frames { table, long } => (table, long),
        };
        let mut jobs = Vec::new();
        let mut rest = out;
        for nth in table.covering(&data) {
            let Some(frame) = table.frame(nth) else {
                continue;
            };
            let from = frame.data.start.max(data.start);
            let to = frame.data.end.min(data.end);
            let (head, tail) = rest.split_at_mut(to.saturating_sub(from) as usize);
            jobs.push((nth, from - frame.data.start, frame, head));
            rest = tail;
        }
        let each = |(nth, skip, frame, out): (usize, u64, Frame, &mut [u8])| {
            self.decode_part(long, nth, &frame, skip, out)
        };
        match jobs.len() {
            0 => Ok(()),
            1 => jobs.into_iter().try_for_each(each),
            _ => run(|| jobs.into_par_iter().try_for_each(each)),
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
        let (table, long) = match self.is_compressed().then(|| self.blob()).transpose()? {
            Some(Blob::Frames { table, long }) => (table, long),
            _ => {
                let mut at = data.start;
                while at < data.end {
                    let next = data.end.min(at + STEP_BYTES);
                    each(&self.read_data(at..next)?)?;
                    progress.advance(next - at)?;
                    at = next;
                }
                return Ok(());
            }
        };
        let batch = 8 * num_threads();
        let mut buffers: Vec<Vec<u8>> = Vec::new();
        let mut frames = table.covering(&data);
        while !frames.is_empty() {
            let group = frames.start..frames.end.min(frames.start + batch);
            frames.start = group.end;
            buffers.resize_with(group.len(), Vec::new);
            let decode = |(nth, out): (usize, &mut Vec<u8>)| -> Result<()> {
                let Some(frame) = table.frame(nth) else {
                    return Ok(());
                };
                self.within_limit(frame.data.end - frame.data.start)?;
                let from = frame.data.start.max(data.start);
                let to = frame.data.end.min(data.end);
                out.clear();
                out.resize(to.saturating_sub(from) as usize, 0);
                self.decode_part(long, nth, &frame, from - frame.data.start, out)
            };
            if group.len() == 1 {
                group.zip(&mut buffers).try_for_each(decode)?;
            } else {
                run(|| group.into_par_iter().zip(&mut buffers).try_for_each(decode))?;
            }
            for piece in &buffers {
                each(piece)?;
                progress.advance(piece.len() as u64)?;
            }
        }
        Ok(())
    }

    /// Decodes a frame, or the part of it from `skip` on that `out` has room for.
    fn decode_part(
        &self,
        long: &Mutex<Vec<(usize, Arc<Memory>)>>,
        nth: usize,
        frame: &Frame,
        skip: u64,
        out: &mut [u8],
    ) -> Result<()> {
        let length = self.within_limit(frame.data.end - frame.data.start)?;
        if length == out.len() as u64 {
            return self.decode(frame, out);
        }
        let part = skip..skip + out.len() as u64;
        if length > LONG_FRAME {
            out.copy_from_slice(part_of(&self.decode_long(long, nth, frame)?, &part)?);
            return Ok(());
        }
        RECENT.with_borrow_mut(|recent| {
            let wanted = Some((self.id, nth));
            if recent.first().is_none_or(|frame| frame.holds != wanted) {
                recent.reverse();
            }
            let [first, _] = recent;
            if first.holds != wanted {
                first.holds = None;
                first.data.resize(length as usize, 0);
                self.decode(frame, &mut first.data)?;
                first.holds = wanted;
            }
            out.copy_from_slice(part_of(&first.data, &part)?);
            Ok(())
        })
    }

    fn decode_long(
        &self,
        long: &Mutex<Vec<(usize, Arc<Memory>)>>,
        nth: usize,
        frame: &Frame,
    ) -> Result<Arc<Memory>> {
        let mut kept = long.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, held)) = kept.iter().find(|(n, _)| *n == nth) {
            return Ok(held.clone());
        }
        let mut out = memory(frame.data.end - frame.data.start)?;
        self.decode(frame, &mut out)?;
        let out = Arc::new(out);
        kept.push((nth, out.clone()));
        Ok(out)
    }

    fn decode(&self, frame: &Frame, out: &mut [u8]) -> Result<()> {
        let base = self.catalogue.blob().start;
        let stored = self
            .source
            .read_whole(&(base + frame.stored.start..base + frame.stored.end))?;
        check_frame(&stored, out.len() as u64)
            .and_then(|()| Zstd.decode(&stored, out))
            .map_err(|e| Error::from(e).at(self.path()))
    }

    pub(crate) fn blob(&self) -> Result<&Blob> {
        if let Some(blob) = self.blob.get() {
            return Ok(blob);
        }
        let _one_at_a_time = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(blob) = self.blob.get() {
            return Ok(blob);
        }
        let blob = match self.find_table()? {
            TableStep::Ready(table) => Blob::Frames {
                table,
                long: Mutex::default(),
            },
            _ => Blob::Whole(self.decode_whole()?),
        };
        Ok(self.blob.get_or_init(|| blob))
    }

    fn find_table(&self) -> Result<TableStep> {
        let mut opening = TableOpening::new(&self.catalogue);
        loop {
            let need = opening.need();
            let bytes = self.source.read(&need)?;
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
        let wanted = self.within_limit(self.catalogue.data_bytes())?;
        let stored = self.source.read(&self.catalogue.blob())?;
        check_expansion(stored.len() as u64, wanted).map_err(refuse)?;
        let broken = |e: std::io::Error| {
            let reason = e.to_string();
            let checksum = reason.to_ascii_lowercase().contains("checksum");
            let code = if checksum {
                Code::FramesChecksum
            } else {
                Code::FramesDecode
            };
            refuse(core::Error::new(code, "the compressed data cannot be decoded").found(reason))
        };
        let mut decoder = zstd::stream::read::Decoder::new(&*stored).map_err(broken)?;
        let mut out = memory(wanted)?;
        let mut filled = 0;
        while filled < out.len() {
            let end = out.len().min(filled + STEP_BYTES as usize);
            match out
                .get_mut(filled..end)
                .map_or(Ok(0), |part| decoder.read(part))
                .map_err(broken)?
            {
                0 => break,
                n => filled += n,
            }
        }
        if (filled as u64) < wanted {
            return Err(refuse(
                core::Error::new(Code::FramesShort, "the compressed data ends early")
                    .expected(format!("{wanted} bytes"))
                    .found(format!("{filled} bytes")),
            ));
        }
        match decoder.read(&mut [0]).map_err(broken)? {
            0 => Ok(out),
            _ => Err(refuse(
                core::Error::new(
                    Code::FramesInflate,
                    "the compressed data holds more than the header declares",
                )
                .expected(format!("{wanted} bytes")),
            )),
        }
    }

    fn within_limit(&self, bytes: u64) -> Result<u64> {
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

    /// With a pinned root, checks a tensor when it is first read.
    pub(crate) fn ensure_checked(&self, nth: usize) -> Result<()> {
        let Some(flag) = self.checked.as_ref().and_then(|all| all.get(nth)) else {
            return Ok(());
        };
        if !flag.load(Ordering::Acquire) {
            self.verify_nth(nth, &mut ())?;
            flag.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// The nth tensor's entry.
    ///
    /// # Errors
    /// `not_found.tensor`.
    pub fn tensor(&self, nth: usize) -> Result<TensorInfo<'_>> {
        self.header()
            .at(nth)
            .ok_or_else(|| Error::new(Code::TensorNotFound, format!("no tensor at place {nth}")))
    }
}

fn open_by_reading(source: &Source, opening: &mut Opening) -> Result<Catalogue> {
    loop {
        // A foreign file is named better by a few hundred bytes than by 24.
        const HEAD: u64 = 512;
        let mut need = opening.need();
        if need.start == 0 {
            need.end = HEAD.min(source.len);
        }
        let bytes = source.read(&need)?;
        if let Step::Ready(catalogue) = opening.feed(need.start, &bytes)? {
            return Ok(catalogue);
        }
    }
}

fn part_of<'a>(bytes: &'a [u8], part: &Range<u64>) -> Result<&'a [u8]> {
    bytes
        .get(part.start as usize..part.end as usize)
        .ok_or_else(|| Error::new(Code::FramesShort, "the data ends before the tensor does"))
}
