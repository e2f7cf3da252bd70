//! From JSON text to a [`Header`], and the builder that both reading and
//! planning fill.

use super::{Entry, Header, NameIndex, Root, Span};
use crate::digest::{Digest, parse_hex};
use crate::dtype::{Dtype, Shape};
use crate::error::{Code, Error, Result};
use crate::json::{Keys, Reader, duplicate_key};
use crate::limits::Limits;
use crate::prefix::VERSION;
use alloc::format;
use core::ops::Range;

impl Header {
    /// Parses the header's bytes: one JSON object, then only spaces.
    ///
    /// # Errors
    /// The `header.*`, `tensor.*` and `limit.*` codes. Offsets are checked against
    /// shapes here, and against the file by [`crate::Opening`].
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Self> {
        limits.check_header(bytes.len() as u64)?;
        let text = core::str::from_utf8(bytes).map_err(|e| {
            Error::new(Code::HeaderUtf8, "the header is not UTF-8")
                .found(format!("an invalid byte at {}", e.valid_up_to()))
        })?;
        if !text.starts_with('{') {
            let found = text
                .chars()
                .next()
                .map_or("nothing".into(), |c| format!("'{c}'"));
            return Err(
                Error::new(Code::HeaderJson, "the header is not a JSON object")
                    .expected("'{'")
                    .found(found),
            );
        }
        let mut reader = Reader::new(text, limits.depth);
        let mut builder = Builder::new(limits);
        builder.expect(text.len());
        read_top(&mut reader, &mut builder)?;
        let end = reader.position();
        if let Some(at) = reader.rest().bytes().position(|b| b != b' ') {
            return Err(Error::new(
                Code::HeaderTrailing,
                "only spaces may follow the JSON object",
            )
            .found(format!("another byte at {}", end + at)));
        }
        builder.finish(end as u64)
    }
}

/// A field that may stand once.
pub(crate) fn once<T>(slot: &mut Option<T>, value: T, key: &str) -> Result<()> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(duplicate_key(key)),
    }
}

pub(crate) fn missing(field: &str) -> Error {
    Error::new(Code::HeaderMissingField, "a required field is absent")
        .expected(format!("'{field}'"))
}

fn read_top(reader: &mut Reader<'_>, builder: &mut Builder<'_>) -> Result<()> {
    let (mut format, mut version, mut created_by) = (None, None, None);
    let (mut global, mut tensors, mut root) = (None, None, None);
    let mut unknown = Keys::default();
    let mut inside = reader.object()?;
    while let Some(key) = reader.key(&mut inside)? {
        match &*key {
            "format" => once(&mut format, reader.string_field("format")?, "format")?,
            "format_version" => once(
                &mut version,
                reader.u64("format_version")?,
                "format_version",
            )?,
            "created_by" => once(
                &mut created_by,
                builder.text(&reader.string_field("created_by")?)?,
                "created_by",
            )?,
            "global_metadata" => once(&mut global, read_global(reader, builder)?, &key)?,
            "root_sha256" => once(&mut root, read_root(reader)?, "root_sha256")?,
            "tensors" => once(
                &mut tensors,
                read_tensors(reader, builder, false)?,
                "tensors",
            )?,
            _ => {
                unknown.push(key);
                reader.skip()?;
            }
        }
    }
    unknown.check()?;
    match format.ok_or_else(|| missing("format"))? {
        text if text == "deathtensors" => {}
        other => {
            return Err(
                Error::new(Code::HeaderFormat, "the header is of another format")
                    .expected("'deathtensors'")
                    .found(format!("'{other}'")),
            );
        }
    }
    match version.ok_or_else(|| missing("format_version"))? {
        v if v == u64::from(VERSION) => {}
        other => {
            return Err(
                Error::new(Code::HeaderFormatVersion, "the header has another version")
                    .expected(VERSION)
                    .found(other),
            );
        }
    }
    tensors.ok_or_else(|| missing("tensors"))?;
    builder.header.created_by = created_by;
    builder.header.root = root;
    Ok(())
}

