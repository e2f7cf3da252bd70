//! Every cap a reader applies, in one value that callers can lower or raise.

use crate::error::{Code, Error, Result};
use crate::json::{Keys, Reader};
use alloc::format;

/// One row of the table of limits, [`Limits::TABLE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limit {
    /// What it is called wherever limits are given by name.
    pub name: &'static str,
    /// What holds unless a caller says otherwise.
    pub default: u64,
    /// What exceeding it is refused as.
    pub code: Code,
    /// One line about what it bounds.
    pub meaning: &'static str,
}

macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $name:ident = $default:expr, $code:ident;)+) => {
        /// Caps on what a file may ask a reader to do.
        ///
        /// All lengths are in bytes. The defaults are generous: the largest published
        /// models stay far below them. Each is checked before anything is allocated on
        /// the word of the file (spec, "Limits").
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Limits { $($(#[doc = $doc])+ pub $name: u64,)+ }

        impl Limits {
            /// The limits that the specification names.
            pub const DEFAULT: Self = Self { $($name: $default,)+ };

            /// Every limit, in the order of the specification's table.
            pub const TABLE: &'static [Limit] = &[$(Limit {
                name: stringify!($name),
                default: $default,
                code: Code::$code,
                meaning: concat!($($doc),+),
            },)+];

            /// All names, each after a comma.
            const NAMES: &'static str = concat!($(", ", stringify!($name)),+);

            fn slot(&mut self, name: &str) -> Option<&mut u64> {
                match name {
                    $(stringify!($name) => Some(&mut self.$name),)+
                    _ => None,
                }
            }
        }
    };
}

limits! {
    /// Longest header, its trailing spaces included.
    header_bytes = 100_000_000, LimitHeader;
    /// Most tensors in one file.
    tensors = 4_000_000, LimitTensors;
    /// Longest tensor name in UTF-8.
    name_bytes = 4096, LimitName;
    /// Largest metadata of one tensor: its keys and values in UTF-8, plus 8
    /// bytes for each pair.
    metadata_bytes = 1 << 20, LimitMetadata;
    /// Most dimensions of one tensor.
    rank = 64, LimitRank;
    /// Deepest nesting of JSON values, the outermost object counting as one.
    depth = 16, HeaderDepth;
    /// Longest compressed frame or legacy single-frame blob that is inflated
    /// at once.
    inflated_bytes = 1 << 40, LimitInflated;
    /// Most memory that one call sets aside on the word of a file: 16 times a header,
    /// the copies it returns, what it decodes beside them (spec, "Memory").
    // More than a process can address, so that by default only memory itself is short;
    // and a number that JavaScript has.
    memory_bytes = 1 << 48, LimitMemory;
}

/// What a header's text is counted as when it is read, in multiples of its length: the
/// text, what is made of it, and room that growing lists leave.
const PER_HEADER_BYTE: u64 = 16;

/// The same for a seek table.
const PER_TABLE_BYTE: u64 = 4;

impl Limits {
    /// Sets the limit of that name.
    ///
    /// # Errors
    /// `usage.option` when there is none.
    pub fn set(&mut self, name: &str, value: u64) -> Result<()> {
        match self.slot(name) {
            Some(slot) => *slot = value,
            None => {
                let names = Self::NAMES.get(2..).unwrap_or_default();
                return Err(Error::new(Code::UsageOption, "there is no such limit")
                    .expected(format!("one of {names}"))
                    .found(format!("'{name}'")));
            }
        }
        Ok(())
    }

    /// The defaults with those replaced that a JSON object names, spelled as the fields
    /// here. Callers that speak JSON say their limits so.
    ///
    /// # Errors
    /// `usage.option` for anything else.
    pub fn from_json(text: &str) -> Result<Self> {
        let mut limits = Self::DEFAULT;
        limits.read(text).map_err(|e| {
            e.with_code(Code::UsageOption)
                .context("these are not limits")
        })?;
        Ok(limits)
    }

    fn read(&mut self, text: &str) -> Result<()> {
        const DEEPEST: u64 = 1;
        let mut reader = Reader::new(text, DEEPEST);
        let mut keys = Keys::default();
        let mut inside = reader.object()?;
        while let Some(key) = reader.key(&mut inside)? {
            let value = reader.u64(&key)?;
            self.set(&key, value)?;
            keys.push(key);
        }
        keys.check()?;
        reader.end()
    }

