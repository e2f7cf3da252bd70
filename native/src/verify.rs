//! Checking a file against all that it carries.

use crate::error::{Error, Result};
use crate::file::{STEP_BYTES, TensorFile};
use crate::options::Progress;
use crate::overheard::{Overheard, WithHashed};
use crate::remote::RangeSource;
use crate::threads::{num_threads, run, watched};
use deathtensors_core as core;
use deathtensors_core::digest::{Digest, Sha256, footer_differs, hex, sha256, tensor_differs};
use rayon::prelude::*;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How far ahead of the hashing pages are made present.
const AHEAD_BYTES: u64 = 32 << 20;

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

/// Start and end of some data, and which tensors have it.
type Span = ((u64, u64), Vec<usize>);

/// Whether an error is about the bytes, rather than about reading them: the system
/// refused, or a limit of the caller's.
fn is_damage(error: &Error) -> bool {
    !matches!(error.kind(), core::Kind::Io | core::Kind::Limit)
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
    /// `io.*` when the file cannot be read, or the progress cancels; the `limit.*` codes.
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
        let mut work: Vec<Span> = spans.into_iter().collect();
        // Long ones first, so that no thread is left with one at the end.
        work.sort_unstable_by_key(|((start, end), _)| (std::cmp::Reverse(end - start), *start));
        let footed = self.catalogue().footer().map(|_| self.catalogue().footed());
        let footed_bytes = footed.as_ref().map_or(0, |r| r.end - r.start);
        let bytes = |(span, _): &Span| span.1 - span.0;
        progress.start(footed_bytes + work.iter().map(bytes).sum::<u64>());
        if let Some(ranges) = self.source.ranges() {
            let (footer, digests) = self.read_once(ranges, footed, &mut work, progress)?;
            return self.conclude(&work, digests, Ok(footer), found);
        }
        // The footer is one long chain, so that it keeps a thread to itself.
        let (footer, digests) = watched(progress, |tally| {
            rayon::join(
                || {
                    footed
                        .map(|range| self.hash_range(range, &mut &*tally))
                        .transpose()
                },
                || {
                    let digest = |(_, nths): &Span| match nths.first() {
                        Some(&nth) => self.digest_with(nth, &mut &*tally),
                        None => Ok(Digest::default()),
                    };
                    // One by one: a quarter of the list may be most of the bytes.
                    work.par_iter()
                        .with_max_len(1)
                        .map(digest)
                        .collect::<Vec<_>>()
                },
            )
        })?;
        self.conclude(&work, digests, footer, found)
    }

    fn conclude(
        &self,
        work: &[Span],
        digests: Vec<Result<Digest>>,
        footer: Result<Option<Digest>>,
        mut found: Verification,
    ) -> Result<Verification> {
        self.check_tensors(work, digests, &mut found)?;
        if let Some(computed) = footer? {
            let differs = self.footer_differs(&computed)?;
            found.footer = Some(differs.is_none());
            found.errors.extend(differs);
        }
        Ok(found)
    }

    /// The digests of `footed` and of the spans, of bytes that are brought once for both.
    fn read_once(
        &self,
        ranges: &Arc<dyn RangeSource>,
        footed: Option<Range<u64>>,
        work: &mut [Span],
        progress: &mut dyn Progress,
    ) -> Result<(Option<Digest>, Vec<Result<Digest>>)> {
        let Some(footed) = footed else {
            return Ok((None, self.digests_of_brought(work, progress)?));
        };
        let path = self.path().to_path_buf();
        let overheard = Arc::new(Overheard::new(ranges.clone(), path, footed));
        let same = self.brought_by(overheard.clone());
        let mut both = WithHashed {
            progress,
            overheard: &overheard,
        };
        let digests = same.digests_of_brought(work, &mut both)?;
        Ok((Some(overheard.finish(progress)?), digests))
    }

    /// Digests of the spans, which are put into the order of the data: small tensors are
    /// asked for together.
    fn digests_of_brought(
        &self,
        work: &mut [Span],
        progress: &mut dyn Progress,
    ) -> Result<Vec<Result<Digest>>> {
        work.sort_unstable_by_key(|(span, _)| *span);
        let nths: Vec<usize> = work.iter().filter_map(|w| w.1.first().copied()).collect();
        let mut out = Vec::with_capacity(nths.len());
        for batch in self.batches(&nths) {
            let together = match batch {
                [_] => None,
                _ => Some(self.read_unchecked(batch, progress)),
            };
            match together {
                Some(Ok(all)) => out.extend(run(|| {
                    let digests = all.par_iter().map(|bytes| Ok(sha256(bytes)));
                    digests.collect::<Vec<_>>()
                })),
                Some(Err(e)) if !is_damage(&e) => return Err(e),
                // Too long to be held; or one is damaged, and it has to be found.
                _ => {
                    for &nth in batch {
                        match self.digest_with(nth, progress) {
                            Err(e) if !is_damage(&e) => {
                                return Err(e.tensor(self.tensor(nth)?.name));
                            }
                            digest => out.push(digest),
                        }
                    }
                }
            }
        }
        Ok(out)
    }

    /// Checks one tensor by its digest; false when it carries none.
    ///
    /// # Errors
    /// `integrity.tensor` when it disagrees, `not_found.tensor`, the `frames.*`
    /// codes, `io.failed`.
    pub fn verify_tensor(&self, name: &str) -> Result<bool> {
        let nth = self.position(name)?;
        self.verify_nth(nth, &mut ())
    }

    /// The same for long work: `progress` hears of it.
    ///
    /// # Errors
    /// Those of [`TensorFile::verify_tensor`], and what `progress` cancels with.
    pub fn verify_tensor_with(&self, name: &str, progress: &mut dyn Progress) -> Result<bool> {
        let nth = self.position(name)?;
        progress.start(self.tensor(nth)?.nbytes());
        self.verify_nth(nth, progress)
    }

    pub(crate) fn verify_nth(&self, nth: usize, progress: &mut dyn Progress) -> Result<bool> {
        let tensor = self.tensor(nth)?;
        let found = self
            .digest_with(nth, progress)
            .map_err(|e| e.tensor(tensor.name))?;
        match tensor.sha256 {
            None => Ok(false),
            Some(digest) if *digest == found => Ok(true),
            Some(digest) => Err(self.differs(tensor.name, digest, &found)),
        }
    }

    /// Checks that these are the nth tensor's bytes, and remembers that they are.
    pub(crate) fn check_bytes(&self, nth: usize, bytes: &[u8]) -> Result<()> {
        match self.tensor(nth)?.sha256 {
            Some(_) => self.check_digest(nth, &sha256(bytes)),
            None => Ok(()),
        }
    }

    /// The same where those very bytes have to be checked, since somebody brought them.
    pub(crate) fn check_brought(&self, nth: usize, bytes: &[u8]) -> Result<()> {
        match self.must_check(nth) {
            true => self.check_bytes(nth, bytes),
            false => Ok(()),
        }
    }

    /// The same by the digest of bytes that were read.
    pub(crate) fn check_digest(&self, nth: usize, found: &Digest) -> Result<()> {
        let tensor = self.tensor(nth)?;
        if let Some(digest) = tensor.sha256
            && digest != found
        {
            return Err(self.differs(tensor.name, digest, found));
        }
        self.set_checked(nth);
        Ok(())
    }

    fn differs(&self, name: &str, expected: &Digest, found: &Digest) -> Error {
        let error = tensor_differs(name, expected, &hex(found));
        Error::from(error).at(self.path())
    }

    /// Holds the digests of all spans against those that the file carries.
    fn check_tensors(
        &self,
        work: &[Span],
        digests: Vec<Result<Digest>>,
        found: &mut Verification,
    ) -> Result<()> {
        if self.is_compressed() {
            found.frames = Some(true);
            // Without data nothing else would look at the seek table.
            if work.iter().all(|(span, _)| span.0 == span.1) {
                match self.blob() {
                    Err(e) if is_damage(&e) => {
                        found.frames = Some(false);
                        found.errors.push(e);
                    }
                    blob => drop(blob?),
                }
            }
        }
        for ((_, nths), digest) in work.iter().zip(digests) {
            self.judge(nths, digest, found)?;
        }
        let place = |e: &Error| e.tensor_name().and_then(|n| self.header().position(n));
        found.errors.sort_by_cached_key(place);
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
                (Err(e), _) if !is_damage(e) => {
                    let detail = e.detail().clone();
                    return Err(Error::from(detail.tensor(tensor.name)).at(self.path()));
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
        if self.catalogue().footer().is_none() {
            return Ok(false);
        }
        let footed = self.catalogue().footed();
        progress.start(footed.end - footed.start);
        let computed = self.hash_range(footed, progress)?;
        match self.footer_differs(&computed)? {
            Some(error) => Err(error),
            None => Ok(true),
        }
    }

    /// The refusal of a file whose footer is not `computed`.
    pub(crate) fn footer_differs(&self, computed: &Digest) -> Result<Option<Error>> {
        let Some(footer) = self.catalogue().footer() else {
            return Ok(None);
        };
        let mut carried = Digest::default();
        self.source.read_into(footer.start, &mut carried)?;
        if carried == *computed {
            return Ok(None);
        }
        let error = footer_differs(&carried, &hex(computed));
        Ok(Some(Error::from(error).at(self.path())))
    }

    /// SHA-256 of a range of the file. While one thread hashes, another has the
    /// pages of what comes next made present, which would hold hashing up.
    fn hash_range(&self, range: Range<u64>, progress: &mut dyn Progress) -> Result<Digest> {
        let brief = range.end - range.start <= AHEAD_BYTES;
        if num_threads() == 1 || brief || self.source.is_elsewhere() {
            return self.hash_steps(range, progress, &AtomicU64::new(0));
        }
        let at = AtomicU64::new(range.start);
        std::thread::scope(|scope| {
            // Only speed is lost where no thread can be started.
            let _ = std::thread::Builder::new().spawn_scoped(scope, || {
                let mut next = range.start;
                while next < range.end {
                    let hashed = at.load(Ordering::Relaxed);
                    if next >= hashed.saturating_add(AHEAD_BYTES) {
                        std::thread::park_timeout(Duration::from_millis(1));
                        continue;
                    }
                    // What was hashed already needs nothing more.
                    next = next.max(hashed);
                    let end = range.end.min(next.saturating_add(STEP_BYTES));
                    if next < end {
                        self.source.populate(&(next..end));
                    }
                    next = end;
                }
            });
            let digest = self.hash_steps(range.clone(), progress, &at);
            at.store(u64::MAX, Ordering::Relaxed);
            digest
        })
    }

    fn hash_steps(
        &self,
        mut range: Range<u64>,
        progress: &mut dyn Progress,
        at: &AtomicU64,
    ) -> Result<Digest> {
        let step = self.source.step_bytes();
        let mut hasher = Sha256::new();
        while range.start < range.end {
            let next = range.end.min(range.start + step);
            hasher.update(&self.source.read(&(range.start..next))?);
            at.store(next, Ordering::Relaxed);
            progress.advance(next - range.start)?;
            range.start = next;
        }
        Ok(hasher.finish())
    }
}
