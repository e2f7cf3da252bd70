//! Every cap a reader applies, in one value that callers can lower or raise.

use crate::error::{Code, Error, Result};
use crate::json::{Keys, Reader};
use alloc::format;

/// Caps on what a file may ask a reader to do.
///
/// All lengths are in bytes. The defaults are generous: the largest published
/// models stay far below them. Each is checked before anything is allocated on
/// the word of the file (spec, "Limits").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Longest header, its trailing spaces included.
    pub header_bytes: u64,
    /// Most tensors in one file.
    pub tensors: u64,
    /// Longest tensor name in UTF-8.
    pub name_bytes: u64,
    /// Largest metadata of one tensor: its keys and values in UTF-8, plus 8
    /// bytes for each pair.
    pub metadata_bytes: u64,
    /// Most dimensions of one tensor.
    pub rank: u64,
    /// Deepest nesting of JSON values, the outermost object counting as one.
    pub depth: u64,
    /// Longest compressed frame or legacy single-frame blob that is inflated
    /// at once.
    pub inflated_bytes: u64,
}

impl Limits {
    /// The limits that the specification names.
    pub const DEFAULT: Self = Self {
        header_bytes: 100_000_000,
        tensors: 4_000_000,
        name_bytes: 4096,
        metadata_bytes: 1 << 20,
        rank: 64,
        depth: 16,
        inflated_bytes: 1 << 40,
    };

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
            let limit = match &*key {
                "header_bytes" => &mut self.header_bytes,
                "tensors" => &mut self.tensors,
                "name_bytes" => &mut self.name_bytes,
                "metadata_bytes" => &mut self.metadata_bytes,
                "rank" => &mut self.rank,
                "depth" => &mut self.depth,
                "inflated_bytes" => &mut self.inflated_bytes,
                _ => {
                    return Err(Error::new(Code::UsageOption, "there is no such limit")
                        .found(format!("'{key}'")));
                }
            };
            *limit = reader.u64(&key)?;
            keys.push(key);
        }
        keys.check()?;
        reader.end()
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
        Ok(())
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