    /// Refuses to set aside so many bytes.
    ///
    /// # Errors
    /// `limit.memory`.
    pub fn check_memory(&self, bytes: u64) -> Result<()> {
        if bytes <= self.memory_bytes {
            return Ok(());
        }
        let message = "this would take more memory than the limit";
        Err(Error::new(Code::LimitMemory, message)
            .expected(format!("at most {} bytes", self.memory_bytes))
            .found(format!("{bytes} bytes")))
    }

    /// The refusal of one dimension, or one tensor, more than the limit.
    pub(crate) fn too_many(&self, code: Code) -> Error {
        let (message, most) = match code {
            Code::LimitRank => ("the tensor has too many dimensions", self.rank),
            _ => ("the file has too many tensors", self.tensors),
        };
        Error::new(code, message)
            .expected(format!("at most {most}"))
            .found(format!("{} or more", most.saturating_add(1)))
    }

    /// Refuses a seek table that would take too much memory.
    pub(crate) fn check_table(&self, bytes: u64) -> Result<()> {
        self.check_memory(bytes.saturating_mul(PER_TABLE_BYTE))
            .map_err(|e| e.context("the seek table"))
    }

    /// Refuses a header that is too long.
    pub(crate) fn check_header(&self, bytes: u64) -> Result<()> {
        // Spans inside a parsed header are kept as 32-bit numbers.
        let longest = self.header_bytes.min(u64::from(u32::MAX));
        if bytes > longest {
            return Err(
                Error::new(Code::LimitHeader, "the header is longer than the limit")
                    .expected(format!("at most {longest} bytes"))
                    .found(format!("{bytes} bytes")),
            );
        }
        self.check_memory(bytes.saturating_mul(PER_HEADER_BYTE))
            .map_err(|e| e.context(format!("a header of {bytes} bytes")))
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_that_of_the_fields() {
        let mut limits = Limits::DEFAULT;
        for (place, row) in Limits::TABLE.iter().enumerate() {
            assert_eq!(limits.slot(row.name), Some(&mut row.default.clone()));
            limits.set(row.name, place as u64).unwrap();
            let limit = row.code.as_str().split_once('.').unwrap().1;
            assert!(row.name.starts_with(limit), "{limit}");
        }
        assert_eq!((limits.header_bytes, limits.memory_bytes), (0, 7));
        let refused = limits.set("colour", 1).unwrap_err();
        let names = "one of header_bytes, tensors, name_bytes, metadata_bytes, rank, depth, \
                     inflated_bytes, memory_bytes";
        assert_eq!(refused.code(), Code::UsageOption);
        assert_eq!(refused.expected_text(), Some(names));
    }

    #[test]
    fn memory() {
        let mut limits = Limits::DEFAULT;
        limits.memory_bytes = 1600;
        assert!(limits.check_memory(1600).is_ok());
        let refused = limits.check_memory(1601).unwrap_err();
        assert_eq!(refused.code(), Code::LimitMemory);
        assert_eq!(refused.expected_text(), Some("at most 1600 bytes"));
        assert_eq!(refused.found_text(), Some("1601 bytes"));
        assert!(limits.check_header(100).is_ok());
        let refused = limits.check_header(101).unwrap_err();
        assert_eq!(refused.found_text(), Some("1616 bytes"));
        assert!(limits.check_table(400).is_ok());
        assert!(limits.check_table(u64::MAX).is_err());
    }

    #[test]
    fn from_json() {
        let limits = Limits::from_json(r#"{"rank": 3, "depth": 5}"#).unwrap();
        assert_eq!(
            (limits.rank, limits.depth, limits.tensors),
            (3, 5, 4_000_000)
        );
        for text in [
            "",
            "[]",
            "{\"rank\": -1}",
            "{\"ranks\": 1}",
            "{\"rank\":1,\"rank\":2}",
            "{}{}",
        ] {
            assert_eq!(
                Limits::from_json(text).unwrap_err().code(),
                Code::UsageOption
            );
        }
    }
}
