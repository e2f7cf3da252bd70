//! Adding tensors to a file: its old bytes are copied as they are.

use crate::atomic::AtomicFile;
use crate::error::{Error, Result};
use crate::file::TensorFile;
use crate::options::{OpenOptions, Progress};
use crate::remote::BATCH_BYTES;
use crate::source::{Source, hash_file, memory};
use crate::threads::run;
use crate::writer::TensorWriter;
use deathtensors_core::digest::{Digest, Sha256};
use deathtensors_core::shards::ShardIndex;
use deathtensors_core::{Code, FrameTable, Limits, TensorSpec, WriteOptions, WritePlan};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::mpsc;
use zstd::zstd_safe::find_frame_compressed_size;

/// How [`TensorWriter::append`] writes. Compression and footer are the file's.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct AppendOptions {
    /// Level for new frames, 1 to 22; none for 3.
    pub compress_level: Option<i32>,
    /// Whether the file carries digests afterwards; none keeps what it has.
    pub digests: Option<bool>,
    /// Alignment of new tensors, as in [`WriteOptions`]; none for no more than
    /// their dtypes need.
    pub alignment: Option<u64>,
    /// Caps on what the file that is there may ask for.
    pub limits: Limits,
}

const DEFAULT_LEVEL: i32 = 3;

impl TensorWriter {
    /// Starts a new version of the file at `path` that also holds `specs`, whose
    /// bytes are pushed as for a new file. The old version stays whole until
    /// [`TensorWriter::finish`]. Old data is neither loaded nor compressed again.
    /// Keys of `extra_metadata` that the file has already are ignored.
    ///
    /// # Errors
    /// Those of [`TensorFile::open`] and [`TensorWriter::create`];
    /// `usage.duplicate_name` when a name exists already; `usage.value` for the index of a
    /// sharded model.
    pub fn append(
        path: impl AsRef<Path>,
        specs: &[TensorSpec],
        extra_metadata: &BTreeMap<String, String>,
        options: &AppendOptions,
        progress: &mut dyn Progress,
    ) -> Result<Self> {
        let path = path.as_ref();
        let reading = OpenOptions {
            limits: options.limits,
            ..Default::default()
        };
        let old = TensorFile::open_with(path, &reading)?;
        // With tensors of its own it would be no index any more, and the model lost.
        if ShardIndex::is_index(old.header()) {
            return Err(Error::new(
                Code::UsageValue,
                "the file is the index of a sharded model and holds no tensors itself; \
                 merge it into one file and append to that",
            )
            .at(path));
        }
        let flags = old.catalogue().flags();
        let mut write = WriteOptions::default();
        write.checksum = flags.checksum;
        write.compress = flags
            .compressed
            .then_some(options.compress_level.unwrap_or(DEFAULT_LEVEL));
        write.digests = options
            .digests
            .unwrap_or_else(|| old.header().has_digests());
        write.alignment = options.alignment.unwrap_or(1);
        let plan = WritePlan::extend(
            old.header(),
            specs,
            extra_metadata,
            &write,
            &Limits::DEFAULT,
        )
        .map_err(|e| Error::from(e).at(path))?;
        let kept = if flags.compressed {
            reusable(&old)?
        } else {
            None
        };
        // Data whose frames cannot be kept is compressed anew, from its start.
        let anew = flags.compressed && kept.is_none();
        let frames_from = if anew { 0 } else { plan.old_bytes() };
        // What is kept is copied as it is stored.
        let old_bytes = kept.as_ref().map_or(plan.old_bytes(), |t| t.totals().0);
        let file = AtomicFile::replace(path, old.source.file()?)?;
        progress.start(old_bytes + (plan.data_bytes() - plan.old_bytes()));
        let mut writer = Self::start(file, plan, specs, frames_from)?;
        if anew {
            check_old_footer(&old)?;
            old.visit(0..old.catalogue().data_bytes(), &mut (), &mut |bytes| {
                writer.push_old(bytes, progress)
            })?;
        } else {
            let start = old.catalogue().blob().start;
            copy_old(&old, start..start + old_bytes, &mut writer, progress)?;
            writer.copied(kept);
        }
        if write.digests {
            // Many names may stand for the same bytes, which are hashed once.
            let mut bare: BTreeMap<_, Vec<usize>> = BTreeMap::new();
            for (nth, tensor) in old.header().tensors().enumerate() {
                if tensor.sha256.is_none() {
                    let span = (tensor.start, tensor.end);
                    bare.entry(span).or_default().push(nth);
                }
            }
            let digest = |nths: &Vec<usize>| {
                let first = nths.first().map(|&nth| old.digest(nth));
                first.unwrap_or_else(|| Ok(Digest::default()))
            };
            let digests: Vec<_> = run(|| bare.par_iter().map(|(_, nths)| digest(nths)).collect());
            for (nths, digest) in bare.values().zip(digests) {
                let digest = digest?;
                nths.iter()
                    .for_each(|&nth| writer.set_old_digest(nth, digest));
            }
        }
        Ok(writer)
    }
}

