//! An open file: a catalogue over bytes.

use crate::blob::Blob;
use crate::error::{Error, Result};
use crate::map::{Memory, PrivateMapping};
use crate::options::{OpenOptions, Progress};
use crate::remote::RangeSource;
use crate::source::{Data, Source, memory};
use deathtensors_core::digest::{Digest, Sha256};
use deathtensors_core::{
    self as core, Catalogue, Code, FrameTable, Header, Limits, Opening, Step, TableStep, TensorInfo,
};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

/// How much of a plain blob is looked at between two reports of progress.
pub(crate) const STEP_BYTES: u64 = 8 << 20;

/// An open tensor file. Opening reads the header only; everything else is read
/// when it is asked for. All methods may be called from many threads.
#[derive(Debug)]
pub struct TensorFile {
    /// Of this process, never given twice.
    pub(crate) id: u64,
    pub(crate) source: Source,
    catalogue: Arc<Catalogue>,
    pub(crate) limits: Limits,
    /// With a pinned root: which tensors have been checked.
    checked: Option<Vec<AtomicBool>>,
    private: OnceLock<Arc<PrivateMapping>>,
    /// Whether all of the data was looked at once.
    pub(crate) walked: AtomicBool,
    pub(crate) blob: OnceLock<Blob>,
    /// Held while the blob is opened.
    pub(crate) opening: Mutex<()>,
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
        Self::over(Source::open(path, options.backend)?, options)
    }

    /// Opens a file that `ranges` brings. `name` stands for its path: in errors, and
    /// where [`TensorFile::path`] is asked for.
    ///
    /// # Errors
    /// Those of [`TensorFile::open_with`], and what `ranges` fails with.
    pub fn open_ranges(
        name: impl AsRef<Path>,
        ranges: Arc<dyn RangeSource>,
        options: &OpenOptions,
    ) -> Result<Self> {
        let name = name.as_ref();
        Self::over(Source::elsewhere(name, ranges), options).map_err(|e| e.at(name))
    }

    fn over(source: Source, options: &OpenOptions) -> Result<Self> {
        let (catalogue, head) = open_by_reading(&source, options.limits)?;
        if let Some(root) = &options.root {
            // The very bytes that the catalogue was made of: read once more, they might be
            // others by now.
            let range = catalogue.header_range();
            let header = head.get(range.start as usize..range.end as usize);
            catalogue.check_root(header.unwrap_or_default(), Some(root))?;
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
        Ok(Self {
            checked,
            ..Self::of(source, Arc::new(catalogue), options.limits)
        })
    }

    fn of(source: Source, catalogue: Arc<Catalogue>, limits: Limits) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        Self {
            id: COUNT.fetch_add(1, Ordering::Relaxed),
            source,
            catalogue,
            limits,
            checked: None,
            private: OnceLock::new(),
            walked: AtomicBool::new(false),
            blob: OnceLock::new(),
            opening: Mutex::new(()),
        }
    }

    /// The same file, nothing of it checked, brought by another source.
    pub(crate) fn brought_by(&self, ranges: Arc<dyn RangeSource>) -> Self {
        let source = Source::elsewhere(self.path(), ranges);
        let same = Self::of(source, self.catalogue.clone(), self.limits);
        // A table that is refused is refused there too.
        if let Ok(Some(table)) = self.frames() {
            let _ = same.blob.set(Blob::frames(table));
        }
        same
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
    /// `not_found.tensor`, the `frames.*` codes, `limit.memory` when a copy would be more
    /// than the limit, `integrity.tensor` when a root is pinned, `io.failed`.
    pub fn read(&self, name: &str) -> Result<Data<'_>> {
        let nth = self.position(name)?;
        if self.must_check(nth) {
            return Ok(Data::Owned(self.read_checked(nth, &mut ())?));
        }
        self.ensure_checked(nth)?;
        let data = self.tensor(nth)?.data();
        self.read_affordable(name, data)
    }

    fn read_affordable(&self, name: &str, data: Range<u64>) -> Result<Data<'_>> {
        let read = || {
            if !self.is_at_hand(&data)? {
                self.check_spans([(data.clone(), name)], 0)?;
            }
            self.read_data(data.clone())
        };
        read().map_err(|e| e.tensor(name))
    }

    /// The bytes of rows `start..start + count` of the tensor's first axis.
    ///
    /// # Errors
    /// Those of [`TensorFile::read`], and `usage.range`.
    pub fn read_rows(&self, name: &str, start: u64, count: u64) -> Result<Data<'_>> {
        let nth = self.position(name)?;
        let data = self.rows(nth, start, count)?;
        if self.must_check(nth) {
            return Ok(Data::Owned(self.read_owned(nth, data)?));
        }
        self.ensure_checked(nth)?;
        self.read_affordable(name, data)
    }

    /// Fills `out`, which must be as long as the tensor.
    ///
    /// # Errors
    /// Those of [`TensorFile::read`], and `usage.data_size`.
    pub fn read_into(&self, name: &str, out: &mut [u8]) -> Result<()> {
        let nth = self.position(name)?;
        let data = self.tensor(nth)?.data();
        self.check_length(name, &data, out.len())?;
        self.ensure_checked(nth)?;
        self.data_into(data, out).map_err(|e| e.tensor(name))?;
        self.check_brought(nth, out)
    }

    pub(crate) fn check_length(&self, name: &str, data: &Range<u64>, length: usize) -> Result<()> {
        if length as u64 == data.end - data.start {
            return Ok(());
        }
        let message = "the destination has another length";
        Err(core::Error::new(Code::UsageDataSize, message)
            .tensor(name)
            .expected(format!("{} bytes", data.end - data.start))
            .found(format!("{length} bytes"))
            .into())
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
        self.source.will_need(&range);
        let mapping = match self.private.get() {
            Some(mapping) => mapping,
            None => {
                let made = PrivateMapping::new(self.source.file()?)
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
        self.source.will_need(&range);
        self.source.borrow(&range)
    }

    /// The seek table, if the file is compressed and has one.
    ///
    /// # Errors
    /// The `frames.*` codes.
    pub fn frames(&self) -> Result<Option<FrameTable>> {
        if !self.is_compressed() {
            return Ok(None);
        }
        match self.blob.get() {
            Some(Blob::Frames(frames)) => Ok(Some(frames.table.clone())),
            Some(Blob::Whole(_)) => Ok(None),
            None => match self.find_table()? {
                TableStep::Ready(table) => {
                    // It is not asked for twice.
                    let _ = self.blob.set(Blob::frames(table.clone()));
                    Ok(Some(table))
                }
                _ => Ok(None),
            },
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

    /// With a pinned root, checks a tensor when it is first read.
    pub(crate) fn ensure_checked(&self, nth: usize) -> Result<()> {
        self.ensure_checked_with(nth, &mut ())
    }

    /// The same for long work: `progress` hears of it.
    ///
    /// # Errors
    /// `integrity.tensor`, and what `progress` cancels with.
    pub fn ensure_checked_with(&self, nth: usize, progress: &mut dyn Progress) -> Result<()> {
        // What is brought is checked each time that it is.
        if !self.is_checked(nth) && !self.source.is_elsewhere() {
            self.verify_nth(nth, progress)?;
            self.set_checked(nth);
        }
        Ok(())
    }

    /// Whether the very bytes of the nth tensor that are returned have to be checked: a
    /// root is pinned, and whoever brings them may bring others each time.
    pub(crate) fn must_check(&self, nth: usize) -> bool {
        self.source.is_elsewhere() && !self.is_checked(nth)
    }

    /// Whether the nth tensor needs no check: it had one, or no root is pinned.
    pub(crate) fn is_checked(&self, nth: usize) -> bool {
        let flag = self.checked.as_ref().and_then(|all| all.get(nth));
        flag.is_none_or(|flag| flag.load(Ordering::Acquire))
    }

    pub(crate) fn set_checked(&self, nth: usize) {
        if self.source.is_elsewhere() {
            return;
        }
        if let Some(flag) = self.checked.as_ref().and_then(|all| all.get(nth)) {
            flag.store(true, Ordering::Release);
        }
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

/// Reads the header, never through the map: there the system would read a great deal
/// around it first. Comes with the bytes that it read, from the file's start on.
fn open_by_reading(source: &Source, limits: Limits) -> Result<(Catalogue, Memory)> {
    let mut opening = Opening::new(source.len, limits);
    let mut held = memory(source.head_bytes())?;
    source.copy_into(0, &mut held)?;
    loop {
        let need = match opening.feed(0, &held)? {
            Step::Ready(catalogue) => return Ok((catalogue, held)),
            Step::More(need) => need,
        };
        let mut more = memory(need.end)?;
        let (known, rest) = more.split_at_mut(held.len().min(need.end as usize));
        known.copy_from_slice(held.get(..known.len()).unwrap_or_default());
        source.copy_into(known.len() as u64, rest)?;
        held = more;
    }
}
