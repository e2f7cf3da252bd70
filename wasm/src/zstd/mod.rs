//! Zstandard decoding (RFC 8878) without unsafe code, for data that is all in memory.
//!
//! Everything is decoded into one slice whose length is known, so that nothing is
//! reserved on the word of a frame: no window, no growing buffers. Made for weights,
//! which are mostly Huffman-coded literals.

mod bits;
mod frame;
mod fse;
mod huffman;
mod sequences;
mod xxh64;

pub(crate) use frame::{Fault, Frames};
