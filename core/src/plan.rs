//! Planning a file from names, dtypes and shapes alone (spec, "Writing").

use crate::CREATED_BY;
use crate::digest::{self, Digest};
use crate::dtype::Dtype;
use crate::error::{Code, Error, Result};
use crate::frames::{FRAME_BYTES, plan_frames_from};
use crate::header::{Builder, Header, NewTensor};
use crate::limits::Limits;
use crate::prefix::{Flags, PREFIX_BYTES, Prefix};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

/// The blob starts at a multiple of this many bytes in the file.
pub const BLOB_ALIGNMENT: u64 = 64;

/// A tensor to be written.
#[derive(Clone, Debug)]
pub struct TensorSpec {
    /// Its name.
    pub name: String,
    /// The type of its elements.
    pub dtype: Dtype,
    /// Its dimensions, outermost first.
    pub shape: Vec<u64>,
    /// Its metadata; written sorted by key.
    pub metadata: BTreeMap<String, String>,
    /// The place in the list of an earlier tensor of the same dtype and shape
    /// whose bytes it shares (tied weights).
    pub alias_of: Option<usize>,
}

impl TensorSpec {
    /// A tensor without metadata.
    pub fn new(name: impl Into<String>, dtype: Dtype, shape: impl Into<Vec<u64>>) -> Self {
        Self {
            name: name.into(),
            dtype,
            shape: shape.into(),
            metadata: BTreeMap::new(),
            alias_of: None,
        }
    }
}

/// How a file is written. The content does not depend on anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteOptions {
    /// End the file with a SHA-256 footer.
    pub checksum: bool,
    /// Compress the blob with zstd at this level, 1 to 22.
    pub compress: Option<i32>,
    /// Carry a SHA-256 digest for each tensor, and the root.
    pub digests: bool,
    /// Every tensor starts at a multiple of this many bytes, a power of two; 1
    /// asks for no more than its dtype needs.
    pub alignment: u64,
    /// Uncompressed length of a frame in bytes.
    pub frame_bytes: u64,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            checksum: false,
            compress: None,
            digests: false,
            alignment: 1,
            frame_bytes: FRAME_BYTES,
        }
    }
}

impl WriteOptions {
    /// Refuses values out of range with `usage.option`.
    pub fn check(&self) -> Result<()> {
        let refuse = |name: &str, expected: &str, found: String| {
            Err(Error::new(
                Code::UsageOption,
                format!("option '{name}' is out of range"),
            )
            .expected(expected)
            .found(found))
        };
        match self.compress {
            Some(level) if !(1..=22).contains(&level) => {
                return refuse("compress_level", "1 to 22", format!("{level}"));
            }
            _ => {}
        }
        if !self.alignment.is_power_of_two() || self.alignment > 1 << 24 {
            return refuse(
                "alignment",
                "a power of two up to 2^24",
                format!("{}", self.alignment),
            );
        }
        if !(1 << 10..=1 << 30).contains(&self.frame_bytes) {
            return refuse(
                "frame_bytes",
                "1 KiB to 1 GiB",
                format!("{}", self.frame_bytes),
            );
        }
        Ok(())
    }
}

/// Everything about a file but its tensors' bytes.
#[derive(Clone, Debug)]
pub struct WritePlan {
    header: Header,
    flags: Flags,
    options: WriteOptions,
    old_tensors: usize,
    old_bytes: u64,
    new_tensors: Vec<Slot>,
}

/// Where a new tensor's bytes go.
#[derive(Clone, Debug)]
struct Slot {
    data: Range<u64>,
    alias: bool,
}

impl WritePlan {
    /// Plans a new file.
    ///
    /// # Errors
    /// `usage.duplicate_name`, `usage.option`, and the `tensor.*` and `limit.*`
    /// codes for what no file may hold.
    pub fn new(
        specs: &[TensorSpec],
        global_metadata: &BTreeMap<String, String>,
        options: &WriteOptions,
        limits: &Limits,
    ) -> Result<Self> {
        Self::extend(&Header::default(), specs, global_metadata, options, limits)
    }

    /// Plans a file that holds the tensors of `old`, their bytes where they were,
    /// and then `specs`. Metadata that `old` has already is kept.
    ///
    /// # Errors
    /// Those of [`WritePlan::new`].
    pub fn extend(
        old: &Header,
        specs: &[TensorSpec],
        global_metadata: &BTreeMap<String, String>,
        options: &WriteOptions,
        limits: &Limits,
    ) -> Result<Self> {
        options.check()?;
        let mut builder = Builder::new(limits);
        builder.created_by(CREATED_BY)?;
        let mut global: BTreeMap<&str, &str> =
            global_metadata.iter().map(|(k, v)| (&**k, &**v)).collect();
        global.extend(old.global_metadata().iter());
        builder.global(global.into_iter())?;
        let placeholder = options.digests.then_some(Digest::default());
        for t in old.tensors() {
            let mut pairs: Vec<_> = t.metadata.iter().collect();
            pairs.sort_unstable();
            builder.push(NewTensor {
                name: t.name,
                dtype: t.dtype,
                shape: t.shape,
                data: t.data(),
                metadata: pairs.into_iter(),
                sha256: if options.digests {
                    t.sha256.copied().or(placeholder)
                } else {
                    None
                },
            })?;
        }
        let old_bytes = old.data_bytes();
        let mut end = old_bytes;
        let mut slots: Vec<Slot> = Vec::with_capacity(specs.len());
        for spec in specs {
            let slot = place(spec, specs, &slots, &mut end, options.alignment)
                .map_err(|e| e.tensor(&spec.name))?;
            builder.push(NewTensor {
                name: &spec.name,
                dtype: spec.dtype,
                shape: &spec.shape,
                data: slot.data.clone(),
                metadata: spec.metadata.iter().map(|(k, v)| (&**k, &**v)),
                sha256: placeholder,
            })?;
            slots.push(slot);
        }
        if options.digests {
            builder.root(Digest::default(), 0..0);
        }
        let header = builder.finish(0).map_err(|e| match e.code() {
            Code::HeaderDuplicateKey => {
                let name = e.tensor_name().unwrap_or_default();
                Error::new(
                    Code::UsageDuplicateName,
                    "a tensor of that name exists already",
                )
                .tensor(name)
            }
            _ => e,
        })?;
        let plan = Self {
            header,
            flags: Flags {
                compressed: options.compress.is_some(),
                checksum: options.checksum,
            },
            options: *options,
            old_tensors: old.len(),
            old_bytes,
            new_tensors: slots,
        };
        let length = plan.head().len() as u64 - PREFIX_BYTES;
        let most = limits.header_bytes.min(u64::from(u32::MAX));
        if length > most {
            return Err(Error::new(
                Code::LimitHeader,
                "the header would be longer than readers accept",
            )
            .expected(format!("at most {most} bytes"))
            .found(format!("{length} bytes")));
        }
        Ok(plan)
    }

