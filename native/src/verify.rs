//! Checking a file against all that it carries.

use crate::error::{Error, Result};
use crate::file::{STEP_BYTES, TensorFile};
use crate::options::Progress;
use crate::threads::{num_threads, run};
use deathtensors_core::digest::{Digest, Sha256, hex};
use deathtensors_core::{self as core, Code};
use rayon::prelude::*;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What [`TensorFile::verify`] found. None means that the file carries nothing to
/// check that part by.
#[derive(Debug, Default)]
pub struct Verification {
    /// Whether the SHA-256 footer agrees.
    pub footer: Option<bool>,
    /// Whether the root digest agrees with the header.
    pub root: Option<bool>,
    /// Whether every compressed frame decodes and its checksum agrees.
    pub frames: Option<bool>,
    /// For each tensor, in the file's order, whether its bytes are sound.
    pub tensors: Vec<Option<bool>>,
    /// Every disagreement: of the root, of tensors in the file's order, of the footer.
    pub errors: Vec<Error>,
}

impl Verification {
    /// Whether nothing disagrees.
    pub fn is_sound(&self) -> bool {
        self.errors.is_empty()
    }

    /// Whether there was anything to check the data by: a footer or digests.
    pub fn has_evidence(&self) -> bool {
        self.footer.is_some() || self.root.is_some() || self.tensors.iter().any(Option::is_some)
    }
}

impl TensorFile {
    /// Checks everything: footer, root, frames, and each tensor's digest, on all
    /// cores. Disagreements are collected, not returned as errors.
    ///
    /// # Errors
    /// `io.*` when the file cannot be read, or the progress cancels.
    pub fn verify(&self, progress: &mut dyn Progress) -> Result<Verification> {
        let header = self.header();
        let mut found = Verification {
            tensors: vec![None; header.len()],
            ..Default::default()
        };
        if header.root().is_some() {
            let bytes = self.source.read(&self.catalogue().header_range())?;
            let checked = self.catalogue().check_root(&bytes, None);
            found.root = Some(checked.is_ok());
            found
                .errors
                .extend(checked.err().map(|e| Error::from(e).at(self.path())));
        }
        // Tied tensors are read once.
        let mut spans: HashMap<(u64, u64), Vec<usize>> = HashMap::new();
        let whole = self.is_compressed();
        for (nth, tensor) in header.tensors().enumerate() {
            if tensor.sha256.is_some() || whole {
                spans
                    .entry((tensor.start, tensor.end))
                    .or_default()
                    .push(nth);
            }
        }
        let mut work: Vec<_> = spans.into_iter().collect();
        // Long ones first, so that no thread is left with one at the end.
        work.sort_unstable_by_key(|((start, end), _)| (std::cmp::Reverse(end - start), *start));
        let footed = self.catalogue().footer().map(|_| self.catalogue().footed());
        let footed_bytes = footed.as_ref().map_or(0, |r| r.end - r.start);
        progress.start(footed_bytes + work.iter().map(|(span, _)| span.1 - span.0).sum::<u64>());
        if footed.is_some() && num_threads() == 1 {
            self.check_tensors(&work, &mut found, progress)?;
            self.check_footer(&mut found, progress)?;
        } else if let Some(range) = footed {
            // The footer is one long chain, so that it takes a thread of its own.
            let stop = AtomicBool::new(false);
            let hashed = AtomicU64::new(0);
            let mut told = 0;
            let (digest, checked) = std::thread::scope(|scope| {
                let footer = scope.spawn(|| self.hash_range(range, &stop, &hashed));
                let checked = self.check_tensors(&work, &mut found, progress);
                let mut report = checked;
                while report.is_ok() && !footer.is_finished() {
                    std::thread::sleep(std::time::Duration::from_millis(5));
                    let now = hashed.load(Ordering::Relaxed);
                    report = progress.advance(now - std::mem::replace(&mut told, now));
                }
                stop.store(report.is_err(), Ordering::Relaxed);
                (
                    footer
                        .join()
                        .unwrap_or_else(|_| Err(Error::new(Code::Io, "a thread failed"))),
                    report,
                )
            });
            checked?;
            self.compare_footer(digest?, &mut found)?;
            progress.advance(footed_bytes - told)?;
        } else {
            self.check_tensors(&work, &mut found, progress)?;
        }
        Ok(found)
    }

    /// Checks one tensor by its digest; false when it carries none.
    ///
    /// # Errors
    /// `integrity.tensor` when it disagrees, `not_found.tensor`, the `frames.*`
    /// codes, `io.failed`.
    pub fn verify_tensor(&self, name: &str) -> Result<bool> {
        let nth = self.position(name)?;
        self.verify_nth(nth)
    }

    pub(crate) fn verify_nth(&self, nth: usize) -> Result<bool> {
        let tensor = self.tensor(nth)?;
        let found = self.digest(nth).map_err(|e| e.tensor(tensor.name))?;
        match tensor.sha256 {
            None => Ok(false),
            Some(digest) if *digest == found => Ok(true),
            Some(digest) => Err(self.differs(tensor.name, digest, &found)),
        }
    }

