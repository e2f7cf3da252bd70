//! Copying tensors from open files into a new one, as they are.

use crate::error::Result;
use crate::file::TensorFile;
use crate::options::Progress;
use crate::sharded::ShardedWriter;
use crate::threads::{run, try_each};
use crate::writer::TensorWriter;
use deathtensors_core::{TensorSpec, WriteOptions};
use rayon::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A tensor of an open file, and the name it shall have.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// The file.
    pub file: &'a TensorFile,
    /// The tensor's place in it.
    pub nth: usize,
    /// Its name in the new file.
    pub name: &'a str,
}

/// Writes a file that holds `parts`, in that order. Tensors that are tied in their
/// file stay tied.
///
/// # Errors
/// Those of [`TensorWriter`] and of [`TensorFile::read`].
pub fn copy_tensors(
    path: impl AsRef<Path>,
    parts: &[Part<'_>],
    global_metadata: &BTreeMap<String, String>,
    options: &WriteOptions,
    progress: &mut dyn Progress,
) -> Result<()> {
    let specs = specs(parts)?;
    check_sources(parts, options)?;
    let mut writer = TensorWriter::create(path, &specs, global_metadata, options)?;
    progress.start(writer.data_bytes());
    feed(parts, 0..parts.len(), &mut writer, progress)?;
    writer.finish()
}

/// The same into shards of at most `max_shard_bytes` and an index at `path`.
/// Returns the shards' paths.
///
/// # Errors
/// Those of [`copy_tensors`].
pub fn copy_tensors_sharded(
    path: impl AsRef<Path>,
    parts: &[Part<'_>],
    max_shard_bytes: u64,
    global_metadata: &BTreeMap<String, String>,
    options: &WriteOptions,
    progress: &mut dyn Progress,
) -> Result<Vec<PathBuf>> {
    let specs = specs(parts)?;
    check_sources(parts, options)?;
    let mut sharded = ShardedWriter::create(
        path,
        specs,
        global_metadata.clone(),
        max_shard_bytes,
        *options,
    )?;
    progress.start(sharded.data_bytes());
    for range in sharded.ranges() {
        let mut writer = sharded.start()?;
        feed(parts, range, &mut writer, progress)?;
        sharded.add(writer.seal()?);
    }
    sharded.finish()
}

/// A new footer or new digests over bytes that are damaged would hide the damage:
/// what the sources carry is checked before.
fn check_sources(parts: &[Part<'_>], options: &WriteOptions) -> Result<()> {
    if !options.checksum && !options.digests {
        return Ok(());
    }
    let mut footed: Vec<&TensorFile> = Vec::new();
    let mut digested = Vec::new();
    for part in parts {
        if part.file.tensor(part.nth)?.sha256.is_some() {
            digested.push(part);
        } else if !footed.iter().any(|file| std::ptr::eq(*file, part.file)) {
            footed.push(part.file);
        }
    }
    run(|| {
        try_each(footed.par_iter(), |file| {
            file.verify_footer(&mut ()).map(drop)
        })?;
        let check = |part: &&Part<'_>| part.file.verify_nth(part.nth, &mut ()).map(drop);
        try_each(digested.par_iter(), check)
    })
}

fn specs(parts: &[Part<'_>]) -> Result<Vec<TensorSpec>> {
    let mut seen: HashMap<(*const TensorFile, u64, u64, _, _), usize> = HashMap::new();
    let mut specs = Vec::with_capacity(parts.len());
    for (nth, part) in parts.iter().enumerate() {
        let tensor = part.file.tensor(part.nth)?;
        let mut spec = TensorSpec::new(part.name, tensor.dtype, tensor.shape);
        spec.metadata = tensor
            .metadata
            .iter()
            .map(|(k, v)| (k.into(), v.into()))
            .collect();
        if tensor.nbytes() > 0 {
            let key = (
                std::ptr::from_ref(part.file),
                tensor.start,
                tensor.end,
                tensor.dtype,
                tensor.shape,
            );
            spec.alias_of = seen.get(&key).copied();
            seen.entry(key).or_insert(nth);
        }
        specs.push(spec);
    }
    Ok(specs)
}

/// Pushes the bytes of the tensors in `range`: views in one go, so that all cores
/// can work on them, compressed ones piece by piece.
fn feed(
    parts: &[Part<'_>],
    range: Range<usize>,
    writer: &mut TensorWriter,
    progress: &mut dyn Progress,
) -> Result<()> {
    let mut views: Vec<&[u8]> = Vec::new();
    for (local, part) in parts.get(range).unwrap_or_default().iter().enumerate() {
        let tensor = part.file.tensor(part.nth)?;
        if !writer.wants(local) {
            continue;
        }
        part.file.ensure_checked(part.nth)?;
        let plain = part.file.catalogue().locate(tensor.data());
        if let Some(bytes) = plain.and_then(|range| part.file.source.borrow(&range)) {
            views.push(bytes);
            continue;
        }
        writer.push_all(&views, progress)?;
        views.clear();
        part.file.visit_tensor(part.nth, &mut (), &mut |bytes| {
            writer.push_all(&[bytes], progress)
        })?;
    }
    writer.push_all(&views, progress)
}