fn read_root(reader: &mut Reader<'_>) -> Result<Root> {
    let text = reader.string_field("root_sha256")?;
    let digest = parse_hex(&text)?;
    // An escaped spelling would be longer than 64 bytes, and have no digits to
    // replace by zeros.
    let end = reader.position() - 1;
    if !matches!(text, alloc::borrow::Cow::Borrowed(_)) {
        return Err(Error::new(
            Code::TensorDigest,
            "the root digest is spelled with escapes",
        )
        .expected("64 plain digits"));
    }
    Ok(Root {
        digest,
        digits: end - text.len()..end,
    })
}

/// Reads the tensors' entries. A manifest describes them further: there, name and
/// size are given once more and have to agree.
pub(crate) fn read_tensors(
    reader: &mut Reader<'_>,
    builder: &mut Builder<'_>,
    described: bool,
) -> Result<()> {
    let mut inside = reader.object_field("tensors")?;
    while let Some(name) = reader.key(&mut inside)? {
        check_name(&name, builder.limits)?;
        read_tensor(reader, builder, &name, described).map_err(|e| e.tensor(&name))?;
    }
    Ok(())
}

fn read_tensor(
    reader: &mut Reader<'_>,
    builder: &mut Builder<'_>,
    name: &str,
    described: bool,
) -> Result<()> {
    let (mut dtype, mut shape, mut offsets, mut pairs, mut sha256) = (None, None, None, None, None);
    let (mut same_name, mut nbytes) = (None, None);
    let mut unknown = Keys::default();
    let mut inside = reader.object_field("tensors")?;
    while let Some(key) = reader.key(&mut inside)? {
        match &*key {
            "dtype" => once(
                &mut dtype,
                Dtype::parse(&reader.string_field("dtype")?)?,
                "dtype",
            )?,
            "shape" => once(&mut shape, read_shape(reader, builder)?, "shape")?,
            "data_offsets" => once(&mut offsets, read_offsets(reader)?, "data_offsets")?,
            "metadata" => once(
                &mut pairs,
                read_pairs(reader, builder, "metadata", Some(name))?,
                "metadata",
            )?,
            "sha256" => once(
                &mut sha256,
                parse_hex(&reader.string_field("sha256")?)?,
                "sha256",
            )?,
            "name" if described => once(&mut same_name, read_name(reader, name)?, "name")?,
            "nbytes" if described => once(&mut nbytes, reader.u64("nbytes")?, "nbytes")?,
            _ => {
                unknown.push(key);
                reader.skip()?;
            }
        }
    }
    unknown.check()?;
    let data = offsets.ok_or_else(|| missing("data_offsets"))?;
    let size = data.end.saturating_sub(data.start);
    builder.push_entry(
        name,
        dtype.ok_or_else(|| missing("dtype"))?,
        shape.ok_or_else(|| missing("shape"))?,
        data,
        pairs.unwrap_or(0..0),
        sha256,
    )?;
    match nbytes {
        Some(nbytes) if nbytes != size => Err(Error::new(
            Code::TensorSize,
            "the size given is not the tensor's size",
        )
        .expected(format!("{size} bytes"))
        .found(format!("{nbytes} bytes"))),
        _ => Ok(()),
    }
}

fn read_name(reader: &mut Reader<'_>, name: &str) -> Result<()> {
    let again = reader.string_field("name")?;
    if again == name {
        return Ok(());
    }
    Err(Error::new(
        Code::HeaderFieldType,
        "field 'name' is not the entry's name",
    )
    .expected(format!("'{name}'"))
    .found(format!("'{again}'")))
}

/// Reads the metadata of the whole file.
pub(crate) fn read_global(reader: &mut Reader<'_>, builder: &mut Builder<'_>) -> Result<()> {
    builder.header.global = read_pairs(reader, builder, "global_metadata", None)?;
    Ok(())
}

fn read_shape(reader: &mut Reader<'_>, builder: &mut Builder<'_>) -> Result<Span> {
    let start = builder.header.dims.len();
    reader.u64s("shape", |dim| builder.dim(start, dim))?;
    Ok(span(start, builder.header.dims.len()))
}

