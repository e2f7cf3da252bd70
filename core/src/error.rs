//! One error type. Programs read [`Kind`] and [`Code`], people read the line.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use core::fmt;

/// What the core returns.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// Who is at fault, coarsely: enough to choose what to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The bytes are not this format, or break its rules.
    Format,
    /// The file is well formed but needs something this reader lacks.
    Unsupported,
    /// A cap of [`crate::Limits`] was exceeded.
    Limit,
    /// The bytes are not the ones that were written: a digest disagrees.
    Integrity,
    /// The caller asked for something that cannot be.
    Usage,
    /// A tensor, file or shard that was asked for does not exist.
    NotFound,
    /// The file does not meet the caller's [`crate::Schema`].
    Schema,
    /// The operating system refused.
    Io,
}

impl Kind {
    /// The stable lower-case word used in Python, JavaScript and `--json`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::Unsupported => "unsupported",
            Self::Limit => "limit",
            Self::Integrity => "integrity",
            Self::Usage => "usage",
            Self::NotFound => "not_found",
            Self::Schema => "schema",
            Self::Io => "io",
        }
    }
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal, $kind:ident;)+) => {
        /// Every way to fail, each with a stable spelling.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code { $($(#[doc = $doc])+ $name,)+ }

        impl Code {
            /// All codes, in the order of the specification's table.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The stable spelling, such as `header.duplicate_key`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// The kind that this code belongs to.
            pub const fn kind(self) -> Kind {
                match self { $(Self::$name => Kind::$kind,)+ }
            }

            /// One line about what it means.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+),)+ }
            }
        }
    };
}

