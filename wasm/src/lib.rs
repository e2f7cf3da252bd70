//! The deathtensors core for JavaScript.
//!
//! Numbers, strings and byte arrays at the edges, no I/O, no decisions of its own but
//! one: how frames are decompressed where the reference library cannot go. What each
//! class and function is for stands in docs/web.md, "wasm's face".
//!
//! Nothing here panics on any input: what is refused is thrown as a plain object.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

#[cfg(not(target_arch = "wasm32"))]
extern crate std;

mod codec;
mod convert;
mod failure;
mod frames;
mod globals;
mod json;
mod model;
mod opening;
mod reduce;
#[cfg(target_arch = "wasm32")]
mod runtime;
mod shards;
mod values;
mod window;
mod zstd;

pub use codec::{Decoder, decode_blob};