    fn differs(&self, name: &str, expected: &Digest, found: &Digest) -> Error {
        let error = core::Error::new(
            Code::IntegrityTensor,
            "the bytes are not the ones that were written",
        )
        .tensor(name)
        .expected(format!("SHA-256 {}", hex(expected)))
        .found(hex(found));
        Error::from(error).at(self.path())
    }

    /// Hashes (and for compressed files decodes) every span, in groups so that
    /// progress is heard between them.
    fn check_tensors(
        &self,
        work: &[((u64, u64), Vec<usize>)],
        found: &mut Verification,
        progress: &mut dyn Progress,
    ) -> Result<()> {
        if self.is_compressed() {
            found.frames = Some(true);
            // Without tensors nothing else would look at the seek table.
            if work.is_empty() {
                match self.blob() {
                    Err(e) if e.kind() != core::Kind::Io => {
                        found.frames = Some(false);
                        found.errors.push(e);
                    }
                    blob => drop(blob?),
                }
            }
        }
        let mut rest = work;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = |(span, _): &&((u64, u64), Vec<usize>)| {
                let fits = bytes < GROUP_BYTES;
                bytes += span.1 - span.0;
                fits
            };
            let (group, tail) = rest.split_at(rest.iter().take_while(fits).count().max(1));
            rest = tail;
            let results: Vec<Result<Digest>> = run(|| {
                group
                    .par_iter()
                    .map(|(_, nths)| {
                        nths.first()
                            .map_or_else(|| Ok(Digest::default()), |&nth| self.digest(nth))
                    })
                    .collect()
            });
            for ((_, nths), result) in group.iter().zip(results) {
                self.judge(nths, result, found)?;
            }
            progress.advance(group.iter().map(|(s, _)| s.1 - s.0).sum())?;
        }
        found
            .errors
            .sort_by_cached_key(|e| e.tensor_name().and_then(|n| self.header().position(n)));
        Ok(())
    }

    fn judge(
        &self,
        nths: &[usize],
        result: Result<Digest>,
        found: &mut Verification,
    ) -> Result<()> {
        for &nth in nths {
            let tensor = self.tensor(nth)?;
            let error = match (&result, tensor.sha256) {
                (Ok(computed), Some(digest)) if computed != digest => {
                    Some(self.differs(tensor.name, digest, computed))
                }
                (Ok(_), digest) => {
                    if let Some(slot) = found.tensors.get_mut(nth) {
                        *slot = digest.map(|_| true);
                    }
                    None
                }
                (Err(e), _) if e.kind() == core::Kind::Io => {
                    return Err(Error::new(e.code(), e.detail().message()).at(self.path()));
                }
                (Err(e), _) => {
                    found.frames = Some(false);
                    Some(Error::from(e.detail().clone().tensor(tensor.name)).at(self.path()))
                }
            };
            if let Some(error) = error {
                if let Some(slot) = found.tensors.get_mut(nth) {
                    *slot = Some(false);
                }
                found.errors.push(error);
            }
        }
        Ok(())
    }

    /// Checks the footer alone; false when the file has none.
    ///
    /// # Errors
    /// `integrity.footer` when it disagrees, `io.*`.
    pub fn verify_footer(&self, progress: &mut dyn Progress) -> Result<bool> {
        let footed = self.catalogue().footed();
        progress.start(footed.end - footed.start);
        let mut found = Verification::default();
        self.check_footer(&mut found, progress)?;
        match found.errors.pop() {
            Some(error) => Err(error),
            None => Ok(found.footer.is_some()),
        }
    }

    fn check_footer(&self, found: &mut Verification, progress: &mut dyn Progress) -> Result<()> {
        if self.catalogue().footer().is_none() {
            return Ok(());
        }
        let mut hasher = Sha256::new();
        let mut range = self.catalogue().footed();
        while range.start < range.end {
            let next = range.end.min(range.start + STEP_BYTES);
            hasher.update(&self.source.read(&(range.start..next))?);
            progress.advance(next - range.start)?;
            range.start = next;
        }
        self.compare_footer(hasher.finish(), found)
    }

    fn compare_footer(&self, computed: Digest, found: &mut Verification) -> Result<()> {
        let Some(footer) = self.catalogue().footer() else {
            return Ok(());
        };
        let mut carried = Digest::default();
        self.source.read_into(footer.start, &mut carried)?;
        found.footer = Some(carried == computed);
        if carried != computed {
            let error = core::Error::new(
                Code::IntegrityFooter,
                "the file was changed after it was written: its checksum differs",
            )
            .expected(format!("SHA-256 {}", hex(&carried)))
            .found(hex(&computed));
            found.errors.push(Error::from(error).at(self.path()));
        }
        Ok(())
    }

    fn hash_range(
        &self,
        mut range: Range<u64>,
        stop: &AtomicBool,
        done: &AtomicU64,
    ) -> Result<Digest> {
        let mut hasher = Sha256::new();
        while range.start < range.end && !stop.load(Ordering::Relaxed) {
            let next = range.end.min(range.start + STEP_BYTES);
            hasher.update(&self.source.read(&(range.start..next))?);
            done.fetch_add(next - range.start, Ordering::Relaxed);
            range.start = next;
        }
        Ok(hasher.finish())
    }
}

const GROUP_BYTES: u64 = 256 << 20;
