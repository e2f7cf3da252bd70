//! From and to safetensors, and the manifest sidecar.

use crate::append::copy_range;
use crate::atomic::AtomicFile;
use crate::error::{Error, Result};
use crate::file::TensorFile;
use crate::options::{Backend, OpenOptions, Progress};
use crate::remote::{BATCH_BYTES, RangeSource};
use crate::source::{Source, memory};
use crate::writer::TensorWriter;
use deathtensors_core::safetensors::{self, Safetensors};
use deathtensors_core::{Limits, WriteOptions, manifest};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// Converts a safetensors file. Tensors keep their order; `__metadata__` becomes
/// the file's metadata.
///
/// # Errors
/// `safetensors.invalid`, what `limits` refuse of it, and what [`TensorWriter`] refuses.
pub fn from_safetensors(
    src: impl AsRef<Path>,
    dst: impl AsRef<Path>,
    options: &WriteOptions,
    limits: &Limits,
    progress: &mut dyn Progress,
) -> Result<()> {
    let source = Source::open(src.as_ref(), Backend::Mmap)?;
    convert(&source, dst.as_ref(), options, limits, progress)
}

/// The same for a file that `ranges` brings; `name` stands for its path in errors. It is
/// read once, and what is held of it at a time does not depend on its length.
///
/// # Errors
/// Those of [`from_safetensors`], and what `ranges` fails with.
pub fn from_safetensors_ranges(
    name: impl AsRef<Path>,
    ranges: Arc<dyn RangeSource>,
    dst: impl AsRef<Path>,
    options: &WriteOptions,
    limits: &Limits,
    progress: &mut dyn Progress,
) -> Result<()> {
    let source = Source::elsewhere(name.as_ref(), ranges);
    convert(&source, dst.as_ref(), options, limits, progress)
}

fn convert(
    source: &Source,
    dst: &Path,
    options: &WriteOptions,
    limits: &Limits,
    progress: &mut dyn Progress,
) -> Result<()> {
    let src = &*source.path;
    let refuse = |e: deathtensors_core::Error| Error::from(e).at(src);
    let parsed = parse(source, limits).map_err(|e| e.at(src))?;
    let (specs, metadata) = parsed.specs(limits).map_err(refuse)?;
    let mut writer = TensorWriter::create(dst, &specs, &metadata, options)?;
    progress.start(writer.data_bytes());
    let ranges: Vec<_> = parsed
        .tensors
        .iter()
        .map(|t| parsed.data_start + t.data.start..parsed.data_start + t.data.end)
        .collect();
    // One run of bytes, in the same order and without gaps, and nothing to be
    // computed from it: the kernel can move it alone.
    let plain = options.compress.is_none() && !options.checksum && !options.digests;
    let joined = ranges
        .windows(2)
        .all(|pair| matches!(pair, [a, b] if a.end == b.start));
    let whole = ranges.first().map_or(0, |r| r.start)..ranges.last().map_or(0, |r| r.end);
    if plain && joined && whole.end - whole.start == writer.data_bytes() {
        copy_range(source, whole, writer.out(), progress)?;
        writer.copied_all();
        return writer.finish();
    }
    if source.is_elsewhere() {
        for window in windows(&ranges) {
            let mut bytes = memory(window.end - window.start)?;
            source.copy_into(window.start, &mut bytes)?;
            writer.push_all(&[&bytes], progress)?;
        }
        return writer.finish();
    }
    let mut slices = Vec::with_capacity(ranges.len());
    for range in &ranges {
        slices.push(source.borrow(range).unwrap_or_default());
    }
    writer.push_all(&slices, progress)?;
    writer.finish()
}

/// The ranges' bytes in order, as few spans that are each short enough to hold.
fn windows(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut out: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        let mut at = range.start;
        while at < range.end {
            let room = match out.last_mut() {
                Some(last) if last.end == at => BATCH_BYTES - (last.end - last.start),
                _ => 0,
            };
            let end = range
                .end
                .min(at + if room > 0 { room } else { BATCH_BYTES });
            match out.last_mut() {
                Some(last) if room > 0 => last.end = end,
                _ => out.push(at..end),
            }
            at = end;
        }
    }
    out
}

fn parse(source: &Source, limits: &Limits) -> Result<Safetensors> {
    let mut first = memory(source.head_bytes())?;
    source.copy_into(0, &mut first)?;
    let length = safetensors::header_bytes(&first, source.len, limits)?;
    if let Some(json) = first.get(8..8 + length as usize) {
        return Ok(safetensors::parse(json, source.len, limits)?);
    }
    let mut json = memory(length)?;
    source.copy_into(8, &mut json)?;
    Ok(safetensors::parse(&json, source.len, limits)?)
}

/// Converts to safetensors. Tied tensors are stored once for each name, which is
/// all that safetensors can say.
///
/// # Errors
/// `safetensors.dtype` for a tensor that safetensors has no type for, the
/// `frames.*` codes, what opening with `options` refuses, `io.failed`.
pub fn to_safetensors(
    src: impl AsRef<Path>,
    dst: impl AsRef<Path>,
    options: &OpenOptions,
    progress: &mut dyn Progress,
) -> Result<()> {
    let src = src.as_ref();
    let file = TensorFile::open_with(src, options)?;
    let (head, spans) = safetensors::emit(file.header()).map_err(|e| Error::from(e).at(src))?;
    let mut out = AtomicFile::create(dst.as_ref())?;
    progress.start(spans.iter().map(|s| s.end - s.start).sum());
    out.write(&head)?;
    let mut spans = spans.into_iter().filter(|s| s.start < s.end).peekable();
    while let Some(mut span) = spans.next() {
        while let Some(next) = spans.next_if(|next| next.start == span.end) {
            span.end = next.end;
        }
        match file.catalogue().locate(span.clone()) {
            Some(range) => copy_range(&file.source, range, &out, progress)?,
            None => file.visit(span, progress, &mut |bytes| out.write(bytes))?,
        }
    }
    out.commit()
}

/// Writes the manifest sidecar of an open file to `path`.
///
/// # Errors
/// `io.failed`.
pub fn write_manifest(file: &TensorFile, path: impl AsRef<Path>, written_at: &str) -> Result<()> {
    let text = manifest::emit(file.header(), env!("CARGO_PKG_VERSION"), written_at);
    let mut out = AtomicFile::create(path.as_ref())?;
    out.write(text.as_bytes())?;
    out.commit()
}

/// Reads the manifest sidecar at `path`: its text, once it was found to be one.
///
/// # Errors
/// `manifest.invalid`, the `tensor.*` and `limit.*` codes, `not_found.file`, `io.failed`.
pub fn read_manifest(path: impl AsRef<Path>, limits: &Limits) -> Result<Vec<u8>> {
    let path = path.as_ref();
    let read = || {
        let source = Source::open(path, Backend::Pread)?;
        manifest::check_length(source.len, limits)?;
        let mut text = memory(source.len)?;
        source.copy_into(0, &mut text)?;
        manifest::parse(&text, limits)?;
        Ok(text.to_vec())
    };
    read().map_err(|e: Error| e.at(path))
}