codes! {
    /// The file ends inside the 24-byte prefix.
    PrefixTruncated = "prefix.truncated", Format;
    /// The first eight bytes are not `DTLEGION`.
    PrefixMagic = "prefix.magic", Format;
    /// The format version is not 1.
    PrefixVersion = "prefix.version", Unsupported;
    /// A flag bit is set that has no meaning yet.
    PrefixFlags = "prefix.flags", Unsupported;
    /// The encryption flag is set, which is reserved.
    PrefixEncrypted = "prefix.encrypted", Unsupported;

    /// The header or its padding reaches past the end of the file.
    HeaderTruncated = "header.truncated", Format;
    /// The header is not UTF-8.
    HeaderUtf8 = "header.utf8", Format;
    /// The header is not well-formed JSON.
    HeaderJson = "header.json", Format;
    /// Something other than spaces follows the JSON object.
    HeaderTrailing = "header.trailing", Format;
    /// A key stands twice in one JSON object.
    HeaderDuplicateKey = "header.duplicate_key", Format;
    /// JSON values nest deeper than the limit.
    HeaderDepth = "header.depth", Format;
    /// The field `format` is not "deathtensors".
    HeaderFormat = "header.format", Format;
    /// The field `format_version` is not 1.
    HeaderFormatVersion = "header.format_version", Unsupported;
    /// A required field is absent.
    HeaderMissingField = "header.missing_field", Format;
    /// A field has the wrong JSON type or range.
    HeaderFieldType = "header.field_type", Format;
    /// The bytes between header and blob are not NUL.
    HeaderPadding = "header.padding", Format;

    /// A tensor's name is the empty string.
    TensorNameEmpty = "tensor.name_empty", Format;
    /// A tensor's name contains a NUL.
    TensorNameNul = "tensor.name_nul", Format;
    /// A tensor's dtype is not one of the format's.
    TensorDtype = "tensor.dtype", Unsupported;
    /// A tensor's shape or size overflows.
    TensorOverflow = "tensor.overflow", Format;
    /// A tensor's elements do not fill whole bytes.
    TensorBits = "tensor.bits", Format;
    /// A tensor ends before it starts.
    TensorOffsets = "tensor.offsets", Format;
    /// A tensor's span is not its shape times its dtype's size.
    TensorSize = "tensor.size", Format;
    /// A tensor reaches past the end of the blob.
    TensorBounds = "tensor.bounds", Format;
    /// Two tensors overlap without being the same span.
    TensorOverlap = "tensor.overlap", Format;
    /// A digest in the header is not 64 lower-case hexadecimal digits.
    TensorDigest = "tensor.digest", Format;

    /// The file is too short for the footer that its flags announce.
    FooterTruncated = "footer.truncated", Format;

    /// The seek table is cut short or its descriptor is malformed.
    FramesTable = "frames.table", Format;
    /// The seek table's sizes do not add up to the blob.
    FramesTableSizes = "frames.table_sizes", Format;
    /// A frame is not a well-formed zstd frame.
    FramesDecode = "frames.decode", Format;
    /// A frame holds more than its table or header declares.
    FramesInflate = "frames.inflate", Format;
    /// A frame holds less than its table or header declares.
    FramesShort = "frames.short", Format;
    /// A frame's own checksum disagrees with its content.
    FramesChecksum = "frames.checksum", Integrity;

    /// The header is longer than the limit.
    LimitHeader = "limit.header_bytes", Limit;
    /// The file has more tensors than the limit.
    LimitTensors = "limit.tensors", Limit;
    /// A tensor's name is longer than the limit.
    LimitName = "limit.name_bytes", Limit;
    /// A tensor's metadata is larger than the limit.
    LimitMetadata = "limit.metadata_bytes", Limit;
    /// A tensor has more dimensions than the limit.
    LimitRank = "limit.rank", Limit;
    /// Something would inflate to more than the limit.
    LimitInflated = "limit.inflated_bytes", Limit;
    /// A call would take more memory than the limit.
    LimitMemory = "limit.memory", Limit;

    /// The SHA-256 footer disagrees with the file.
    IntegrityFooter = "integrity.footer", Integrity;
    /// A tensor's digest disagrees with its bytes.
    IntegrityTensor = "integrity.tensor", Integrity;
    /// The root digest disagrees with the header, or with the one asked for.
    IntegrityRoot = "integrity.root", Integrity;

    /// The file is not a shard index.
    ShardsNotIndex = "shards.not_index", Format;
    /// The list of shards is malformed.
    ShardsList = "shards.list", Format;
    /// A shard's path is not a plain file name.
    ShardsPath = "shards.path", Format;
    /// A shard lacks a tensor that the index promises, or the other way round.
    ShardsMismatch = "shards.mismatch", Format;

    /// A safetensors file breaks that format's rules.
    SafetensorsInvalid = "safetensors.invalid", Format;
    /// A tensor cannot be expressed in safetensors.
    SafetensorsDtype = "safetensors.dtype", Unsupported;
    /// A manifest sidecar is malformed.
    ManifestInvalid = "manifest.invalid", Format;
    /// A sparse group is incomplete or its indices are out of range.
    SparseInvalid = "sparse.invalid", Format;

    /// The file does not meet the schema.
    SchemaMismatch = "schema.mismatch", Schema;

    /// No tensor has that name.
    TensorNotFound = "not_found.tensor", NotFound;
    /// No file has that path.
    FileNotFound = "not_found.file", NotFound;

    /// A tensor of that name exists already.
    UsageDuplicateName = "usage.duplicate_name", Usage;
    /// The data given is not as long as dtype and shape say.
    UsageDataSize = "usage.data_size", Usage;
    /// A row range reaches outside the tensor.
    UsageRange = "usage.range", Usage;
    /// An option's value is out of its range.
    UsageOption = "usage.option", Usage;
    /// A value cannot be stored as a tensor.
    UsageValue = "usage.value", Usage;
    /// The operation needs what this file does not have.
    UsageUnavailable = "usage.unavailable", Usage;
    /// The file was closed.
    UsageClosed = "usage.closed", Usage;

    /// The operating system refused to read or write.
    Io = "io.failed", Io;
    /// The work was cancelled by its caller.
    IoInterrupted = "io.interrupted", Io;
    /// The file changed while it was being read.
    IoChanged = "io.changed", Io;
}

/// A refusal: what was wrong, where, what was expected and what was found.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(Box<Inner>);

#[derive(Clone, PartialEq, Eq)]
struct Inner {
    code: Code,
    message: String,
    tensor: Option<String>,
    expected: Option<String>,
    found: Option<String>,
}

