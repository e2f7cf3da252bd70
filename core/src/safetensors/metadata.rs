//! The metadata of tensors, carried through a format that has none for them.

use crate::error::{Code, Error, Result};
use crate::header::Header;
use crate::json::{Keys, Reader, push_string, push_strings};
use crate::order;
use crate::plan::TensorSpec;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

/// `{name: {key: value}}` of all tensors that have metadata; none when none has.
pub(super) fn set_aside(header: &Header) -> Option<String> {
    let mut out = String::new();
    for tensor in header.tensors().filter(|t| !t.metadata.is_empty()) {
        out.push(if out.is_empty() { '{' } else { ',' });
        push_string(&mut out, tensor.name);
        out.push(':');
        push_strings(&mut out, tensor.metadata.iter());
    }
    if out.is_empty() {
        return None;
    }
    out.push('}');
    Some(out)
}

/// Gives the metadata back to its tensors. Text that was not set aside by us, or
/// speaks of other tensors, changes nothing; then the answer is false.
pub(super) fn restore(text: &str, specs: &mut [TensorSpec]) -> bool {
    let Ok(found) = read(text, specs) else {
        return false;
    };
    for (nth, pairs) in found {
        if let Some(spec) = specs.get_mut(nth) {
            spec.metadata = pairs;
        }
    }
    true
}

type Pairs = BTreeMap<String, String>;

fn read(text: &str, specs: &[TensorSpec]) -> Result<Vec<(usize, Pairs)>> {
    const DEEPEST: u64 = 2;
    let places = specs
        .iter()
        .enumerate()
        .map(|(nth, spec)| (spec.name.as_str(), nth));
    let mut places: Vec<(&str, usize)> = places.collect();
    order::sort(&mut places);
    let foreign = || {
        Error::new(
            Code::SafetensorsInvalid,
            "not the metadata of this file's tensors",
        )
    };
    let mut found = Vec::new();
    let mut names = Keys::default();
    let mut reader = Reader::new(text, DEEPEST);
    let mut inside = reader.object()?;
    while let Some(name) = reader.key(&mut inside)? {
        let place = places.binary_search_by(|(known, _)| (*known).cmp(&name));
        let &(_, nth) = place
            .ok()
            .and_then(|place| places.get(place))
            .ok_or_else(foreign)?;
        let mut pairs = Pairs::new();
        reader.strings(&name, |key, value| {
            pairs.insert(key.into(), value.into());
            Ok(())
        })?;
        found.push((nth, pairs));
        names.push(name);
    }
    names.check()?;
    match reader.next_byte() {
        None => Ok(found),
        Some(_) => Err(foreign()),
    }
}
