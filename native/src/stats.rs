//! Statistics of tensors, in parallel and independent of how many threads.

use crate::error::Result;
use crate::file::TensorFile;
use crate::map;
use crate::options::Progress;
use crate::threads::run;
use deathtensors_core::stats::{BLOCK_BYTES, Partial, Stats};
use deathtensors_core::{Dtype, TensorInfo};
use rayon::prelude::*;
use std::sync::atomic::Ordering;

/// How much is measured between two reports of progress.
const ROUND_BYTES: usize = 256 << 20;

impl TensorFile {
    /// Statistics of one tensor (spec, "Statistics"), in bounded memory.
    ///
    /// # Errors
    /// `not_found.tensor`, the `frames.*` codes, `io.failed`.
    pub fn stats(&self, name: &str) -> Result<Stats> {
        self.stats_with(name, &mut ())
    }

    /// The same for long work: `progress` hears of it.
    ///
    /// # Errors
    /// Those of [`TensorFile::stats`], and what `progress` cancels with.
    pub fn stats_with(&self, name: &str, progress: &mut dyn Progress) -> Result<Stats> {
        let nth = self.position(name)?;
        self.ensure_checked(nth)?;
        progress.start(self.tensor(nth)?.nbytes());
        self.measure(nth, progress).map_err(|e| e.tensor(name))
    }

    /// Statistics of every tensor, in the file's order.
    ///
    /// # Errors
    /// Those of [`TensorFile::stats`].
    pub fn all_stats(&self, progress: &mut dyn Progress) -> Result<Vec<Stats>> {
        progress.start(self.header().tensors().map(|t| t.nbytes()).sum());
        let mut out = Vec::with_capacity(self.header().len());
        for nth in 0..self.header().len() {
            self.ensure_checked(nth)?;
        }
        let tensors: Vec<_> = self.header().tensors().collect();
        let mut rest = &*tensors;
        if self.source.is_elsewhere() {
            return self.stats_of_brought(progress);
        }
        let fresh = !self.walked.swap(true, Ordering::Relaxed);
        while !rest.is_empty() {
            // Plain tensors are measured together, so that small ones share the
            // threads as well as large ones do.
            let mut bytes = 0;
            let fits = |tensor: &&TensorInfo<'_>| {
                let fits = bytes < ROUND_BYTES as u64;
                bytes += tensor.nbytes();
                fits
            };
            let (group, tail) = rest.split_at(rest.iter().take_while(fits).count().max(1));
            rest = tail;
            let views: Option<Vec<_>> = group
                .iter()
                .map(|t| Some((t.dtype, self.borrowed(t)?)))
                .collect();
            match views {
                Some(views) => {
                    out.extend(measure_views(&views, fresh));
                    progress.advance(views.iter().map(|v| v.1.len() as u64).sum())?;
                }
                None => {
                    for tensor in group {
                        let stats = self.measure(out.len(), progress);
                        out.push(stats.map_err(|e| e.tensor(tensor.name))?);
                    }
                }
            }
        }
        Ok(out)
    }

    /// The same where small tensors are asked for together.
    fn stats_of_brought(&self, progress: &mut dyn Progress) -> Result<Vec<Stats>> {
        let nths: Vec<_> = (0..self.header().len()).collect();
        let mut out = Vec::with_capacity(nths.len());
        for batch in self.batches(&nths) {
            if let &[nth] = batch {
                let stats = self.measure(nth, progress);
                out.push(stats.map_err(|e| match self.header().at(nth) {
                    Some(tensor) => e.tensor(tensor.name),
                    None => e,
                })?);
                continue;
            }
            let all = self.read_unchecked(batch, progress)?;
            self.check_all(batch, &all, progress)?;
            let mut views: Vec<(Dtype, &[u8])> = Vec::with_capacity(batch.len());
            for (&nth, bytes) in batch.iter().zip(&all) {
                views.push((self.tensor(nth)?.dtype, bytes));
            }
            out.extend(measure_views(&views, false));
        }
        Ok(out)
    }

    fn borrowed(&self, tensor: &TensorInfo<'_>) -> Option<&[u8]> {
        self.source.borrow(&self.catalogue().locate(tensor.data())?)
    }

    fn measure(&self, nth: usize, progress: &mut dyn Progress) -> Result<Stats> {
        let tensor = &self.tensor(nth)?;
        let mut total: Option<Partial> = None;
        let mut add = |bytes: &[u8]| {
            let parts: Vec<_> = match bytes.len() {
                0..=BLOCK_BYTES => vec![block(tensor.dtype, bytes)],
                _ => run(|| {
                    bytes
                        .par_chunks(BLOCK_BYTES)
                        .map(|b| block(tensor.dtype, b))
                        .collect()
                }),
            };
            for part in parts {
                match &mut total {
                    Some(total) => total.merge(&part),
                    None => total = Some(part),
                }
            }
        };
        if let Some(all) = self.borrowed(tensor) {
            let mut done = 0;
            for round in all.chunks(ROUND_BYTES / BLOCK_BYTES * BLOCK_BYTES) {
                add(round);
                done += round.len();
                progress.advance(round.len() as u64)?;
            }
            debug_assert_eq!(done, all.len());
        } else {
            // Pieces come as long as frames; blocks are cut from them.
            let mut held: Vec<u8> = Vec::new();
            self.visit_tensor(nth, progress, &mut |mut bytes| {
                if !held.is_empty() {
                    let take = (BLOCK_BYTES - held.len() % BLOCK_BYTES).min(bytes.len());
                    let (head, tail) = bytes.split_at(take);
                    held.extend_from_slice(head);
                    bytes = tail;
                    if !held.len().is_multiple_of(BLOCK_BYTES) {
                        return Ok(());
                    }
                    add(&held);
                    held.clear();
                }
                let whole = bytes.len() / BLOCK_BYTES * BLOCK_BYTES;
                let (blocks, tail) = bytes.split_at(whole);
                if !blocks.is_empty() {
                    add(blocks);
                }
                held.extend_from_slice(tail);
                Ok(())
            })?;
            if !held.is_empty() {
                add(&held);
            }
        }
        Ok(total.unwrap_or_else(|| block(tensor.dtype, &[])).finish())
    }
}

