//! The manifest: a sidecar that shows a file's header to people and web pages
//! (spec, "Manifest").

use crate::digest::{hex, parse_hex};
use crate::error::{Code, Error, Result};
use crate::header::{
    Builder, Header, Metadata, TensorInfo, missing, once, read_global, read_tensors,
};
use crate::json::{Keys, Reader, push_ascii_string, push_u64};
use crate::layout;
use crate::limits::Limits;
use crate::prefix::VERSION;
use alloc::format;
use alloc::string::String;

const MAGIC_TEXT: &str = "DTLEGION";

/// The manifest of a file: indented JSON, in ASCII so that it reads the same
/// whatever encoding a reader assumes. `written_at` is a time in ISO 8601.
pub fn emit(header: &Header, library_version: &str, written_at: &str) -> String {
    let mut out = Pretty::default();
    out.open('{');
    out.text("deathtensors_version", library_version);
    out.number("format_version", VERSION.into());
    out.text("magic", MAGIC_TEXT);
    out.pairs("global_metadata", &header.global_metadata());
    out.key("tensors");
    out.open('{');
    for tensor in header.tensors() {
        push_tensor(&mut out, &tensor);
    }
    out.close('}');
    if let Some(root) = header.root() {
        out.text("root_sha256", &hex(root));
    }
    out.text("written_at", written_at);
    out.close('}');
    out.text
}

fn push_tensor(out: &mut Pretty, tensor: &TensorInfo<'_>) {
    out.key(tensor.name);
    out.open('{');
    out.text("name", tensor.name);
    out.text("dtype", tensor.dtype.as_str());
    out.maybe("torch_dtype", tensor.dtype.torch_name());
    out.maybe("numpy_dtype", tensor.dtype.numpy_name());
    out.numbers("shape", tensor.shape);
    out.numbers("data_offsets", &[tensor.start, tensor.end]);
    out.number("nbytes", tensor.nbytes());
    out.pairs("metadata", &tensor.metadata);
    if let Some(digest) = tensor.sha256 {
        out.text("sha256", &hex(digest));
    }
    out.close('}');
}

/// A manifest that was read.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The header it describes, without `created_by`.
    pub header: Header,
    /// When it was written, in its own words.
    pub written_at: Option<String>,
    /// The version of the library that wrote it.
    pub library_version: Option<String>,
}

/// Reads a manifest, by 0.3.0 or newer. Unknown fields are ignored, and so are
/// the names that PyTorch and NumPy have for a dtype.
///
/// # Errors
/// `manifest.invalid` when it is not a manifest; the `tensor.*` and `limit.*`
/// codes when it describes tensors that no file may hold.
pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Manifest> {
    read(bytes, limits).map_err(|e| match e.code().as_str().split_once('.') {
        Some(("header", _)) => e.with_code(Code::ManifestInvalid).context("not a manifest"),
        _ => e,
    })
}

/// Refuses a manifest that is too long to be read.
///
/// # Errors
/// `limit.header_bytes` and `limit.memory`.
pub fn check_length(bytes: u64, limits: &Limits) -> Result<()> {
    // Indentation and repeated names make it several times longer than the header.
    const PER_HEADER_BYTE: u64 = 16;
    let longest = limits.header_bytes.saturating_mul(PER_HEADER_BYTE);
    Limits {
        header_bytes: longest,
        ..*limits
    }
    .check_header(bytes)
}

fn read(bytes: &[u8], limits: &Limits) -> Result<Manifest> {
    check_length(bytes.len() as u64, limits)?;
    let text = core::str::from_utf8(bytes).map_err(|e| {
        Error::new(Code::HeaderUtf8, "the text is not UTF-8")
            .found(format!("an invalid byte at {}", e.valid_up_to()))
    })?;
    let mut reader = Reader::new(text, limits.depth);
    let mut builder = Builder::new(limits);
    let mut manifest = read_top(&mut reader, &mut builder)?;
    reader.end()?;
    manifest.header = builder.finish(0)?;
    layout::check_overlap(&manifest.header)?;
    Ok(manifest)
}

