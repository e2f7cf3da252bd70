//! A safetensors header as one of ours, so that whoever shows a file need not ask which.

use super::Safetensors;
use crate::error::Result;
use crate::header::{Builder, Header, NewTensor};
use crate::limits::Limits;

impl Safetensors {
    /// The same tensors and metadata as a [`Header`]; offsets count from
    /// [`Safetensors::data_start`]. What a file of ours could not hold, such as a
    /// tensor without a name, is no fault here.
    ///
    /// # Errors
    /// The `limit.*` codes.
    pub fn to_header(&self, limits: &Limits) -> Result<Header> {
        let mut builder = Builder::new(limits);
        let pairs = self.metadata.iter();
        builder.global(pairs.map(|(key, value)| (key.as_str(), value.as_str())))?;
        for tensor in &self.tensors {
            builder.push_any(NewTensor {
                name: &tensor.name,
                dtype: tensor.dtype,
                shape: &tensor.shape,
                data: tensor.data.clone(),
                metadata: core::iter::empty(),
                sha256: None,
            })?;
        }
        builder.finish(0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    #[test]
    fn keeps_order_and_what_ours_refuses() {
        let json = br#"{"__metadata__": {"k": "v"},
            "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]},
            "": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}"#;
        let limits = Limits::DEFAULT;
        let file = parse(json, 8 + json.len() as u64 + 12, &limits).unwrap();
        let header = file.to_header(&limits).unwrap();
        let names: alloc::vec::Vec<_> = header.tensors().map(|t| (t.name, t.start)).collect();
        assert_eq!(names, [("b", 4), ("", 0)]);
        assert_eq!(header.global_metadata().get("k"), Some("v"));
        assert_eq!((header.data_bytes(), header.position("")), (12, Some(1)));
    }
}
