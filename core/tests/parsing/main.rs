//! What the core reads, plans and refuses, against slow and obvious oracles.

mod diff;
mod error;
mod frames;
mod header;
mod json;
mod manifest;
mod opening;
mod plan;
mod safetensors;
mod schema;
mod shards;
mod sniff;
mod support;
