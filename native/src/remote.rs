//! Files that are not here: somebody else brings their bytes, range by range.

use crate::error::{Error, Result};
use deathtensors_core::Code;
use deathtensors_core::ranges::coalesce;
use std::fmt::Debug;
use std::ops::Range;
use std::path::Path;

/// Bytes that were brought, whoever owns them.
pub type Piece = Box<dyn AsRef<[u8]> + Send + Sync>;

/// Brings bytes of a file by ranges, over HTTP or however it likes.
pub trait RangeSource: Debug + Send + Sync {
    /// Length of the file in bytes. It must not change.
    fn len(&self) -> u64;

    /// Whether the file has no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of each range, in the same order, each exactly as long. Ends are
    /// exclusive. The ranges are sorted, do not overlap and lie within the file; each is
    /// at most 8 MiB, all together at most 64 MiB. Called on the thread that called
    /// into this library.
    ///
    /// # Errors
    /// Whatever kept it from bringing all of them; it is returned as it is.
    fn fetch(&self, ranges: &[Range<u64>]) -> Result<Vec<Piece>>;
}

/// The longest range that is asked for.
const PIECE_BYTES: u64 = 8 << 20;
/// What is asked for at once.
pub(crate) const BATCH_BYTES: u64 = 64 << 20;
/// A hole that is fetched too rather than asked around: what a connection brings in
/// the time that a request takes.
const GAP_BYTES: u64 = 64 << 10;
/// What is asked for first: most headers are shorter.
pub(crate) const HEAD_BYTES: u64 = 64 << 10;

/// Ranges of a file that were brought.
pub(crate) struct Fetched(Vec<(Range<u64>, Held)>);

enum Held {
    /// As it was brought.
    Piece(Piece),
    /// Of several pieces.
    Joined(Vec<u8>),
}

impl Fetched {
    /// Asks for all ranges, near ones together.
    pub fn new(source: &dyn RangeSource, path: &Path, wanted: &[Range<u64>]) -> Result<Self> {
        let fetches = coalesce(wanted, GAP_BYTES, PIECE_BYTES);
        let pieces: Vec<_> = fetches.iter().flat_map(cut).collect();
        let mut brought = fetch_pieces(source, path, &pieces)?.into_iter();
        let mut held = Vec::with_capacity(fetches.len());
        for range in fetches {
            let parts = brought.by_ref().take(cut(&range).count());
            let mut parts: Vec<Piece> = parts.collect();
            let bytes = match parts.len() {
                1 => Held::Piece(parts.remove(0)),
                _ => Held::Joined(parts.iter().flat_map(|p| (**p).as_ref()).copied().collect()),
            };
            held.push((range, bytes));
        }
        Ok(Self(held))
    }

    /// The bytes of a range that was asked for.
    pub fn get(&self, range: &Range<u64>) -> &[u8] {
        let nth = self.0.partition_point(|(held, _)| held.end <= range.start);
        let Some((held, bytes)) = self.0.get(nth) else {
            return &[];
        };
        let bytes = match bytes {
            Held::Piece(piece) => (**piece).as_ref(),
            Held::Joined(bytes) => bytes,
        };
        let at = |offset: u64| offset.saturating_sub(held.start) as usize;
        bytes
            .get(at(range.start)..at(range.end))
            .unwrap_or_default()
    }
}

/// Fills `out` from that offset on, in bounded steps.
pub(crate) fn read_into(
    source: &dyn RangeSource,
    path: &Path,
    offset: u64,
    out: &mut [u8],
) -> Result<()> {
    let mut at = offset;
    for out in out.chunks_mut(BATCH_BYTES as usize) {
        let end = at + out.len() as u64;
        let mut rest = out;
        for piece in fetch_range(source, path, &(at..end))? {
            let piece = (*piece).as_ref();
            let (head, tail) = rest.split_at_mut(piece.len());
            head.copy_from_slice(piece);
            rest = tail;
        }
        at = end;
    }
    Ok(())
}

/// A range, in the pieces that it takes.
pub(crate) fn fetch_range(
    source: &dyn RangeSource,
    path: &Path,
    range: &Range<u64>,
) -> Result<Vec<Piece>> {
    fetch_pieces(source, path, &cut(range).collect::<Vec<_>>())
}

/// A range in pieces that may be asked for.
fn cut(range: &Range<u64>) -> impl Iterator<Item = Range<u64>> + use<> {
    let Range { start, end } = *range;
    (start..end)
        .step_by(PIECE_BYTES as usize)
        .map(move |at| at..end.min(at + PIECE_BYTES))
}

/// Asks for pieces, no more than [`BATCH_BYTES`] at once, and checks what comes.
fn fetch_pieces(
    source: &dyn RangeSource,
    path: &Path,
    mut pieces: &[Range<u64>],
) -> Result<Vec<Piece>> {
    let mut all = Vec::with_capacity(pieces.len());
    while !pieces.is_empty() {
        let mut bytes = 0;
        let fits = |piece: &&Range<u64>| {
            bytes += piece.end - piece.start;
            bytes <= BATCH_BYTES
        };
        let (batch, rest) = pieces.split_at(pieces.iter().take_while(fits).count().max(1));
        pieces = rest;
        let brought = source.fetch(batch)?;
        let sound = brought.len() == batch.len()
            && batch
                .iter()
                .zip(&brought)
                .all(|(range, piece)| (**piece).as_ref().len() as u64 == range.end - range.start);
        if !sound {
            let message = "the source brought other bytes than it was asked for";
            return Err(Error::new(Code::Io, message).at(path));
        }
        all.extend(brought);
    }
    Ok(all)
}
