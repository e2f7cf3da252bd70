//! The safetensors format, as version 0.8 of its library reads and writes it:
//! eight bytes of length, a JSON header, then the tensors without holes.

mod emit;
mod header;
mod metadata;

use crate::dtype::{Dtype, Shape};
use crate::error::{Code, Error, Kind, Result};
use crate::header::check_name;
use crate::json::{Keys, Reader};
use crate::limits::Limits;
use crate::order;
use crate::plan::TensorSpec;
use crate::prefix::{MAGIC, u64_at};
use crate::sniff::{Other, sniff};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

pub use emit::emit;

/// That format's own cap on its header, in bytes.
const LONGEST_HEADER: u64 = 100_000_000;
const LENGTH_BYTES: u64 = 8;
/// The header's key for the metadata of the file, which no tensor may have.
const METADATA: &str = "__metadata__";
/// Where a converted file says what it was.
const CONVERTED_FROM: &str = "deathtensors.converted_from";
const SAFETENSORS: &str = "safetensors";
/// The metadata of tensors, which that format has no place for, as JSON.
const TENSOR_METADATA: &str = "deathtensors.tensor_metadata";

/// One tensor of a safetensors file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// The type of its elements.
    pub dtype: Dtype,
    /// Its dimensions, outermost first.
    pub shape: Vec<u64>,
    /// Its bytes, end exclusive, from [`Safetensors::data_start`] on.
    pub data: Range<u64>,
}

/// A safetensors header that fits its file: the tensors cover all of the data,
/// without holes or overlaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Safetensors {
    /// The tensors, in the header's order, which need not be that of their bytes.
    pub tensors: Vec<Tensor>,
    /// The pairs of `__metadata__`, in the header's order.
    pub metadata: Vec<(String, String)>,
    /// Where the data starts in the file, in bytes.
    pub data_start: u64,
}

/// Length in bytes of the JSON header, which follows the first eight bytes of the
/// file. `head` may be longer than those; then a file that is plainly something
/// else is better named.
///
/// # Errors
/// `safetensors.invalid` when it is not such a file, or is too short;
/// `limit.header_bytes`.
pub fn header_bytes(head: &[u8], file_bytes: u64, limits: &Limits) -> Result<u64> {
    let Some(length) = u64_at(head, 0) else {
        return Err(foreign(head)
            .expected(format!("at least {LENGTH_BYTES} bytes"))
            .found(format!("{} bytes", head.len())));
    };
    if length > LONGEST_HEADER {
        return Err(foreign(head)
            .expected(format!("a header of at most {LONGEST_HEADER} bytes"))
            .found(format!("{length} bytes")));
    }
    let room = file_bytes.saturating_sub(LENGTH_BYTES);
    if length > room {
        return Err(invalid("the header reaches past the end of the file")
            .expected(format!("a header of at most {room} bytes"))
            .found(format!("{length} bytes")));
    }
    limits.check_header(length)?;
    Ok(length)
}

fn foreign(head: &[u8]) -> Error {
    if head.starts_with(&MAGIC) {
        return invalid("not a safetensors file: this is a deathtensors file already");
    }
    match sniff(head) {
        None | Some(Other::Safetensors) => invalid("not a safetensors file"),
        Some(other) => invalid(&format!("not a safetensors file: {}", other.advice())),
    }
}

/// Parses the JSON header of a file of that length.
///
/// The rules are those of the safetensors library, and one more: no key may stand
/// twice.
///
/// # Errors
/// `safetensors.invalid`, with the tensor's name where there is one, and the
/// `limit.*` codes.
pub fn parse(json: &[u8], file_bytes: u64, limits: &Limits) -> Result<Safetensors> {
    let length = (json.len() as u64).to_le_bytes();
    header_bytes(&length, file_bytes, limits)?;
    let file = read(json, limits).map_err(|e| match e.kind() {
        Kind::Limit => e,
        _ => e.with_code(Code::SafetensorsInvalid),
    })?;
    check_names(&file.tensors)?;
    check_coverage(&file.tensors, file_bytes.saturating_sub(file.data_start))?;
    Ok(file)
}

fn invalid(message: &str) -> Error {
    Error::new(Code::SafetensorsInvalid, message)
}

fn read(json: &[u8], limits: &Limits) -> Result<Safetensors> {
    let text = core::str::from_utf8(json).map_err(|e| {
        invalid("the header is not UTF-8").found(format!("an invalid byte at {}", e.valid_up_to()))
    })?;
    if !text.starts_with('{') {
        return Err(invalid("the header does not start with '{'"));
    }
    let mut reader = Reader::new(text, limits.depth);
    let mut tensors = Vec::new();
    let mut metadata = None;
    let mut inside = reader.object()?;
    while let Some(name) = reader.key(&mut inside)? {
        if name == METADATA {
            let pairs = read_metadata(&mut reader)?;
            if metadata.replace(pairs).is_some() {
                return Err(invalid("'__metadata__' stands twice"));
            }
            continue;
        }
        if tensors.len() as u64 >= limits.tensors {
            return Err(limits.too_many(Code::LimitTensors));
        }
        tensors.push(read_tensor(&mut reader, &name, limits).map_err(|e| e.tensor(&name))?);
    }
    if reader.next_byte().is_some() {
        return Err(reader.unexpected("only white space after the JSON object"));
    }
    let data_start = LENGTH_BYTES + json.len() as u64;
    Ok(Safetensors {
        tensors,
        metadata: metadata.unwrap_or_default(),
        data_start,
    })
}

