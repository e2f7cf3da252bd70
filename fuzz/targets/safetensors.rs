//! See the table in the library's documentation.
#![no_main]

use deathtensors_fuzz::{mutate, safetensors};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_target!(|data: &[u8]| safetensors::check(data));
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate::safetensors(data, size, max_size, seed, fuzzer_mutate)
});