impl Error {
    /// An error with a lower-case, one-line message.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            code,
            message: message.into(),
            tensor: None,
            expected: None,
            found: None,
        }))
    }

    /// Names the tensor it is about. The first name given stays.
    #[must_use]
    pub fn tensor(mut self, name: &str) -> Self {
        self.0.tensor.get_or_insert_with(|| name.into());
        self
    }

    /// Says what would have been right, with its unit.
    #[must_use]
    pub fn expected(mut self, what: impl ToString) -> Self {
        self.0.expected = Some(what.to_string());
        self
    }

    /// Says what was there instead, with its unit.
    #[must_use]
    pub fn found(mut self, what: impl ToString) -> Self {
        self.0.found = Some(what.to_string());
        self
    }

    /// The same error seen from a caller that knows better which code it is.
    #[must_use]
    pub fn with_code(mut self, code: Code) -> Self {
        self.0.code = code;
        self
    }

    /// Puts `what` and a colon before the message.
    #[must_use]
    pub fn context(mut self, what: impl fmt::Display) -> Self {
        self.0.message = alloc::format!("{what}: {}", self.0.message);
        self
    }

    /// The stable code.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The code's kind.
    pub fn kind(&self) -> Kind {
        self.0.code.kind()
    }

    /// The message alone, without tensor, expected and found.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The tensor it is about, if it is about one.
    pub fn tensor_name(&self) -> Option<&str> {
        self.0.tensor.as_deref()
    }

    /// What would have been right.
    pub fn expected_text(&self) -> Option<&str> {
        self.0.expected.as_deref()
    }

    /// What was there instead.
    pub fn found_text(&self) -> Option<&str> {
        self.0.found.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = self.tensor_name() {
            write!(f, "tensor '{}': ", Printable(name))?;
        }
        write!(f, "{}", Printable(self.message()))?;
        match (self.expected_text(), self.found_text()) {
            (Some(e), Some(g)) => write!(f, " (expected {}, found {})", Printable(e), Printable(g)),
            (Some(e), None) => write!(f, " (expected {})", Printable(e)),
            (None, Some(g)) => write!(f, " (found {})", Printable(g)),
            (None, None) => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {self}", self.code().as_str())
    }
}

impl core::error::Error for Error {}

/// Text from a file, made safe to print: what would not be seen, or would change the
/// direction of the rest, is escaped, and very long text is cut in the middle.
pub struct Printable<'a>(pub &'a str);

impl Printable<'_> {
    const LONGEST: usize = 400;

    /// Whether a terminal or a reader could be led astray by it: Unicode's categories Cc,
    /// Cf, Zl and Zp, and what it calls Default_Ignorable_Code_Point.
    ///
    /// `web/src/visible.ts` says the same by their names. Tests compare both with
    /// Unicode.
    fn is_unsafe(c: char) -> bool {
        c.is_control()
            || matches!(
                c,
                '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}'
            )
            || matches!(c, '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{115f}'..='\u{1160}')
            || matches!(c, '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
            || matches!(c, '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}')
            || matches!(c, '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}')
            || matches!(c, '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}')
            || matches!(c, '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}')
            || matches!(c, '\u{e0000}'..='\u{e0fff}')
    }
}

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        let show = |f: &mut fmt::Formatter<'_>, text: &str| {
            text.chars().try_for_each(|c| {
                if Self::is_unsafe(c) {
                    write!(f, "{}", c.escape_unicode())
                } else {
                    f.write_char(c)
                }
            })
        };
        let total = self.0.chars().count();
        if total <= Self::LONGEST {
            return show(f, self.0);
        }
        let cut = |n: usize| {
            self.0
                .char_indices()
                .nth(n)
                .map_or(self.0.len(), |(at, _)| at)
        };
        let half = Self::LONGEST / 2;
        show(f, self.0.get(..cut(half)).unwrap_or_default())?;
        write!(f, "…({} more)…", total - 2 * half)?;
        show(f, self.0.get(cut(total - half)..).unwrap_or_default())
    }
}
