//! Writes what the fuzzers start from: `seeds VECTORS OUT` makes a folder in OUT for
//! every target.

use deathtensors_fuzz::{TARGETS, seeds};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, vectors, out] = &*arguments else {
        return Err(std::io::Error::other("usage: seeds VECTORS OUT"));
    };
    for (target, _) in TARGETS {
        let folder = Path::new(out).join(target);
        fs::create_dir_all(&folder)?;
        for seed in seeds::of(target, Path::new(vectors)) {
            let name: String = Sha256::digest(&seed)
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect();
            fs::write(folder.join(&name[..40]), seed)?;
        }
    }
    Ok(())
}
