//! Schemas as JSON text (spec, "Schema").

use super::{Expectation, Schema};
use crate::dtype::Dtype;
use crate::error::{Code, Error, Result};
use crate::header::{missing, once};
use crate::json::{Keys, Reader};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

impl Schema {
    /// Reads a schema from its JSON form. Unlike a file's header it may hold no other
    /// fields: one that is misspelled would check nothing.
    ///
    /// ```
    /// # use deathtensors_core::Schema;
    /// let text = r#"{"tensors": {"embedding": {"dtype": "F32", "shape": [null, 768]}}}"#;
    /// assert!(Schema::from_json(text).is_ok());
    /// ```
    ///
    /// # Errors
    /// `usage.option`, naming the tensor whose expectation is at fault.
    pub fn from_json(text: &str) -> Result<Self> {
        read(text).map_err(|e| e.with_code(Code::UsageOption).context("not a schema"))
    }
}

fn read(text: &str) -> Result<Schema> {
    const DEEPEST: u64 = 4;
    let mut reader = Reader::new(text, DEEPEST);
    let (mut tensors, mut allow_extra) = (None, None);
    let mut inside = reader.object()?;
    while let Some(key) = reader.key(&mut inside)? {
        match &*key {
            "tensors" => once(&mut tensors, read_tensors(&mut reader)?, &key)?,
            "allow_extra" => once(&mut allow_extra, reader.boolean(&key)?, &key)?,
            _ => return Err(unknown(&key, "'tensors' and 'allow_extra'")),
        }
    }
    reader.end()?;
    let mut schema = tensors.ok_or_else(|| missing("tensors"))?;
    schema.allow_extra(allow_extra.unwrap_or(false));
    Ok(schema)
}

fn read_tensors(reader: &mut Reader<'_>) -> Result<Schema> {
    let mut schema = Schema::default();
    let mut names = Keys::default();
    let mut inside = reader.object_field("tensors")?;
    while let Some(name) = reader.key(&mut inside)? {
        let expectation = read_expectation(reader).map_err(|e| e.tensor(&name))?;
        schema.expect(&name, expectation);
        names.push(name);
    }
    names.check()?;
    Ok(schema)
}

fn read_expectation(reader: &mut Reader<'_>) -> Result<Expectation> {
    let (mut dtype, mut shape, mut keys) = (None, None, None);
    let mut inside = reader.object_field("tensors")?;
    while let Some(key) = reader.key(&mut inside)? {
        match &*key {
            "dtype" => {
                let found = Dtype::parse(&reader.string_field(&key)?)?;
                once(&mut dtype, found, &key)?;
            }
            "shape" => once(&mut shape, read_shape(reader)?, &key)?,
            "metadata_keys" => once(&mut keys, read_keys(reader)?, &key)?,
            _ => return Err(unknown(&key, "'dtype', 'shape' and 'metadata_keys'")),
        }
    }
    Ok(Expectation {
        dtype,
        shape,
        metadata_keys: keys.unwrap_or_default(),
    })
}

fn read_shape(reader: &mut Reader<'_>) -> Result<Vec<Option<u64>>> {
    let mut shape = Vec::new();
    let mut inside = reader.array_field("shape")?;
    while reader.item(&mut inside)? {
        shape.push(match reader.null() {
            true => None,
            false => Some(reader.u64("shape")?),
        });
    }
    Ok(shape)
}

fn read_keys(reader: &mut Reader<'_>) -> Result<Vec<String>> {
    let mut keys = Vec::new();
    let mut inside = reader.array_field("metadata_keys")?;
    while reader.item(&mut inside)? {
        keys.push(reader.string_field("metadata_keys")?.into());
    }
    Ok(keys)
}

fn unknown(field: &str, known: &str) -> Error {
    Error::new(Code::UsageOption, "there is no such field")
        .expected(format!("{known} only"))
        .found(format!("'{field}'"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::Header;
    use crate::limits::Limits;

    #[test]
    fn checks_what_it_says() {
        let header = br#"{"format": "deathtensors", "format_version": 1, "tensors":
            {"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}}"#;
        let header = Header::parse(header, &Limits::DEFAULT).unwrap();
        let problems = |text: &str| Schema::from_json(text).unwrap().problems(&header).len();
        assert_eq!(
            problems(r#"{"tensors": {"a": {"dtype": "F32", "shape": [null, 3]}}}"#),
            0
        );
        assert_eq!(problems(r#"{"tensors": {}, "allow_extra": true}"#), 0);
        assert_eq!(problems(r#"{"allow_extra": false, "tensors": {}}"#), 1);
        assert_eq!(
            problems(r#"{"tensors": {"a": {"shape": [2], "dtype": "I8"}}}"#),
            2
        );
        assert_eq!(
            problems(r#"{"tensors": {"a": {"metadata_keys": ["k"]}}}"#),
            1
        );
    }

    #[test]
    fn refused() {
        for text in [
            "",
            "{}",
            "[]",
            r#"{"tensors": []}"#,
            r#"{"tensors": {}} x"#,
            r#"{"tensors": {}, "extra": true}"#,
            r#"{"tensors": {}, "allow_extra": 1}"#,
            r#"{"tensors": {"a": {"dtype": "float32"}}}"#,
            r#"{"tensors": {"a": {"shapes": [1]}}}"#,
            r#"{"tensors": {"a": {"shape": [-1]}}}"#,
            r#"{"tensors": {"a": {}, "a": {}}}"#,
            r#"{"tensors": {"a": {"metadata_keys": [null]}}}"#,
        ] {
            assert_eq!(
                Schema::from_json(text).unwrap_err().code(),
                Code::UsageOption,
                "{text}"
            );
        }
        let error = Schema::from_json(r#"{"tensors": {"a": {"dtype": 1}}}"#).unwrap_err();
        assert_eq!(error.tensor_name(), Some("a"));
    }
}
