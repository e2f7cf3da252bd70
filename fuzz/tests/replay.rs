//! Every seed, and every input that ever broke a property.

use deathtensors_fuzz::{TARGETS, seeds};
use std::path::Path;

fn here(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

#[test]
fn every_vector_keeps_every_property() {
    for (target, check) in TARGETS {
        let seeds = seeds::of(target, &here("../tests/vectors"));
        assert!(seeds.len() >= 5, "{target}: {} seeds", seeds.len());
        for seed in seeds {
            check(&seed);
            // Cut in the middle, and with a byte changed there.
            let half = seed.len() / 2;
            check(&seed[..half]);
            let mut other = seed.clone();
            if let Some(byte) = other.get_mut(half) {
                *byte ^= 0x20;
            }
            check(&other);
        }
    }
}

#[test]
fn what_was_found_once_stays_mended() {
    for (target, check) in TARGETS {
        let Ok(folder) = std::fs::read_dir(here("crashers").join(target)) else {
            continue;
        };
        for entry in folder {
            let path = entry.expect("an entry").path();
            eprintln!("{}", path.display());
            let input = std::fs::read(path).expect("an input");
            // Threads do not take turns in the same order every time.
            for _ in 0..50 {
                check(&input);
            }
        }
    }
}