fn read_top(reader: &mut Reader<'_>, builder: &mut Builder<'_>) -> Result<Manifest> {
    let (mut magic, mut version, mut library) = (None, None, None);
    let (mut global, mut tensors, mut root, mut written_at) = (None, None, None, None);
    let mut unknown = Keys::default();
    let mut inside = reader.object()?;
    while let Some(key) = reader.key(&mut inside)? {
        match &*key {
            "magic" => once(&mut magic, reader.string_field(&key)?, &key)?,
            "format_version" => once(&mut version, reader.u64(&key)?, &key)?,
            "deathtensors_version" => once(&mut library, reader.string_field(&key)?, &key)?,
            "global_metadata" => once(&mut global, read_global(reader, builder)?, &key)?,
            "tensors" => once(&mut tensors, read_tensors(reader, builder, true)?, &key)?,
            "root_sha256" => once(&mut root, parse_hex(&reader.string_field(&key)?)?, &key)?,
            "written_at" => once(&mut written_at, reader.string_field(&key)?, &key)?,
            _ => {
                unknown.push(key);
                reader.skip()?;
            }
        }
    }
    unknown.check()?;
    let magic = magic.ok_or_else(|| missing("magic"))?;
    if magic != MAGIC_TEXT {
        return Err(wrong("magic", MAGIC_TEXT, &magic));
    }
    let version = version.ok_or_else(|| missing("format_version"))?;
    if version != u64::from(VERSION) {
        return Err(wrong(
            "format_version",
            &format!("{VERSION}"),
            &format!("{version}"),
        ));
    }
    tensors.ok_or_else(|| missing("tensors"))?;
    if let Some(digest) = root {
        builder.root(digest, 0..0);
    }
    Ok(Manifest {
        header: Header::default(),
        written_at: written_at.map(Into::into),
        library_version: library.map(Into::into),
    })
}

fn wrong(field: &str, expected: &str, found: &str) -> Error {
    Error::new(
        Code::ManifestInvalid,
        format!("not a manifest: field '{field}' is another"),
    )
    .expected(format!("'{expected}'"))
    .found(format!("'{found}'"))
}

/// Writes JSON with an indentation of two spaces.
#[derive(Default)]
struct Pretty {
    text: String,
    depth: usize,
    filled: bool,
}

impl Pretty {
    fn open(&mut self, bracket: char) {
        self.text.push(bracket);
        self.depth += 1;
        self.filled = false;
    }

    fn close(&mut self, bracket: char) {
        self.depth = self.depth.saturating_sub(1);
        if self.filled {
            self.line();
        }
        self.text.push(bracket);
        self.filled = true;
    }

    fn line(&mut self) {
        self.text.push('\n');
        self.text.extend(core::iter::repeat_n("  ", self.depth));
    }

    fn item(&mut self) {
        if self.filled {
            self.text.push(',');
        }
        self.line();
        self.filled = true;
    }

    fn key(&mut self, key: &str) {
        self.item();
        push_ascii_string(&mut self.text, key);
        self.text.push_str(": ");
    }

    fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        push_ascii_string(&mut self.text, value);
    }

    fn maybe(&mut self, key: &str, value: Option<&str>) {
        match value {
            Some(value) => self.text(key, value),
            None => {
                self.key(key);
                self.text.push_str("null");
            }
        }
    }

    fn number(&mut self, key: &str, value: u64) {
        self.key(key);
        push_u64(&mut self.text, value);
    }

    fn numbers(&mut self, key: &str, values: &[u64]) {
        self.key(key);
        self.open('[');
        for &value in values {
            self.item();
            push_u64(&mut self.text, value);
        }
        self.close(']');
    }

    fn pairs(&mut self, key: &str, pairs: &Metadata<'_>) {
        self.key(key);
        self.open('{');
        for (key, value) in pairs.iter() {
            self.text(key, value);
        }
        self.close('}');
    }
}
