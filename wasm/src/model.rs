//! An open file: what is in it, and what its parts are checked by.

use crate::convert::{MOST, pair, place, whole};
use crate::failure::{Failure, Result};
use crate::frames::Table;
use crate::json::Json;
use crate::opening::{copied, too_long};
use crate::shards::ShardIndex;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;
use deathtensors_core::digest::{Digest, footer_differs, hex, parse_hex, tensor_differs};
use deathtensors_core::manifest::{self, Manifest};
use deathtensors_core::safetensors::Safetensors;
use deathtensors_core::{Catalogue, Code, Error, Header, Limits, Schema, TensorInfo, shards};
use wasm_bindgen::prelude::wasm_bindgen;

/// A file whose header was read and found right.
#[wasm_bindgen]
pub struct Model {
    pub(crate) file: File,
    pub(crate) limits: Limits,
    pub(crate) table: Table,
    /// The header's bytes, kept where there is a root to check them by.
    header_bytes: Vec<u8>,
}

/// Of which format.
pub(crate) enum File {
    Ours(Catalogue),
    Safetensors {
        header: Header,
        data_start: u64,
        file_bytes: u64,
    },
    Manifest(Manifest),
}

#[wasm_bindgen]
impl Model {
    /// Facts about the file as a whole, as JSON.
    pub fn summary(&self) -> String {
        let header = self.header();
        let data = self.data_range().unwrap_or(0..0);
        let mut json = Json::default();
        json.open('{');
        let (format, file_bytes, header_bytes) = match &self.file {
            File::Ours(catalogue) => {
                let range = catalogue.header_range();
                (
                    "deathtensors",
                    catalogue.file_bytes(),
                    range.end - range.start,
                )
            }
            File::Safetensors {
                data_start,
                file_bytes,
                ..
            } => ("safetensors", *file_bytes, data_start - 8),
            File::Manifest(_) => ("manifest", 0, 0),
        };
        json.text_field("format", format);
        json.number_field("fileBytes", file_bytes);
        json.number_field("headerBytes", header_bytes);
        json.number_field("storedBytes", data.end - data.start);
        json.number_field("dataBytes", header.data_bytes());
        json.number_field("dataStart", data.start);
        json.number_field("tensors", header.len() as u64);
        json.number_field("parameters", header.tied_once().1);
        let flags = match &self.file {
            File::Ours(catalogue) => catalogue.flags(),
            _ => Default::default(),
        };
        json.bool_field("compressed", flags.compressed);
        json.bool_field("checksum", flags.checksum);
        json.bool_field("digests", header.has_digests());
        if let Some(root) = header.root() {
            json.text_field("root", &hex(root));
        }
        if let Some(by) = header.created_by() {
            json.text_field("createdBy", by);
        }
        if let File::Manifest(Manifest {
            written_at: Some(at),
            ..
        }) = &self.file
        {
            json.text_field("writtenAt", at);
        }
        json.bool_field("shardIndex", shards::ShardIndex::is_index(header));
        json.key("metadata");
        json.metadata(&header.global_metadata());
        json.close('}');
        json.finish()
    }

    /// All tensors in the file's order, as JSON.
    pub fn list(&self) -> String {
        let mut json = Json::default();
        json.open('[');
        for tensor in self.header().tensors() {
            write_tensor(&mut json, &tensor);
        }
        json.close(']');
        json.finish()
    }

    /// The place of the tensor of that name.
    pub fn position(&self, name: &str) -> Result<f64, Failure> {
        self.header().get(name)?;
        Ok(self.header().position(name).unwrap_or_default() as f64)
    }

    /// The bytes of some rows of a tensor's first axis, within the tensor.
    pub fn rows(&self, nth: f64, start: f64, count: f64) -> Result<Vec<f64>, Failure> {
        let (start, count) = (
            whole(start, "the first row")?,
            whole(count, "the count of rows")?,
        );
        Ok(pair(&self.tensor(nth)?.rows(start, count)?))
    }

    /// The text of the manifest sidecar.
    pub fn manifest(&self, version: &str, written_at: &str) -> String {
        manifest::emit(self.header(), version, written_at)
    }

    /// The header's bytes in the file.
    #[wasm_bindgen(js_name = headerRange)]
    pub fn header_range(&self) -> Result<Vec<f64>, Failure> {
        match &self.file {
            File::Ours(catalogue) => Ok(pair(&catalogue.header_range())),
            File::Safetensors { data_start, .. } => Ok(pair(&(8..*data_start))),
            File::Manifest(_) => Err(no_file()),
        }
    }

    /// Checks the root digest of the header, and that it is `wanted`.
    #[wasm_bindgen(js_name = checkRoot)]
    pub fn check_root(
        &self,
        header: Option<Vec<u8>>,
        wanted: Option<String>,
    ) -> Result<(), Failure> {
        let wanted = wanted.map(|digits| parse_hex(&digits)).transpose();
        let wanted = wanted.map_err(|e| e.with_code(Code::UsageOption))?;
        match &self.file {
            File::Ours(catalogue) => {
                let bytes = header.as_ref().unwrap_or(&self.header_bytes);
                Ok(catalogue.check_root(bytes, wanted.as_ref())?)
            }
            _ if wanted.is_none() => Ok(()),
            _ => Err(Failure::from(Error::new(
                Code::IntegrityRoot,
                "the file carries no root digest, so it is not the one that was asked for",
            ))),
        }
    }

