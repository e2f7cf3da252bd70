//! Opening a file: what to read, then a valid catalogue (spec, "Reading").

use crate::digest::{self, DIGEST_BYTES, Digest};
use crate::error::{Code, Error, Result};
use crate::header::Header;
use crate::layout;
use crate::limits::Limits;
use crate::prefix::{Flags, PREFIX_BYTES, Prefix};
use alloc::format;
use core::ops::Range;

/// A file whose prefix, header and lengths agree. It cannot be made otherwise:
/// every tensor lies inside the blob, and no two overlap by part.
#[derive(Clone, Debug)]
pub struct Catalogue {
    header: Header,
    flags: Flags,
    header_bytes: u64,
    file_bytes: u64,
    blob: Range<u64>,
    data_bytes: u64,
    limits: Limits,
}

impl Catalogue {
    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// What the flag bits say.
    pub fn flags(&self) -> Flags {
        self.flags
    }

    /// Length of the file in bytes.
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// The limits that it was opened with.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The header's bytes in the file, trailing spaces included.
    pub fn header_range(&self) -> Range<u64> {
        PREFIX_BYTES..PREFIX_BYTES + self.header_bytes
    }

    /// The blob's bytes in the file, as stored.
    pub fn blob(&self) -> Range<u64> {
        self.blob.clone()
    }

    /// Length of the uncompressed blob in bytes, as far as tensors reach.
    pub fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    /// What the footer's digest covers: header, padding and blob.
    pub fn footed(&self) -> Range<u64> {
        PREFIX_BYTES..self.blob.end
    }

    /// The footer's bytes in the file, if there is one.
    pub fn footer(&self) -> Option<Range<u64>> {
        self.flags
            .checksum
            .then(|| self.blob.end..self.blob.end + DIGEST_BYTES)
    }

    /// The bytes in the file of a span of the uncompressed blob; none when the
    /// blob is compressed.
    pub fn locate(&self, data: Range<u64>) -> Option<Range<u64>> {
        let plain = !self.flags.compressed && data.end <= self.data_bytes && data.start <= data.end;
        plain.then(|| self.blob.start + data.start..self.blob.start + data.end)
    }

    /// The root digest of these header bytes, which are those of
    /// [`Catalogue::header_range`]; none when the header carries no root.
    pub fn computed_root(&self, header_bytes: &[u8]) -> Option<Digest> {
        let json = header_bytes.get(..usize::try_from(self.header.json_bytes()).ok()?)?;
        Some(digest::root(json, self.header.root_digits()?))
    }

    /// Checks the root that the header carries, and that it is `wanted`.
    ///
    /// # Errors
    /// `integrity.root` when they disagree; `usage.unavailable` when `wanted` is
    /// given and the header has no root.
    pub fn check_root(&self, header_bytes: &[u8], wanted: Option<&Digest>) -> Result<()> {
        let Some(carried) = self.header.root() else {
            return match wanted {
                None => Ok(()),
                Some(_) => Err(Error::new(
                    Code::IntegrityRoot,
                    "the file carries no root digest, so it is not the one that was asked for",
                )),
            };
        };
        let differ = |message: &str, expected: &Digest, found: &Digest| {
            Err(Error::new(Code::IntegrityRoot, message)
                .expected(digest::hex(expected))
                .found(digest::hex(found)))
        };
        let computed = self.computed_root(header_bytes).unwrap_or_default();
        match wanted {
            Some(wanted) if *wanted != computed => differ(
                "the file is not the one that was asked for: its root differs",
                wanted,
                &computed,
            ),
            _ if *carried != computed => differ(
                "the header was changed after it was written: its root differs",
                carried,
                &computed,
            ),
            _ => Ok(()),
        }
    }
}

/// What [`Opening::feed`] answers.
// It lives for a moment, once per file: a box would cost more than its size.
#[allow(clippy::large_enum_variant)]
#[derive(Debug)]
pub enum Step {
    /// Read these bytes of the file next, end exclusive.
    More(Range<u64>),
    /// The catalogue is complete.
    Ready(Catalogue),
}

