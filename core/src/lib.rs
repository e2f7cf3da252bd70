//! The deathtensors format without I/O.
//!
//! A tensor file is a *catalogue* (who is where) and *bytes*. This crate owns the
//! catalogue and every decision about bytes: it is given slices and answers what
//! to read next, which ranges hold what, or why a file is refused. It never opens
//! a file, spawns a thread or decompresses by itself, so that memory maps,
//! positioned reads, HTTP ranges and browsers all share one mind.
//!
//! Levels, from the bytes up:
//! - [`Prefix`], [`Header`] and [`FrameTable`] are the parts on disk;
//! - [`Opening`] puts them together into a [`Catalogue`], which can only be valid:
//!   whoever holds one may trust every offset in it;
//! - [`WritePlan`] goes the other way, from names, dtypes and shapes to offsets,
//!   header bytes and frames, before any tensor byte is seen;
//! - [`stats`], [`digest`], [`diff`], [`Schema`], [`manifest`], [`shards`] and
//!   [`safetensors`] say what is in a file, or what it could be turned into;
//! - [`Window`], [`sample`] and [`ranges`] plan what to fetch for a look at it.
//!
//! All integers are `u64` and checked, all offsets are in bytes, all ends are
//! exclusive. Nothing here panics on any input.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod catalogue;
pub mod diff;
pub mod digest;
mod dtype;
mod error;
mod frames;
mod header;
mod json;
mod layout;
mod limits;
pub mod manifest;
mod order;
mod plan;
mod prefix;
pub mod ranges;
pub mod safetensors;
mod schema;
pub mod shards;
pub mod sniff;
pub mod stats;
mod window;
mod zstd_frame;

pub use catalogue::{Catalogue, Opening, Step};
pub use dtype::{Dtype, Unit};
pub use error::{Code, Error, Kind, Printable, Result};
pub use frames::{
    Codec, FRAME_BYTES, Frame, FrameTable, TableOpening, TableStep, check_expansion, plan_frames,
};
pub use header::{Header, Metadata, TensorInfo};
pub use limits::{Limit, Limits};
pub use plan::{BLOB_ALIGNMENT, TensorSpec, WriteOptions, WritePlan};
pub use prefix::{Flags, MAGIC, PREFIX_BYTES, Prefix, VERSION};
pub use schema::{Expectation, Schema};
pub use window::{Every, Window, WindowRequest, sample};
pub use zstd_frame::{check_frame, starts_as_zstd};

/// Written as `created_by` into every new file.
pub const CREATED_BY: &str = concat!("deathtensors ", env!("CARGO_PKG_VERSION"));
/// The extension of new files.
pub const CANONICAL_EXTENSION: &str = ".deathtensors";
/// The extension of 0.1's files, still read.
pub const LEGACY_EXTENSION: &str = ".dt";
