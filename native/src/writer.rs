//! Writing a file: header first, then tensor after tensor, nothing kept.

use crate::atomic::AtomicFile;
use crate::codec::Zstd;
use crate::error::{Error, Result};
use crate::options::Progress;
use crate::source::hash_file;
use crate::threads::{beside, num_threads, run};
use deathtensors_core::digest::{Digest, Sha256, sha256};
use deathtensors_core::{
    self as core, Code, FrameTable, Limits, TensorSpec, WriteOptions, WritePlan,
};
use rayon::prelude::*;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io::{Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Writes one file. Nothing stands at its path before [`TensorWriter::finish`];
/// dropping the writer leaves what was there.
#[derive(Debug)]
pub struct TensorWriter {
    file: AtomicFile,
    plan: WritePlan,
    /// For each new tensor, the one whose bytes it shares: itself, unless tied.
    origins: Vec<usize>,
    names: Vec<String>,
    /// The new tensor that comes next, and how much of it has come.
    next: usize,
    inside: u64,
    /// How much of the uncompressed blob has been written.
    at: u64,
    digests: Vec<Option<Digest>>,
    hasher: Sha256,
    sink: Sink,
    /// A push failed, so that bytes may be missing which were counted.
    broken: bool,
}

/// A file that is complete but not in its place yet.
#[derive(Debug)]
pub struct Sealed {
    file: AtomicFile,
    root: Option<Digest>,
}

impl Sealed {
    /// The root digest, if the file carries digests.
    pub fn root(&self) -> Option<&Digest> {
        self.root.as_ref()
    }

    /// Puts the file in its place.
    ///
    /// # Errors
    /// `io.failed`.
    pub fn commit(mut self) -> Result<()> {
        self.file.commit()
    }

    /// Puts the shards of a model in place, and their index.
    pub(crate) fn commit_together(shards: Vec<Self>, index: Self) -> Result<()> {
        let shards = shards.into_iter().map(|shard| shard.file).collect();
        AtomicFile::commit_together(shards, index.file)
    }
}

impl TensorWriter {
    /// Starts a file that holds `specs`, in that order.
    ///
    /// # Errors
    /// Those of [`WritePlan::new`], and `io.failed`.
    pub fn create(
        path: impl AsRef<Path>,
        specs: &[TensorSpec],
        global_metadata: &BTreeMap<String, String>,
        options: &WriteOptions,
    ) -> Result<Self> {
        let path = path.as_ref();
        let plan = WritePlan::new(specs, global_metadata, options, &Limits::DEFAULT)
            .map_err(|e| Error::from(e).at(path))?;
        let file = AtomicFile::create(path)?;
        Self::start(file, plan, specs, 0)
    }

    /// Writes the head. `frames_from` is where frames are compressed anew.
    pub(crate) fn start(
        file: AtomicFile,
        plan: WritePlan,
        specs: &[TensorSpec],
        frames_from: u64,
    ) -> Result<Self> {
        let options = *plan.options();
        let head = plan.head();
        file.write(&head)?;
        // With digests the head is only known at the end, and so is the footer.
        let footer = (options.checksum && !options.digests).then(|| {
            let mut hasher = Sha256::new();
            hasher.update(head.get(core::PREFIX_BYTES as usize..).unwrap_or_default());
            hasher
        });
        let frames = options.compress.map(|level| FrameSink {
            level,
            plan: plan.frames_from(frames_from).into(),
            pending: Vec::new(),
            ready: Vec::new(),
            table: FrameTable::default(),
        });
        Ok(Self {
            at: plan.old_bytes(),
            digests: vec![None; specs.len()],
            names: specs.iter().map(|s| s.name.clone()).collect(),
            sink: Sink { footer, frames },
            hasher: Sha256::new(),
            next: 0,
            inside: 0,
            broken: false,
            origins: origins(specs),
            plan,
            file,
        })
    }

    /// Whether the nth tensor's bytes are to be pushed: not so for tied ones.
    pub fn wants(&self, nth: usize) -> bool {
        self.plan.slot(nth).is_some()
    }

    /// Length of all data in bytes.
    pub fn data_bytes(&self) -> u64 {
        self.plan.data_bytes()
    }

    /// Takes the next bytes of the tensors that [`TensorWriter::wants`], in order:
    /// a tensor, a part of one, or several.
    ///
    /// # Errors
    /// `usage.data_size` when there are more bytes than tensors, `io.failed`.
    pub fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.push_all(&[bytes], &mut ())
    }

    /// The same for many slices at once, which lets all cores work on them. After an
    /// error the file can only be dropped.
    ///
    /// # Errors
    /// Those of [`TensorWriter::push`], and what `progress` cancels with.
    pub fn push_all(&mut self, slices: &[&[u8]], progress: &mut dyn Progress) -> Result<()> {
        self.check_whole()?;
        self.broken = true;
        self.take(slices, progress)?;
        self.broken = false;
        Ok(())
    }

    fn check_whole(&self) -> Result<()> {
        match self.broken {
            true => Err(self.refuse("bytes are missing, since an earlier push failed", None)),
            false => Ok(()),
        }
    }

    fn take(&mut self, slices: &[&[u8]], progress: &mut dyn Progress) -> Result<()> {
        let mut pieces = Vec::with_capacity(slices.len());
        let mut whole = Vec::new();
        for slice in slices {
            self.lay_out(slice, &mut pieces, &mut whole)?;
        }
        let hashed = self.sink.write(&self.file, &pieces, &whole, progress)?;
        for (nth, digest) in hashed {
            if let Some(slot) = self.digests.get_mut(nth) {
                *slot = Some(digest);
            }
        }
        Ok(())
    }

    /// Assigns the bytes of a slice to tensors: what goes to the file, gaps
    /// included, and which tensors are whole in it, for their digests.
    fn lay_out<'a>(
        &mut self,
        mut slice: &'a [u8],
        pieces: &mut Vec<&'a [u8]>,
        whole: &mut Vec<(usize, &'a [u8])>,
    ) -> Result<()> {
        while !slice.is_empty() {
            let Some(slot) = self.current() else {
                return Err(self.refuse("more bytes than the tensors hold", None));
            };
            if self.inside == 0 {
                let mut gap = slot.start.saturating_sub(self.at) as usize;
                while gap > 0 {
                    let zeros = ZEROS.get(..gap).unwrap_or(&ZEROS);
                    pieces.push(zeros);
                    gap -= zeros.len();
                }
            }
            let length = slot.end - slot.start;
            let left = usize::try_from(length - self.inside).unwrap_or(usize::MAX);
            let (piece, rest) = slice.split_at(left.min(slice.len()));
            pieces.push(piece);
            slice = rest;
            let starts = self.inside == 0;
            self.inside += piece.len() as u64;
            self.at = slot.start + self.inside;
            let ends = self.inside == length;
            if self.plan.options().digests {
                match (starts, ends) {
                    (true, true) => whole.push((self.next, piece)),
                    _ => self.hasher.update(piece),
                }
                if ends && !starts {
                    let digest = std::mem::take(&mut self.hasher).finish();
                    if let Some(place) = self.digests.get_mut(self.next) {
                        *place = Some(digest);
                    }
                }
            }
            if ends {
                self.next += 1;
                self.inside = 0;
            }
        }
        Ok(())
    }

    /// The place of the tensor that is being written, past tied and empty ones.
    fn current(&mut self) -> Option<Range<u64>> {
        while self.next < self.names.len() {
            match self.plan.slot(self.next) {
                Some(slot) if slot.start < slot.end => return Some(slot),
                _ => self.next += 1,
            }
        }
        None
    }

    fn refuse(&self, message: &str, found: Option<String>) -> Error {
        let mut error = core::Error::new(Code::UsageDataSize, message);
        if let Some(name) = self.names.get(self.next) {
            error = error.tensor(name);
        }
        if let Some(found) = found {
            error = error.found(found);
        }
        Error::from(error).at(self.file.target())
    }

    /// Completes the file and puts it in its place.
    ///
    /// # Errors
    /// `usage.data_size` when bytes are missing, `io.failed`.
    pub fn finish(self) -> Result<()> {
        self.seal()?.commit()
    }

    /// Completes the file without putting it in its place yet.
    ///
    /// # Errors
    /// Those of [`TensorWriter::finish`].
    pub fn seal(mut self) -> Result<Sealed> {
        self.check_whole()?;
        if let Some(slot) = self.current() {
            let found = format!("{} of {} bytes", self.inside, slot.end - slot.start);
            return Err(self.refuse("the tensor's bytes are not complete", Some(found)));
        }
        self.sink.finish(&self.file)?;
        let mut root = None;
        if self.plan.options().digests {
            for (nth, &origin) in self.origins.iter().enumerate() {
                let known = self.digests.get(origin).copied().flatten();
                let digest = known.unwrap_or_else(|| sha256(&[]));
                self.plan.set_digest(self.plan.old_tensors() + nth, digest);
            }
            root = self.rewrite_head()?;
        }
        if let Some(hasher) = self.sink.footer {
            self.file.write(&hasher.finish())?;
        }
        Ok(Sealed {
            file: self.file,
            root,
        })
    }

    /// Writes the head again with its digests, then the footer over it all.
    fn rewrite_head(&mut self) -> Result<Option<Digest>> {
        let failed = |e| self.file.failed(e);
        let head = self.plan.head();
        let mut out = &self.file.file;
        out.seek(SeekFrom::Start(0)).map_err(failed)?;
        out.write_all(&head).map_err(failed)?;
        if self.plan.options().checksum {
            let end = self.file.file.metadata().map_err(failed)?.len();
            let mut hasher = Sha256::new();
            hash_file(&self.file.file, core::PREFIX_BYTES..end, &mut hasher).map_err(failed)?;
            self.sink.footer = Some(hasher);
        }
        // Last, since a read by position moves the file's own on Windows.
        out.seek(SeekFrom::End(0)).map_err(failed)?;
        Ok(self.plan.root())
    }

    /// For appending: old tensors' digests, where the old file lacks them.
    pub(crate) fn set_old_digest(&mut self, nth: usize, digest: Digest) {
        self.plan.set_digest(nth, digest);
    }

    /// For appending: old bytes that were copied as they are.
    pub(crate) fn copied(&mut self, table: Option<FrameTable>) {
        if let (Some(frames), Some(table)) = (&mut self.sink.frames, table) {
            frames.table = table;
        }
    }

    /// For converting: all data that was planned has been copied.
    pub(crate) fn copied_all(&mut self) {
        self.next = self.names.len();
        self.at = self.plan.data_bytes();
    }

    /// For appending: old data that has to be compressed anew.
    pub(crate) fn push_old(&mut self, bytes: &[u8], progress: &mut dyn Progress) -> Result<()> {
        self.sink
            .write(&self.file, &[bytes], &[], progress)
            .map(drop)
    }

    pub(crate) fn out(&self) -> &AtomicFile {
        &self.file
    }

    pub(crate) fn footer(&mut self) -> Option<&mut Sha256> {
        self.sink.footer.as_mut()
    }
}