    /// Checks a tensor's digest against the one in the header; whether there is one.
    #[wasm_bindgen(js_name = checkDigest)]
    pub fn check_digest(&self, nth: f64, found: &str) -> Result<bool, Failure> {
        let tensor = self.tensor(nth)?;
        match tensor.sha256 {
            None => Ok(false),
            Some(digest) if hex(digest) == found => Ok(true),
            Some(digest) => Err(tensor_differs(tensor.name, digest, found).into()),
        }
    }

    /// Checks the digest of the footed bytes against the footer's bytes.
    #[wasm_bindgen(js_name = checkFooter)]
    pub fn check_footer(&self, carried: &[u8], found: &str) -> Result<(), Failure> {
        let Ok(carried) = <&Digest>::try_from(carried) else {
            return Err(
                Failure::new("usage.data_size", "a footer has another length")
                    .but("32 bytes", format!("{} bytes", carried.len())),
            );
        };
        match hex(carried) == found {
            true => Ok(()),
            false => Err(footer_differs(carried, found).into()),
        }
    }

    /// The bytes that the footer's digest covers.
    pub fn footed(&self) -> Result<Vec<f64>, Failure> {
        match &self.file {
            File::Ours(catalogue) => Ok(pair(&catalogue.footed())),
            _ => Err(Failure::new(
                "usage.unavailable",
                "only deathtensors files have footers",
            )),
        }
    }

    /// The footer's bytes, if there is one.
    pub fn footer(&self) -> Option<Vec<f64>> {
        match &self.file {
            File::Ours(catalogue) => catalogue.footer().map(|range| pair(&range)),
            _ => None,
        }
    }

    /// What differs from a schema, as a JSON list of errors.
    pub fn problems(&self, schema: &str) -> Result<String, Failure> {
        let problems = Schema::from_json(schema)?.problems(self.header());
        let mut json = Json::default();
        json.open('[');
        for problem in problems {
            Failure::from(problem).write(&mut json);
        }
        json.close(']');
        Ok(json.finish())
    }

    /// Checks that this is the nth shard of an index.
    #[wasm_bindgen(js_name = checkShard)]
    pub fn check_shard(&self, index: &ShardIndex, nth: f64) -> Result<(), Failure> {
        Ok(index
            .0
            .check_shard(place(nth, "the shard's number")?, self.header())?)
    }
}

impl Model {
    pub(crate) fn of_catalogue(catalogue: Catalogue, limits: Limits, held: &[u8]) -> Result<Self> {
        let range = catalogue.header_range();
        // It was parsed from these bytes, so that they are all there.
        let bytes = held.get(range.start as usize..range.end as usize);
        let header_bytes = match catalogue.header().root() {
            Some(_) => copied(bytes.unwrap_or_default())?,
            None => Vec::new(),
        };
        let table = Table::of(&catalogue);
        Self::checked(Self {
            file: File::Ours(catalogue),
            limits,
            table,
            header_bytes,
        })
    }

    pub(crate) fn of_safetensors(
        file: &Safetensors,
        file_bytes: u64,
        limits: Limits,
    ) -> Result<Self> {
        let header = file.to_header(&limits)?;
        let file = File::Safetensors {
            header,
            data_start: file.data_start,
            file_bytes,
        };
        Self::checked(Self {
            file,
            limits,
            table: Table::Plain,
            header_bytes: Vec::new(),
        })
    }

    pub(crate) fn of_manifest(manifest: Manifest, limits: Limits) -> Result<Self> {
        let file = File::Manifest(manifest);
        Self::checked(Self {
            file,
            limits,
            table: Table::Plain,
            header_bytes: Vec::new(),
        })
    }

    /// Refuses offsets that JavaScript would round.
    fn checked(self) -> Result<Self> {
        match self.header().data_bytes() {
            0..=MOST => Ok(self),
            _ => Err(too_long("the data")),
        }
    }

    pub(crate) fn header(&self) -> &Header {
        match &self.file {
            File::Ours(catalogue) => catalogue.header(),
            File::Safetensors { header, .. } => header,
            File::Manifest(manifest) => &manifest.header,
        }
    }

    /// The bytes of all tensors in the file, as stored.
    pub(crate) fn data_range(&self) -> Result<Range<u64>> {
        match &self.file {
            File::Ours(catalogue) => Ok(catalogue.blob()),
            File::Safetensors {
                data_start,
                file_bytes,
                ..
            } => Ok(*data_start..*file_bytes),
            File::Manifest(_) => Err(no_file()),
        }
    }

    pub(crate) fn tensor(&self, nth: f64) -> Result<TensorInfo<'_>> {
        let nth = place(nth, "the tensor's place")?;
        self.header().at(nth).ok_or_else(|| {
            Failure::new("usage.range", "there is no such tensor").but(
                format!("a number below {}", self.header().len()),
                nth.to_string(),
            )
        })
    }
}

fn no_file() -> Failure {
    Failure::new(
        "usage.unavailable",
        "a manifest describes a file, but is not one",
    )
}

fn write_tensor(json: &mut Json, tensor: &TensorInfo<'_>) {
    json.open('{');
    json.text_field("name", tensor.name);
    json.text_field("dtype", tensor.dtype.as_str());
    json.key("shape");
    json.numbers(tensor.shape);
    json.key("dataOffsets");
    json.numbers(&[tensor.start, tensor.end]);
    json.number_field("nbytes", tensor.nbytes());
    json.number_field("elements", tensor.elements());
    json.key("metadata");
    json.metadata(&tensor.metadata);
    if let Some(digest) = tensor.sha256 {
        json.text_field("sha256", &hex(digest));
    }
    json.close('}');
}