/// The table of a compressed blob's frames, if they can be kept as they are. A
/// blob without a seek table qualifies when it is one frame that a table can
/// describe, which is what 0.3.0 wrote.
fn reusable(old: &TensorFile) -> Result<Option<FrameTable>> {
    if let Some(table) = old.frames()? {
        return Ok(Some(table));
    }
    let data = old.catalogue().data_bytes();
    if data == 0 {
        return Ok(Some(FrameTable::default()));
    }
    let blob = old.catalogue().blob();
    if old.source.borrow(&blob).is_none() {
        old.afford(blob.end - blob.start)?;
    }
    let stored = old.source.read(&blob)?;
    if find_frame_compressed_size(&stored).ok() != Some(stored.len()) {
        return Ok(None);
    }
    let mut table = FrameTable::default();
    Ok(table.push(stored.len() as u64, data).ok().map(|()| table))
}

/// Copies a range of the old file to the end of the new one, while another thread
/// hashes it for the footer.
fn copy_old(
    old: &TensorFile,
    range: Range<u64>,
    writer: &mut TensorWriter,
    progress: &mut dyn Progress,
) -> Result<()> {
    let mut hasher = writer.footer().map(std::mem::take);
    let hasher_wanted = old.catalogue().footer().is_some();
    let written = std::thread::scope(|scope| {
        let hashing = hasher.as_mut().map(|hasher| {
            let range = range.clone();
            scope.spawn(move || -> Result<()> {
                hash_file(old.source.file()?, range, hasher)
                    .map_err(|e| Error::io("read", old.path(), e))
            })
        });
        // A new footer over old bytes that are damaged would hide the damage.
        let checking = hasher_wanted.then(|| scope.spawn(|| check_old_footer(old)));
        let copied = copy_range(&old.source, range.clone(), writer.out(), progress);
        let hashed = hashing.map_or(Ok(()), |thread| {
            thread
                .join()
                .unwrap_or_else(|_| Err(Error::new(Code::Io, "a thread failed")))
        });
        let checked = checking.map_or(Ok(()), |thread| {
            thread
                .join()
                .unwrap_or_else(|_| Err(Error::new(Code::Io, "a thread failed")))
        });
        copied.and(hashed).and(checked)
    });
    if let (Some(place), Some(hasher)) = (writer.footer(), hasher) {
        *place = hasher;
    }
    written
}

/// Refuses an old file whose footer disagrees.
fn check_old_footer(old: &TensorFile) -> Result<()> {
    if old.catalogue().footer().is_none() {
        return Ok(());
    }
    let failed = |e| Error::io("read", old.path(), e);
    let mut hasher = Sha256::new();
    hash_file(old.source.file()?, old.catalogue().footed(), &mut hasher).map_err(failed)?;
    old.footer_differs(&hasher.finish())?.map_or(Ok(()), Err)
}

/// Appends a range of one file to another, while another thread reads what comes next.
///
/// Through buffers that stay in the cache: `copy_file_range` works page by page and
/// stumbles when the two offsets differ within a page, as they do here, and a fresh map
/// costs more in faults than the second copy does.
pub(crate) fn copy_range(
    from: &Source,
    range: Range<u64>,
    to: &AtomicFile,
    progress: &mut dyn Progress,
) -> Result<()> {
    const BUFFER_BYTES: u64 = 1 << 20;
    const BUFFERS: usize = 3;
    if from.is_elsewhere() {
        return copy_from_elsewhere(from, range, to, progress);
    }
    let read = |mut buffer: Vec<u8>, at: u64| -> Result<Vec<u8>> {
        buffer.resize((range.end - at).min(BUFFER_BYTES) as usize, 0);
        from.copy_into(at, &mut buffer)?;
        Ok(buffer)
    };
    let mut write = |buffer: &[u8]| -> Result<()> {
        to.write(buffer)?;
        progress.advance(buffer.len() as u64)
    };
    let steps = || range.clone().step_by(BUFFER_BYTES as usize);
    if range.end.saturating_sub(range.start) <= BUFFERS as u64 * BUFFER_BYTES {
        return steps().try_for_each(|at| write(&read(Vec::new(), at)?));
    }
    let (full, filled) = mpsc::sync_channel(BUFFERS);
    let (back, empty) = mpsc::channel();
    for _ in 0..BUFFERS {
        let _ = back.send(Vec::new());
    }
    let (read, steps) = (&read, &steps);
    // What the writing holds is dropped before the reading is waited for, so that it
    // stops also when the writing has failed.
    std::thread::scope(move |scope| {
        let reading = move || {
            for at in steps() {
                let Ok(buffer) = empty.recv() else { return };
                if full.send(read(buffer, at)).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new()
            .spawn_scoped(scope, reading)
            .map_err(|e| Error::io("read", &from.path, e))?;
        for _ in steps() {
            let Ok(buffer) = filled.recv() else { break };
            let buffer = buffer?;
            write(&buffer)?;
            let _ = back.send(buffer);
        }
        Ok(())
    })
}

/// The same where bytes come in few large requests.
fn copy_from_elsewhere(
    from: &Source,
    mut range: Range<u64>,
    to: &AtomicFile,
    progress: &mut dyn Progress,
) -> Result<()> {
    let mut buffer = memory(BATCH_BYTES.min(range.end.saturating_sub(range.start)))?;
    while range.start < range.end {
        let step = BATCH_BYTES.min(range.end - range.start);
        let part = buffer.get_mut(..step as usize).unwrap_or_default();
        from.copy_into(range.start, part)?;
        to.write(part)?;
        progress.advance(step)?;
        range.start += step;
    }
    Ok(())
}