/// For each tensor, the first one whose bytes it shares: itself, unless tied.
pub(crate) fn origins(specs: &[TensorSpec]) -> Vec<usize> {
    let mut origins: Vec<usize> = Vec::with_capacity(specs.len());
    for (nth, spec) in specs.iter().enumerate() {
        let origin = spec.alias_of.and_then(|of| origins.get(of).copied());
        origins.push(origin.unwrap_or(nth));
    }
    origins
}

static ZEROS: [u8; 4096] = [0; 4096];

/// Where bytes of the blob go: straight to the file, or through frames.
#[derive(Debug)]
struct Sink {
    footer: Option<Sha256>,
    frames: Option<FrameSink>,
}

#[derive(Debug)]
struct FrameSink {
    level: i32,
    plan: VecDeque<Range<u64>>,
    /// The frame that is being filled.
    pending: Vec<u8>,
    /// Filled frames that wait for company.
    ready: Vec<Vec<u8>>,
    table: FrameTable,
}

enum Job<'a> {
    Owned(Vec<u8>),
    Borrowed(&'a [u8]),
}

impl Job<'_> {
    /// Lends bytes that nobody changes. What the caller holds may be written to meanwhile,
    /// and zstd reads it more than once: the frame would hold one thing, and its checksum be
    /// of another.
    fn still<T>(&self, work: impl FnOnce(&[u8]) -> T) -> T {
        thread_local! {
            static COPY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        /// Longer frames are not kept room for in every thread.
        const KEPT: usize = 4 << 20;
        match self {
            Self::Owned(bytes) => work(bytes),
            Self::Borrowed(bytes) if bytes.len() > KEPT => {
                let copy = bytes.to_vec();
                work(&copy)
            }
            Self::Borrowed(bytes) => COPY.with_borrow_mut(|copy| {
                copy.clear();
                copy.extend_from_slice(bytes);
                work(copy)
            }),
        }
    }
}