fn read_metadata(reader: &mut Reader<'_>) -> Result<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    if reader.next_byte() == Some(b'n') {
        reader.skip()?; // null is no metadata
        return Ok(pairs);
    }
    reader.strings(METADATA, |key, value| {
        pairs.push((key.into(), value.into()));
        Ok(())
    })?;
    Ok(pairs)
}

fn read_tensor(reader: &mut Reader<'_>, name: &str, limits: &Limits) -> Result<Tensor> {
    // What is wrong with the offsets is said better than by their number.
    const UNBOUND: Limits = Limits {
        rank: u64::MAX,
        ..Limits::DEFAULT
    };
    let (mut dtype, mut shape, mut offsets) = (None, None, None);
    let mut keys = Keys::default();
    let mut inside = reader.object_field(name)?;
    while let Some(key) = reader.key(&mut inside)? {
        match &*key {
            "dtype" => dtype = Some(read_dtype(reader)?),
            "shape" => shape = Some(read_numbers(reader, &key, limits)?),
            "data_offsets" => offsets = Some(read_numbers(reader, &key, &UNBOUND)?),
            _ => reader.skip()?,
        }
        keys.push(key);
    }
    keys.check()?;
    let missing =
        |field: &str| invalid("a required field is absent").expected(format!("'{field}'"));
    let dtype = dtype.ok_or_else(|| missing("dtype"))?;
    let shape = shape.ok_or_else(|| missing("shape"))?;
    let offsets = offsets.ok_or_else(|| missing("data_offsets"))?;
    let &[start, end] = offsets.as_slice() else {
        return Err(invalid("'data_offsets' is not a start and an end")
            .expected("two integers")
            .found(offsets.len()));
    };
    let nbytes = dtype.nbytes(&shape)?;
    if end.checked_sub(start) != Some(nbytes) {
        return Err(
            invalid("the tensor's span is not its shape times its element size")
                .expected(format!("{nbytes} bytes for {dtype} {}", Shape(&shape)))
                .found(format!("{start} to {end}")),
        );
    }
    Ok(Tensor {
        name: name.into(),
        dtype,
        shape,
        data: start..end,
    })
}

fn read_dtype(reader: &mut Reader<'_>) -> Result<Dtype> {
    let name = reader.string_field("dtype")?;
    let dtype = Dtype::from_name(&name).filter(|&dtype| has_dtype(dtype));
    dtype.ok_or_else(|| {
        invalid("unknown dtype")
            .expected("one of safetensors' dtypes")
            .found(format!("'{name}'"))
    })
}

/// Every dtype is one of safetensors', but for the one that it lacks.
fn has_dtype(dtype: Dtype) -> bool {
    dtype != Dtype::C128
}

fn read_numbers(reader: &mut Reader<'_>, field: &str, limits: &Limits) -> Result<Vec<u64>> {
    let mut numbers = Vec::new();
    reader.u64s(field, |number| {
        if numbers.len() as u64 >= limits.rank {
            return Err(limits.too_many(Code::LimitRank));
        }
        numbers.push(number);
        Ok(())
    })?;
    Ok(numbers)
}

fn check_names(tensors: &[Tensor]) -> Result<()> {
    let mut names: Vec<&str> = tensors.iter().map(|t| t.name.as_str()).collect();
    order::sort(&mut names);
    let twice = names.iter().zip(names.iter().skip(1)).find(|(a, b)| a == b);
    match twice {
        Some((name, _)) => Err(invalid("its name stands twice").tensor(name)),
        None => Ok(()),
    }
}

/// Refuses holes, overlaps and data that no tensor owns.
fn check_coverage(tensors: &[Tensor], data_bytes: u64) -> Result<()> {
    let mut sorted: Vec<(usize, &Tensor)> = tensors.iter().enumerate().collect();
    let key = |&(nth, tensor): &(usize, &Tensor)| (tensor.data.start, tensor.data.end, nth);
    order::sort_by(&mut sorted, |a, b| key(a).cmp(&key(b)));
    let mut end = 0;
    for (_, tensor) in sorted {
        if tensor.data.start != end {
            let hole = tensor.data.start > end;
            let message = if hole {
                "there is a hole before the tensor"
            } else {
                "the tensor overlaps another"
            };
            return Err(invalid(message)
                .tensor(&tensor.name)
                .expected(format!("a start at {end}"))
                .found(tensor.data.start));
        }
        end = tensor.data.end;
    }
    if end != data_bytes {
        return Err(invalid("the tensors do not end where the file does")
            .expected(format!("{data_bytes} bytes of data"))
            .found(format!("{end} bytes")));
    }
    Ok(())
}

impl Safetensors {
    /// What [`crate::WritePlan::new`] takes to write the same tensors in the same
    /// order: specs, and the metadata of the file.
    ///
    /// The file's metadata also says that it was converted; metadata of tensors
    /// that [`emit`] put aside returns to them.
    ///
    /// # Errors
    /// The codes of names that no file of ours may hold, or none within `limits`.
    pub fn specs(&self, limits: &Limits) -> Result<(Vec<TensorSpec>, BTreeMap<String, String>)> {
        self.tensors
            .iter()
            .try_for_each(|t| check_name(&t.name, limits))?;
        let mut global: BTreeMap<String, String> = self.metadata.iter().cloned().collect();
        let tensors = self.tensors.iter();
        let mut specs: Vec<_> = tensors
            .map(|t| TensorSpec::new(t.name.clone(), t.dtype, t.shape.clone()))
            .collect();
        let aside = global.get(TENSOR_METADATA);
        if aside.is_some_and(|text| metadata::restore(text, &mut specs)) {
            global.remove(TENSOR_METADATA);
        }
        global
            .entry(CONVERTED_FROM.into())
            .or_insert_with(|| SAFETENSORS.into());
        Ok((specs, global))
    }
}