/// Opens a file by asking for its bytes.
///
/// ```
/// # use deathtensors_core::{Limits, Opening, Step};
/// # fn open(file: &[u8]) -> deathtensors_core::Result<()> {
/// let mut opening = Opening::new(file.len() as u64, Limits::DEFAULT);
/// let catalogue = loop {
///     let wanted = opening.need();
///     let bytes = &file[wanted.start as usize..wanted.end as usize];
///     if let Step::Ready(catalogue) = opening.feed(wanted.start, bytes)? {
///         break catalogue;
///     }
/// };
/// # let _ = catalogue; Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Opening {
    file_bytes: u64,
    limits: Limits,
    prefix: Option<Prefix>,
}

impl Opening {
    /// Starts opening a file of that length.
    pub fn new(file_bytes: u64, limits: Limits) -> Self {
        Self {
            file_bytes,
            limits,
            prefix: None,
        }
    }

    /// The bytes wanted next: the prefix, then the header and the padding after
    /// it. Never reaches past the end of the file.
    pub fn need(&self) -> Range<u64> {
        match &self.prefix {
            None => 0..PREFIX_BYTES.min(self.file_bytes),
            Some(prefix) => PREFIX_BYTES..blob_start(prefix),
        }
    }

    /// Takes bytes of the file from `offset` on. Bytes that cover more than what
    /// is needed save a step: a reader may feed the whole file, or a good guess.
    ///
    /// # Errors
    /// Whatever is wrong with the file up to its blob.
    pub fn feed(&mut self, offset: u64, bytes: &[u8]) -> Result<Step> {
        if self.prefix.is_none() {
            if part(&self.need(), offset, bytes).is_none() {
                return Ok(Step::More(self.need()));
            }
            // The bytes start the file then, and all of them help to name a foreign one.
            let prefix = Prefix::parse(bytes, &self.limits)?;
            if blob_start(&prefix) > self.file_bytes {
                return Err(Error::new(
                    Code::HeaderTruncated,
                    "the header reaches past the end of the file",
                )
                .expected(format!("a file of at least {} bytes", blob_start(&prefix)))
                .found(format!("{} bytes", self.file_bytes)));
            }
            self.prefix = Some(prefix);
        }
        match (self.prefix, part(&self.need(), offset, bytes)) {
            (Some(prefix), Some(header)) => self.finish(&prefix, header).map(Step::Ready),
            _ => Ok(Step::More(self.need())),
        }
    }

    fn finish(&self, prefix: &Prefix, bytes: &[u8]) -> Result<Catalogue> {
        let (json, padding) = usize::try_from(prefix.header_bytes)
            .ok()
            .and_then(|n| bytes.split_at_checked(n))
            .unwrap_or((bytes, &[]));
        let start = blob_start(prefix);
        let footer = if prefix.flags.checksum {
            DIGEST_BYTES
        } else {
            0
        };
        let end = self
            .file_bytes
            .checked_sub(footer)
            .filter(|&end| end >= start)
            .ok_or_else(|| {
                Error::new(
                    Code::FooterTruncated,
                    "the file is too short for its footer",
                )
                .expected(format!("at least {} bytes", start + footer))
                .found(format!("{} bytes", self.file_bytes))
            })?;
        let header = Header::parse(json, &self.limits)?;
        if padding.iter().any(|&b| b != 0) {
            return Err(Error::new(
                Code::HeaderPadding,
                "the bytes between header and data are not NUL",
            ));
        }
        if !prefix.flags.compressed {
            layout::check_bounds(&header, end - start)?;
        }
        layout::check_overlap(&header)?;
        let data_bytes = header.data_bytes();
        Ok(Catalogue {
            header,
            flags: prefix.flags,
            header_bytes: prefix.header_bytes,
            file_bytes: self.file_bytes,
            blob: start..end,
            data_bytes,
            limits: self.limits,
        })
    }
}

/// Where the blob starts: the next multiple of 8 after the header.
fn blob_start(prefix: &Prefix) -> u64 {
    // Header lengths are below 4 GiB.
    (PREFIX_BYTES + prefix.header_bytes).next_multiple_of(8)
}

/// The bytes of `wanted` within `bytes`, which start at `offset`.
pub(crate) fn part<'a>(wanted: &Range<u64>, offset: u64, bytes: &'a [u8]) -> Option<&'a [u8]> {
    let start = usize::try_from(wanted.start.checked_sub(offset)?).ok()?;
    let end = usize::try_from(wanted.end.checked_sub(offset)?).ok()?;
    bytes.get(start..end)
}