impl Sink {
    /// Writes pieces of the blob while other threads hash them, and hashes whole
    /// tensors for their digests.
    fn write(
        &mut self,
        file: &AtomicFile,
        pieces: &[&[u8]],
        whole: &[(usize, &[u8])],
        progress: &mut dyn Progress,
    ) -> Result<Vec<(usize, Digest)>> {
        const ALONE_BELOW: usize = 256 << 10;
        let total: usize = pieces.iter().map(|p| p.len()).sum();
        let hash_whole = || {
            whole
                .par_iter()
                .map(|(nth, bytes)| (*nth, sha256(bytes)))
                .collect()
        };
        let Self { footer, frames } = self;
        if let Some(frames) = frames {
            let (hashed, written) = if whole.is_empty() {
                (Vec::new(), frames.write(file, pieces, footer, progress))
            } else if total < ALONE_BELOW {
                (hash_whole(), frames.write(file, pieces, footer, progress))
            } else {
                beside(hash_whole, || frames.write(file, pieces, footer, progress))
            };
            return written.map(|()| hashed);
        }
        if total < ALONE_BELOW || (footer.is_none() && whole.is_empty()) || num_threads() == 1 {
            write_plain(file, pieces, progress)?;
            if let Some(hasher) = footer {
                pieces.iter().for_each(|piece| hasher.update(piece));
            }
            return Ok(run(hash_whole));
        }
        let stop = AtomicBool::new(false);
        let (hashed, written) = std::thread::scope(|scope| {
            let footer = footer.as_mut().map(|hasher| {
                let stop = &stop;
                scope.spawn(move || {
                    let chunks = pieces.iter().flat_map(|piece| piece.chunks(STEP));
                    chunks
                        .take_while(|_| !stop.load(Ordering::Relaxed))
                        .for_each(|chunk| hasher.update(chunk));
                })
            });
            let (hashed, written) = beside(
                || {
                    if whole.is_empty() {
                        Vec::new()
                    } else {
                        hash_whole()
                    }
                },
                || write_plain(file, pieces, progress),
            );
            stop.store(written.is_err(), Ordering::Relaxed);
            let joined = footer.is_none_or(|thread| thread.join().is_ok());
            (
                hashed,
                written.and(if joined {
                    Ok(())
                } else {
                    Err(Error::new(Code::Io, "a thread failed"))
                }),
            )
        });
        written.map(|()| hashed)
    }

