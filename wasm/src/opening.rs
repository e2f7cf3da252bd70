//! Opening a file, whichever of the formats it is.

use crate::convert::{MOST, pair, whole};
use crate::failure::{Failure, Result, memory};
use crate::model::Model;
use ::core::ops::Range;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use deathtensors_core::sniff::{Other, sniff};
use deathtensors_core::{self as core, Limits, MAGIC, Step, manifest, safetensors};
use wasm_bindgen::prelude::wasm_bindgen;

/// What is asked for first: most headers are shorter.
const FIRST: u64 = 64 << 10;
/// With so many bytes every format is known.
const TELLING: usize = 24;

/// Opens a file by asking for its bytes.
#[wasm_bindgen]
pub struct Opening {
    file_bytes: u64,
    limits: Limits,
    /// The file's first bytes, without a hole.
    held: Vec<u8>,
    /// How far into the file the header is known to reach.
    end: u64,
    stage: Stage,
}

#[allow(clippy::large_enum_variant, reason = "there is one at a time")]
enum Stage {
    Unknown,
    Ours(core::Opening),
    Safetensors,
    Done(Option<Model>),
}

#[wasm_bindgen]
impl Opening {
    /// Starts on a file of that length.
    #[wasm_bindgen(constructor)]
    pub fn new(file_bytes: f64, limits: Option<String>) -> Result<Opening, Failure> {
        let file_bytes = file_size(file_bytes)?;
        Ok(Self {
            file_bytes,
            limits: read_limits(limits)?,
            held: Vec::new(),
            end: FIRST.min(file_bytes),
            stage: Stage::Unknown,
        })
    }

    /// The bytes wanted next.
    pub fn need(&self) -> Vec<f64> {
        pair(&self.wanted())
    }

    /// Takes bytes of the file from `offset` on; whether that was all.
    pub fn feed(&mut self, offset: f64, bytes: &[u8]) -> Result<bool, Failure> {
        let offset = whole(offset, "the offset")?;
        let known = self.held.len() as u64;
        // Bytes that are held already are skipped, those after a hole ignored.
        let fresh = known
            .checked_sub(offset)
            .and_then(|n| bytes.get(usize::try_from(n).ok()?..));
        let fresh = fresh.unwrap_or_default();
        self.held
            .try_reserve(fresh.len())
            .map_err(|_| crate::failure::no_memory(known))?;
        self.held.extend_from_slice(fresh);
        if matches!(self.stage, Stage::Unknown) {
            let all = self.held.len() as u64 >= self.file_bytes;
            if self.held.len() < TELLING && !all {
                return Ok(false);
            }
            self.stage = match self.held.starts_with(&MAGIC) {
                false if sniff(&self.held) == Some(Other::Safetensors) => Stage::Safetensors,
                _ => Stage::Ours(core::Opening::new(self.file_bytes, self.limits)),
            };
        }
        let model = match &mut self.stage {
            Stage::Ours(opening) => match opening.feed(0, &self.held)? {
                Step::Ready(catalogue) => Model::of_catalogue(catalogue, self.limits, &self.held)?,
                Step::More(range) => {
                    self.end = range.end;
                    return Ok(false);
                }
            },
            Stage::Safetensors => {
                let length = safetensors::header_bytes(&self.held, self.file_bytes, &self.limits)?;
                self.end = 8 + length;
                // Headers have less than 4 GiB.
                let Some(json) = self.held.get(8..self.end as usize) else {
                    return Ok(false);
                };
                let file = safetensors::parse(json, self.file_bytes, &self.limits)?;
                Model::of_safetensors(&file, self.file_bytes, self.limits)?
            }
            Stage::Unknown | Stage::Done(_) => return Ok(true),
        };
        self.held = Vec::new();
        self.stage = Stage::Done(Some(model));
        Ok(true)
    }

    /// The file that was opened, once.
    pub fn finish(&mut self) -> Result<Model, Failure> {
        let unready = || Failure::new("usage.unavailable", "the header has not been read yet");
        match &mut self.stage {
            Stage::Done(model) => model.take().ok_or_else(unready),
            _ => Err(unready()),
        }
    }
}

impl Opening {
    fn wanted(&self) -> Range<u64> {
        match self.stage {
            Stage::Done(_) => 0..0,
            _ => (self.held.len() as u64).min(self.end)..self.end,
        }
    }
}

/// Opens a manifest, the sidecar that shows a file's header.
#[wasm_bindgen(js_name = manifestModel)]
pub fn manifest_model(text: &str, limits: Option<String>) -> Result<Model, Failure> {
    let limits = read_limits(limits)?;
    Model::of_manifest(manifest::parse(text.as_bytes(), &limits)?, limits)
}

pub(crate) fn read_limits(json: Option<String>) -> Result<Limits> {
    Ok(json.map_or(Ok(Limits::DEFAULT), |json| Limits::from_json(&json))?)
}

fn file_size(bytes: f64) -> Result<u64> {
    if bytes > MOST as f64 {
        return Err(too_long("the file"));
    }
    whole(bytes, "the file's length")
}

/// A file with offsets that JavaScript would round.
pub(crate) fn too_long(what: &str) -> Failure {
    Failure::new(
        "limit.file_bytes",
        format!("{what} is too long for JavaScript's numbers"),
    )
    .but("at most 2^53 bytes", "more")
}

/// A copy of bytes that may be too many.
pub(crate) fn copied(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut copy = memory(bytes.len() as u64)?;
    copy.extend_from_slice(bytes);
    Ok(copy)
}
