//! The digest of a long range of a file, of the bytes that others read from it.

use crate::error::Result;
use crate::options::Progress;
use crate::remote::{Piece, RangeSource, fetch_range};
use deathtensors_core::digest::{Digest, Sha256};
use std::mem::take;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A source that hashes a range on the way to whoever asks for its parts, so that a file
/// that is read anyway is brought once. What was skipped it fetches itself, what comes
/// again it passes over; so it should be asked in the order of the file.
#[derive(Debug)]
pub(crate) struct Overheard {
    ranges: Arc<dyn RangeSource>,
    path: PathBuf,
    hashed: Mutex<Hashed>,
}

#[derive(Debug)]
struct Hashed {
    /// What is not hashed yet. The end is exclusive.
    rest: Range<u64>,
    hasher: Sha256,
    /// What was hashed and [`Overheard::fresh_bytes`] did not tell yet.
    untold: u64,
}

impl Overheard {
    pub fn new(ranges: Arc<dyn RangeSource>, path: PathBuf, range: Range<u64>) -> Self {
        Self {
            ranges,
            path,
            hashed: Mutex::new(Hashed {
                rest: range,
                hasher: Sha256::new(),
                untold: 0,
            }),
        }
    }

    /// SHA-256 of the range; fetches what nobody asked for.
    pub fn finish(&self, progress: &mut dyn Progress) -> Result<Digest> {
        let mut hashed = self.lock();
        while !hashed.rest.is_empty() {
            self.fetch_next(&mut hashed, u64::MAX)?;
            progress.advance(take(&mut hashed.untold))?;
        }
        Ok(hashed.hasher.clone().finish())
    }

    /// How many bytes were hashed since this was asked last.
    pub fn fresh_bytes(&self) -> u64 {
        take(&mut self.lock().untold)
    }

    /// Fetches and hashes a bounded part of what is left before `offset`.
    fn fetch_next(&self, hashed: &mut Hashed, offset: u64) -> Result<()> {
        let Range { start, end } = hashed.rest;
        let part = start..end.min(offset).min(start.saturating_add(FETCH_BYTES));
        for piece in fetch_range(&*self.ranges, &self.path, &part)? {
            hashed.hash(hashed.rest.start, (*piece).as_ref());
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Hashed> {
        self.hashed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How much of what was skipped is asked for at once.
const FETCH_BYTES: u64 = 32 << 20;

impl Hashed {
    /// Hashes what is new among the bytes at `offset`, none of which may be skipped.
    fn hash(&mut self, offset: u64, bytes: &[u8]) {
        let within = |at: u64| {
            let place = at.saturating_sub(offset);
            usize::try_from(place).map_or(bytes.len(), |place| place.min(bytes.len()))
        };
        let fresh = &bytes[within(self.rest.start)..within(self.rest.end)];
        self.hasher.update(fresh);
        self.rest.start += fresh.len() as u64;
        self.untold += fresh.len() as u64;
    }
}

impl RangeSource for Overheard {
    fn len(&self) -> u64 {
        self.ranges.len()
    }

    fn fetch(&self, ranges: &[Range<u64>]) -> Result<Vec<Piece>> {
        let brought = self.ranges.fetch(ranges)?;
        let mut hashed = self.lock();
        for (range, piece) in ranges.iter().zip(&brought) {
            while hashed.rest.start < range.start.min(hashed.rest.end) {
                self.fetch_next(&mut hashed, range.start)?;
            }
            hashed.hash(range.start, (**piece).as_ref());
        }
        Ok(brought)
    }
}

/// Counts what was hashed meanwhile too.
pub(crate) struct WithHashed<'a> {
    pub progress: &'a mut dyn Progress,
    pub overheard: &'a Overheard,
}

impl Progress for WithHashed<'_> {
    fn advance(&mut self, bytes: u64) -> Result<()> {
        self.progress.advance(bytes + self.overheard.fresh_bytes())
    }
}