    /// Ends the blob: the last frames and the seek table.
    fn finish(&mut self, file: &AtomicFile) -> Result<()> {
        let Some(frames) = &mut self.frames else {
            return Ok(());
        };
        let ready: Vec<_> = frames.ready.drain(..).map(Job::Owned).collect();
        frames.encode(file, &ready, &mut self.footer, &mut ())?;
        let table = frames.table.emit();
        emit(file, &table, &mut self.footer)
    }
}

const STEP: usize = 8 << 20;

/// Writes pieces in order; small ones are gathered first.
fn write_plain(file: &AtomicFile, pieces: &[&[u8]], progress: &mut dyn Progress) -> Result<()> {
    const SMALL: usize = 64 << 10;
    const GATHER: usize = 1 << 20;
    let mut gathered: Vec<u8> = Vec::new();
    for piece in pieces {
        if piece.len() < SMALL {
            if gathered.len() + piece.len() > GATHER {
                file.write(&gathered)?;
                progress.advance(gathered.len() as u64)?;
                gathered.clear();
            }
            gathered.extend_from_slice(piece);
            continue;
        }
        file.write(&gathered)?;
        progress.advance(gathered.len() as u64)?;
        gathered.clear();
        for chunk in piece.chunks(STEP) {
            file.write(chunk)?;
            progress.advance(chunk.len() as u64)?;
        }
    }
    file.write(&gathered)?;
    progress.advance(gathered.len() as u64)
}