/// Statistics of many tensors at once: all their blocks in parallel, then merged
/// tensor by tensor in order.
///
/// Pages of a `fresh` map are made present first. Later they mostly are, and asking
/// would cost a tenth of the work.
fn measure_views(views: &[(Dtype, &[u8])], fresh: bool) -> Vec<Stats> {
    let blocks: Vec<(Dtype, &[u8])> = views
        .iter()
        .flat_map(|&(dtype, bytes)| {
            let empty = bytes.is_empty().then_some(bytes);
            bytes
                .chunks(BLOCK_BYTES)
                .chain(empty)
                .map(move |b| (dtype, b))
        })
        .collect();
    let mut parts = run(|| {
        blocks
            .par_iter()
            .map(|&(dtype, b)| {
                if fresh {
                    map::make_readable(b);
                }
                block(dtype, b)
            })
            .collect::<Vec<_>>()
    })
    .into_iter();
    views
        .iter()
        .map(|&(dtype, bytes)| {
            let first = parts.next().unwrap_or_else(|| block(dtype, &[]));
            let others = bytes.len().div_ceil(BLOCK_BYTES).max(1) - 1;
            let total = parts.by_ref().take(others).fold(first, |mut total, part| {
                total.merge(&part);
                total
            });
            total.finish()
        })
        .collect()
}

/// Summarises a block of bytes, which may not be near.
fn block(dtype: Dtype, bytes: &[u8]) -> Partial {
    #[cfg(target_arch = "x86_64")]
    return deathtensors_core::stats::block_ahead(dtype, bytes, map::prefetch);
    #[cfg(not(target_arch = "x86_64"))]
    deathtensors_core::stats::block(dtype, bytes)
}