    /// The header, with zeros for digests that are not known yet.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The options it was planned with.
    pub fn options(&self) -> &WriteOptions {
        &self.options
    }

    /// Length of the uncompressed blob that comes from the old file, in bytes.
    pub fn old_bytes(&self) -> u64 {
        self.old_bytes
    }

    /// Number of tensors that come from the old file.
    pub fn old_tensors(&self) -> usize {
        self.old_tensors
    }

    /// Length of the whole uncompressed blob in bytes.
    pub fn data_bytes(&self) -> u64 {
        self.header.data_bytes()
    }

    /// Where the nth new tensor's bytes go in the uncompressed blob; none when it
    /// is an alias and its bytes are not written again.
    pub fn slot(&self, nth: usize) -> Option<Range<u64>> {
        self.new_tensors
            .get(nth)
            .filter(|slot| !slot.alias)
            .map(|slot| slot.data.clone())
    }

    /// The frames of the data from `start` on, in order; [`WritePlan::old_bytes`]
    /// is where new data starts. Empty when nothing is compressed.
    pub fn frames_from(&self, start: u64) -> Vec<Range<u64>> {
        match self.options.compress {
            Some(_) => plan_frames_from(&self.header, start, self.options.frame_bytes),
            None => Vec::new(),
        }
    }

    /// Sets the digest of the nth tensor of the file, old ones included.
    pub fn set_digest(&mut self, nth: usize, digest: Digest) {
        self.header.set_digest(nth, digest);
    }

    /// The root digest, as far as the tensors' digests are known; none when the
    /// file carries no digests.
    pub fn root(&self) -> Option<Digest> {
        self.json().1
    }

    /// Everything before the blob: prefix, JSON and the spaces that align it.
    /// Its length does not depend on the digests.
    pub fn head(&self) -> Vec<u8> {
        let (mut json, _) = self.json();
        let length = PREFIX_BYTES + json.len() as u64;
        let padded = length.next_multiple_of(self.options.alignment.max(BLOB_ALIGNMENT));
        let prefix = Prefix {
            flags: self.flags,
            header_bytes: padded - PREFIX_BYTES,
        };
        let mut out = Vec::with_capacity(padded as usize);
        out.extend_from_slice(&prefix.emit());
        out.append(&mut json);
        out.resize(padded as usize, b' ');
        out
    }

    /// The JSON text with its root filled in, and the root.
    fn json(&self) -> (Vec<u8>, Option<Digest>) {
        let zeros = Digest::default();
        let emitted = self.header.emit(self.options.digests.then_some(&zeros));
        let mut json = emitted.json.into_bytes();
        let root = emitted.root_digits.map(|digits| {
            let root = digest::root(&json, digits.clone());
            if let Some(place) = json.get_mut(digits) {
                place.copy_from_slice(digest::hex(&root).as_bytes());
            }
            root
        });
        (json, root)
    }
}

/// Gives a tensor its place and moves `end` past it.
fn place(
    spec: &TensorSpec,
    specs: &[TensorSpec],
    slots: &[Slot],
    end: &mut u64,
    alignment: u64,
) -> Result<Slot> {
    if let Some(nth) = spec.alias_of {
        let same = |other: &TensorSpec| other.dtype == spec.dtype && other.shape == spec.shape;
        return match (specs.get(nth), slots.get(nth)) {
            (Some(other), Some(slot)) if same(other) => Ok(Slot {
                data: slot.data.clone(),
                alias: true,
            }),
            _ => Err(Error::new(
                Code::UsageValue,
                "a tied tensor needs an earlier one of the same dtype and shape",
            )),
        };
    }
    let nbytes = spec.dtype.nbytes(&spec.shape)?;
    let overflow = || Error::new(Code::TensorOverflow, "the file would be too long");
    let alignment = alignment.max(spec.dtype.alignment());
    // An empty tensor needs no place of its own, hence no gap.
    let start = if nbytes == 0 {
        Some(*end)
    } else {
        end.checked_next_multiple_of(alignment)
    };
    let start = start.ok_or_else(overflow)?;
    *end = start.checked_add(nbytes).ok_or_else(overflow)?;
    Ok(Slot {
        data: start..*end,
        alias: false,
    })
}
