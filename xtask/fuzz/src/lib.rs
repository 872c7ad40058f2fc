//! Fuzz targets: one function a decoder, given any bytes, that panics if a promise breaks.
//!
//! `cargo xtask fuzz TARGET --minutes M` lets libFuzzer choose the bytes, guided by what they reach; the coverage it
//! needs is made by passes that the stable compiler has. Every input must also end within a bound of CPU time and
//! memory ([`guard`]). What fuzzing finds is minimised and kept in `corpus/TARGET/`; together with the sound inputs that
//! each target knows ([`Target::seeds`]) it is replayed by an ordinary test, with no engine and no C++ compiler.

pub mod corpus;
pub mod guard;
mod targets;

pub use targets::{TARGETS, target};

/// A decoder under fire.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// As `cargo xtask fuzz` calls it.
    pub name: &'static str,
    /// What it decodes, and what must hold.
    pub about: &'static str,
    /// Decodes the bytes, and panics if a promise breaks.
    pub run: fn(&[u8]),
    /// Sound inputs: where fuzzing starts.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Bytes that one input may allocate at most, at any moment.
    pub allocates: u64,
}