fn emit(file: &AtomicFile, bytes: &[u8], footer: &mut Option<Sha256>) -> Result<()> {
    file.write(bytes)?;
    if let Some(hasher) = footer {
        hasher.update(bytes);
    }
    Ok(())
}

impl FrameSink {
    /// Frames in work at once, for each thread.
    const PER_THREAD: usize = 16;

    /// Cuts pieces into the planned frames and compresses those that are full.
    fn write(
        &mut self,
        file: &AtomicFile,
        pieces: &[&[u8]],
        footer: &mut Option<Sha256>,
        progress: &mut dyn Progress,
    ) -> Result<()> {
        let mut jobs: Vec<Job<'_>> = self.ready.drain(..).map(Job::Owned).collect();
        for mut piece in pieces.iter().copied() {
            while !piece.is_empty() {
                let Some(frame) = self.plan.front() else {
                    return Err(Error::new(
                        Code::UsageDataSize,
                        "more bytes than frames were planned for",
                    ));
                };
                let wanted = (frame.end - frame.start) as usize - self.pending.len();
                let (part, rest) = piece.split_at(wanted.min(piece.len()));
                piece = rest;
                let full = part.len() == wanted;
                if full && self.pending.is_empty() {
                    jobs.push(Job::Borrowed(part));
                } else {
                    self.pending.extend_from_slice(part);
                    if full {
                        jobs.push(Job::Owned(std::mem::take(&mut self.pending)));
                    }
                }
                if full {
                    self.plan.pop_front();
                }
            }
        }
        let many = jobs.len() >= num_threads() * Self::PER_THREAD;
        if many || jobs.iter().any(|job| matches!(job, Job::Borrowed(_))) {
            return self.encode(file, &jobs, footer, progress);
        }
        self.ready
            .extend(jobs.into_iter().filter_map(|job| match job {
                Job::Owned(bytes) => Some(bytes),
                Job::Borrowed(_) => None,
            }));
        Ok(())
    }

    /// Compresses frames in parallel and writes them in order: while one batch is
    /// compressed the one before is written.
    fn encode(
        &mut self,
        file: &AtomicFile,
        jobs: &[Job<'_>],
        footer: &mut Option<Sha256>,
        progress: &mut dyn Progress,
    ) -> Result<()> {
        let level = self.level;
        let mut before: Vec<(u64, Vec<u8>)> = Vec::new();
        let mut after: Vec<(u64, Vec<u8>)> = Vec::new();
        let mut store = |done: &[(u64, Vec<u8>)]| -> Result<()> {
            for (data, stored) in done {
                emit(file, stored, footer)?;
                self.table.push(stored.len() as u64, *data)?;
                progress.advance(*data)?;
            }
            Ok(())
        };
        for batch in jobs.chunks(num_threads() * Self::PER_THREAD) {
            after.resize_with(batch.len(), Default::default);
            after.truncate(batch.len());
            let compress = |(job, (data, stored)): (&Job<'_>, &mut (u64, Vec<u8>))| {
                job.still(|bytes| {
                    *data = bytes.len() as u64;
                    Zstd.encode(bytes, level, stored)
                })
            };
            let (compressed, stored) = match batch {
                [job] => (
                    after.iter_mut().try_for_each(|out| compress((job, out))),
                    store(&before),
                ),
                _ => beside(
                    || batch.par_iter().zip(&mut after).try_for_each(compress),
                    || store(&before),
                ),
            };
            stored?;
            compressed?;
            std::mem::swap(&mut before, &mut after);
        }
        store(&before)
    }
}