fn read_offsets(reader: &mut Reader<'_>) -> Result<Range<u64>> {
    let mut both = [0; 2];
    let mut count = 0usize;
    reader.u64s("data_offsets", |value| {
        if let Some(slot) = both.get_mut(count) {
            *slot = value;
        }
        count += 1;
        Ok(())
    })?;
    let [start, end] = both;
    if count != 2 {
        return Err(Error::new(
            Code::HeaderFieldType,
            "field 'data_offsets' has the wrong type or range",
        )
        .expected("two integers, start and end")
        .found(format!("{count}")));
    }
    Ok(start..end)
}

/// Reads string pairs; `tensor` is there when the limit for one tensor holds.
fn read_pairs(
    reader: &mut Reader<'_>,
    builder: &mut Builder<'_>,
    field: &str,
    tensor: Option<&str>,
) -> Result<Span> {
    let start = builder.header.pairs.len();
    let mut size = 0u64;
    reader.strings(field, |key, value| {
        if tensor.is_some() {
            size = builder.metadata_size(size, key, value)?;
        }
        builder.pair(key, value)
    })?;
    Ok(span(start, builder.header.pairs.len()))
}

/// Refuses names that no file may hold.
pub(crate) fn check_name(name: &str, limits: &Limits) -> Result<()> {
    if name.is_empty() {
        return Err(Error::new(
            Code::TensorNameEmpty,
            "a tensor's name is empty",
        ));
    }
    if name.len() as u64 > limits.name_bytes {
        return Err(
            Error::new(Code::LimitName, "the name is longer than the limit")
                .tensor(name)
                .expected(format!("at most {} bytes", limits.name_bytes))
                .found(format!("{} bytes", name.len())),
        );
    }
    if name.contains('\0') {
        return Err(Error::new(Code::TensorNameNul, "the name contains a NUL").tensor(name));
    }
    Ok(())
}

/// Fills a [`Header`]. Its texts stay below 4 GiB, since headers do.
pub(crate) struct Builder<'l> {
    pub header: Header,
    pub limits: &'l Limits,
}

/// A tensor to be added by a planner.
pub(crate) struct NewTensor<'a, P> {
    pub name: &'a str,
    pub dtype: Dtype,
    pub shape: &'a [u64],
    pub data: Range<u64>,
    pub metadata: P,
    pub sha256: Option<Digest>,
}

impl<'l> Builder<'l> {
    pub fn new(limits: &'l Limits) -> Self {
        Self {
            header: Header::default(),
            limits,
        }
    }

    /// Makes room for a header of so many bytes, which bounds what it can hold.
    fn expect(&mut self, json_bytes: usize) {
        // What a tensor takes at the least, and most of it is not its name.
        const PER_TENSOR: usize = 96;
        let header = &mut self.header;
        header.text.reserve(json_bytes / 3);
        header.dims.reserve(json_bytes / PER_TENSOR * 2);
        header.tensors.reserve(json_bytes / PER_TENSOR);
    }

