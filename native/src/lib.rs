//! Safe, fast, compressed and verifiable tensor files.
//!
//! ```
//! use deathtensors::{Dtype, TensorFile, TensorSpec, TensorWriter, WriteOptions};
//! # fn main() -> deathtensors::Result<()> {
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("model.deathtensors");
//! let weight: Vec<u8> = [1.0f32, 2.0, 3.0, 4.0].iter().flat_map(|x| x.to_le_bytes()).collect();
//! let specs = [TensorSpec::new("weight", Dtype::F32, [2, 2])];
//! let mut writer = TensorWriter::create(&path, &specs, &Default::default(), &WriteOptions::default())?;
//! writer.push(&weight)?;
//! writer.finish()?;
//!
//! let file = TensorFile::open(&path)?;
//! assert_eq!(file.header().get("weight")?.shape, [2, 2]);
//! assert_eq!(*file.read("weight")?, *weight);
//! # Ok(()) }
//! ```
//!
//! The format itself, and every decision about it, is in `deathtensors-core`;
//! this crate moves the bytes: memory maps, positioned reads, zstd, threads, and
//! files that are whole at every moment.
#![deny(unsafe_code)]

mod append;
mod atomic;
mod blob;
mod codec;
mod compare;
mod convert;
mod copy;
mod error;
mod file;
mod gather;
mod identity;
#[allow(unsafe_code)]
mod map;
mod options;
mod overheard;
mod remote;
mod sharded;
mod source;
mod stats;
mod threads;
mod verify;
mod writer;

pub use append::AppendOptions;
pub use codec::Zstd;
pub use compare::{Differences, diff};
pub use convert::{
    from_safetensors, from_safetensors_ranges, read_manifest, to_safetensors, write_manifest,
};
pub use copy::{Part, copy_tensors, copy_tensors_sharded};
pub use deathtensors_core as core;
pub use deathtensors_core::{
    Catalogue, Code, Dtype, FrameTable, Header, Kind, Limits, Metadata, Schema, TensorInfo,
    TensorSpec, WriteOptions, digest, stats::Stats,
};
pub use error::{Error, Result};
pub use file::TensorFile;
pub use map::{ForeignMemory, Memory, PrivateMapping};
pub use options::{Backend, OpenOptions, Progress};
pub use remote::{Piece, RangeSource};
pub use sharded::{ShardedFile, ShardedWriter};
pub use source::Data;
pub use threads::{num_threads, set_num_threads};
pub use verify::Verification;
pub use writer::{Sealed, TensorWriter};
