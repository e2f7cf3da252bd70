//! What files hold after they were written, read, damaged, joined and cancelled,
//! against slow and obvious oracles and an independent seekable zstd.

mod append;
mod atomic;
mod convert;
mod copy;
mod damage;
mod legacy;
mod limits;
mod pinned;
mod progress;
mod random_access;
mod reading;
mod remote;
mod round_trip;
mod seekable;
mod sharded;
mod support;
mod threads;
mod together;
mod vectors;
mod verify;
