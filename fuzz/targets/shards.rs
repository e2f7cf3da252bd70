//! See the table in the library's documentation.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| deathtensors_fuzz::shards::check(data));
