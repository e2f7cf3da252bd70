//! A safetensors file, to be converted.

use crate::{disk, limits, same};
use deathtensors::{
    Limits, OpenOptions, TensorFile, WriteOptions, from_safetensors, to_safetensors,
};
use deathtensors_core::Kind;
use deathtensors_core::safetensors::{Safetensors, header_bytes, parse};
use safetensors::SafeTensors;
use serde::Deserializer as _;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use std::collections::HashSet;
use std::fmt::Formatter;
use std::fs;

/// See the table in the crate's documentation.
pub fn check(data: &[u8]) {
    let ours = read(data);
    let theirs = SafeTensors::deserialize(data);
    let (ours, theirs) = match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => (ours, theirs),
        (Ok(_), Err(error)) => panic!("safetensors refuses it: {error}"),
        (Err(error), theirs) => {
            same::printable(&error);
            let text = error.to_string();
            // What that format leaves open has one meaning here, what its specification asks
            // for and its reader does not is asked for, and limits are ours.
            let stricter = error.kind() == Kind::Limit
                || names_a_tensor_twice(data)
                || [
                    "twice",
                    "depth",
                    "does not start with '{'",
                    // A dimension of zero does not hide the others.
                    "shape is too large",
                ]
                .iter()
                .any(|reason| text.contains(reason));
            assert!(
                theirs.is_err() || stricter,
                "safetensors accepts it: {text}"
            );
            return;
        }
    };
    assert_eq!(ours.tensors.len(), theirs.len());
    for tensor in &ours.tensors {
        let (start, end) = (tensor.data.start, tensor.data.end);
        let bytes = &data[(ours.data_start + start) as usize..(ours.data_start + end) as usize];
        same::tensors(&theirs, &tensor.name, tensor.dtype, &tensor.shape, bytes);
    }
    convert(data, &ours, &theirs);
}

/// Safetensors takes the last of them; what is wrong with the first we may say first.
fn names_a_tensor_twice(data: &[u8]) -> bool {
    struct Twice;
    impl<'de> Visitor<'de> for Twice {
        type Value = bool;

        fn expecting(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
            let (mut seen, mut twice) = (HashSet::new(), false);
            while let Some((name, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
                twice |= !seen.insert(name);
            }
            Ok(twice)
        }
    }
    let length = header_bytes(data, data.len() as u64, &limits()).unwrap_or_default();
    let text = data.get(8..8 + length as usize).unwrap_or_default();
    let twice = serde_json::Deserializer::from_slice(text).deserialize_map(Twice);
    twice.unwrap_or_default()
}

fn read(data: &[u8]) -> deathtensors_core::Result<Safetensors> {
    let limits = limits();
    let length = header_bytes(data, data.len() as u64, &limits)?;
    parse(&data[8..8 + length as usize], data.len() as u64, &limits)
}

/// To a file of ours, and back again.
fn convert(data: &[u8], ours: &Safetensors, theirs: &SafeTensors<'_>) {
    let source = disk::write("input.safetensors", data);
    let (middle, back) = (
        disk::path("middle.deathtensors"),
        disk::path("back.safetensors"),
    );
    let _ = (fs::remove_file(&middle), fs::remove_file(&back));
    let mut options = WriteOptions::default();
    options.digests = data.len() % 2 == 1;
    options.compress = data.len().is_multiple_of(3).then_some(1);
    if let Err(error) = from_safetensors(&source, &middle, &options, &Limits::DEFAULT, &mut ()) {
        same::printable(&error);
        assert!(!middle.exists(), "left behind: {error}");
        // Names that no file of ours may hold.
        assert!(
            ours.specs(&Limits::DEFAULT).is_err() || error.kind() == Kind::Limit,
            "{error}"
        );
        return;
    }
    let file = TensorFile::open(&middle).expect("what was converted is opened");
    assert!(file.verify(&mut ()).is_ok_and(|found| found.is_sound()));
    for tensor in &ours.tensors {
        let read = file.read(&tensor.name).expect("what was converted is read");
        let other = theirs.tensor(&tensor.name).expect("every tensor");
        assert!(*read == *other.data());
    }
    to_safetensors(&middle, &back, &OpenOptions::default(), &mut ()).expect("back again");
    let bytes = fs::read(&back).expect("the file");
    let again = SafeTensors::deserialize(&bytes).expect("safetensors reads it");
    assert_eq!(again.len(), theirs.len());
    for (name, tensor) in theirs.tensors() {
        let other = again.tensor(&name).expect("every tensor");
        assert_eq!(
            (other.shape(), other.dtype()),
            (tensor.shape(), tensor.dtype())
        );
        assert!(other.data() == tensor.data());
    }
}