    /// Adds a tensor with metadata in the given order.
    pub fn push<'a, P>(&mut self, tensor: NewTensor<'_, P>) -> Result<()>
    where
        P: Iterator<Item = (&'a str, &'a str)>,
    {
        check_name(tensor.name, self.limits)?;
        self.push_any(tensor)
    }

    /// The same for another format, whose names have other rules.
    pub fn push_any<'a, P>(&mut self, tensor: NewTensor<'_, P>) -> Result<()>
    where
        P: Iterator<Item = (&'a str, &'a str)>,
    {
        let NewTensor {
            name,
            dtype,
            shape,
            data,
            metadata,
            sha256,
        } = tensor;
        let add = |builder: &mut Self| {
            let dims = builder.header.dims.len();
            shape.iter().try_for_each(|&dim| builder.dim(dims, dim))?;
            let pairs = builder.header.pairs.len();
            let mut size = 0;
            for (key, value) in metadata {
                size = builder.metadata_size(size, key, value)?;
                builder.pair(key, value)?;
            }
            let dims = span(dims, builder.header.dims.len());
            let pairs = span(pairs, builder.header.pairs.len());
            builder.push_entry(name, dtype, dims, data, pairs, sha256)
        };
        add(self).map_err(|e| e.tensor(name))
    }

    /// Sets the file's own metadata.
    pub fn global<'a>(&mut self, pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Result<()> {
        let start = self.header.pairs.len();
        for (key, value) in pairs {
            self.pair(key, value)?;
        }
        self.header.global = span(start, self.header.pairs.len());
        Ok(())
    }

    pub fn created_by(&mut self, text: &str) -> Result<()> {
        self.header.created_by = Some(self.text(text)?);
        Ok(())
    }

    pub fn root(&mut self, digest: Digest, digits: Range<usize>) {
        self.header.root = Some(Root { digest, digits });
    }

    /// Ends the building: indexes the names.
    pub fn finish(mut self, json_bytes: u64) -> Result<Header> {
        let count = u32::try_from(self.header.tensors.len()).unwrap_or(u32::MAX);
        let index = NameIndex::build(count, |nth| self.header.name(nth))
            .map_err(|nth| duplicate_key(self.header.name(nth)).tensor(self.header.name(nth)))?;
        self.header.index = index;
        self.header.json_bytes = json_bytes;
        Ok(self.header)
    }

    fn text(&mut self, text: &str) -> Result<Span> {
        let start = self.header.text.len();
        let end = start + text.len();
        if end > u32::MAX as usize {
            return Err(Error::new(
                Code::LimitHeader,
                "names and metadata are longer than a header can be",
            ));
        }
        self.header.text.push_str(text);
        Ok(span(start, end))
    }

    fn pair(&mut self, key: &str, value: &str) -> Result<()> {
        let pair = (self.text(key)?, self.text(value)?);
        self.header.pairs.push(pair);
        Ok(())
    }

    /// Adds up one tensor's metadata and holds it against its limit.
    fn metadata_size(&self, size: u64, key: &str, value: &str) -> Result<u64> {
        const PER_PAIR: u64 = 8;
        let size = size + key.len() as u64 + value.len() as u64 + PER_PAIR;
        if size > self.limits.metadata_bytes {
            return Err(
                Error::new(Code::LimitMetadata, "the metadata is larger than the limit")
                    .expected(format!("at most {} bytes", self.limits.metadata_bytes))
                    .found(format!("{size} bytes or more")),
            );
        }
        Ok(size)
    }

    fn dim(&mut self, start: usize, dim: u64) -> Result<()> {
        if (self.header.dims.len() - start) as u64 >= self.limits.rank {
            return Err(self.limits.too_many(Code::LimitRank));
        }
        self.header.dims.push(dim);
        Ok(())
    }

    fn push_entry(
        &mut self,
        name: &str,
        dtype: Dtype,
        dims: Span,
        data: Range<u64>,
        pairs: Span,
        sha256: Option<Digest>,
    ) -> Result<()> {
        if self.header.tensors.len() as u64 >= self.limits.tensors.min(u64::from(u32::MAX)) {
            return Err(self.limits.too_many(Code::LimitTensors));
        }
        let shape = super::part(&self.header.dims, &dims);
        let nbytes = dtype.nbytes(shape)?;
        if data.end < data.start {
            return Err(
                Error::new(Code::TensorOffsets, "the tensor ends before it starts")
                    .expected("start at most end")
                    .found(format!("{} to {}", data.start, data.end)),
            );
        }
        if data.end - data.start != nbytes {
            return Err(Error::new(
                Code::TensorSize,
                "the tensor's span is not its shape times its element size",
            )
            .expected(format!("{nbytes} bytes for {dtype} {}", Shape(shape)))
            .found(format!("{} bytes", data.end - data.start)));
        }
        let name = self.text(name)?;
        let sha256 = sha256.and_then(|digest| {
            self.header.digests.push(digest);
            super::place(self.header.digests.len())
        });
        self.header.tensors.push(Entry {
            name,
            dims,
            pairs,
            data,
            dtype,
            sha256,
        });
        Ok(())
    }
}

fn span(start: usize, end: usize) -> Span {
    // Texts are kept below 4 GiB and every element takes more than a byte of them.
    start as u32..end as u32
}
