//! What must hold for any input whatever.
//!
//! Each target is a function that is given bytes, does with them what readers do, and
//! panics when a property is broken. libFuzzer looks for such bytes (`make fuzz`); what
//! it found once is kept in `crashers/` and tried by every `cargo test`.
//!
//! In all of them nothing panics, and no more memory is asked for at once than
//! [`limits`] allow (libFuzzer's `-malloc_limit_mb`). Besides:
//!
//! | target | input | what must hold |
//! |---|---|---|
//! | `header` | a header's text | parsed, emitted and parsed again it is the same; serde_json reads the same from it |
//! | `file` | a file | opened in one piece, in small ones, mapped, by positioned reads and by ranges it is the same, or refused with the same code; rows are parts of their tensors; what it is converted to is read by safetensors |
//! | `frames` | lengths of tensors, then a blob | any way of reading finds the same seek table; what it finds is what the frames hold |
//! | `zstd` | a length, then a frame | what our decoder in wasm accepts, the reference library and ruzstd read the same |
//! | `safetensors` | a safetensors file | accepted when safetensors' own parser accepts it, and the same; converted there and back it is the same |
//! | `shards` | an index of either kind | parsed, emitted and parsed again it is the same |
//! | `manifest` | a manifest | parsed, emitted and parsed again it is the same |

mod disk;
pub mod file;
pub mod frames;
pub mod header;
pub mod manifest;
pub mod mutate;
pub mod safetensors;
mod same;
pub mod seeds;
pub mod shards;
pub mod zstd;

use deathtensors_core::Limits;

/// What a target does with its input.
pub type Check = fn(&[u8]);

/// Every target by name.
pub const TARGETS: [(&str, Check); 7] = [
    ("header", header::check),
    ("file", file::check),
    ("frames", frames::check),
    ("zstd", zstd::check),
    ("safetensors", safetensors::check),
    ("shards", shards::check),
    ("manifest", manifest::check),
];

/// Low limits, so that what comes near them is tried, and slow giants are not.
pub fn limits() -> Limits {
    let mut limits = Limits::DEFAULT;
    limits.header_bytes = 64 << 10;
    limits.tensors = 256;
    limits.name_bytes = 300;
    limits.metadata_bytes = 2000;
    limits.rank = 10;
    limits.inflated_bytes = LONGEST;
    limits
}

/// The longest tensor that is read, and the longest frame, in bytes.
pub const LONGEST: u64 = 1 << 20;
