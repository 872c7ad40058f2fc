//! Fuzz targets: one function per decoder, which takes any bytes and panics if a promise breaks.
//!
//! `cargo xtask fuzz TARGET --minutes M` lets libFuzzer choose the bytes, guided by coverage from passes of the
//! stable compiler. Every input must stay within limits of CPU time and memory ([`guard`]). Inputs worth keeping are
//! minimised into `corpus/TARGET/`. An ordinary test replays them and the seeds of each target ([`Target::seeds`]),
//! without an engine and without a C++ compiler.

pub mod corpus;
pub mod guard;
mod targets;

pub use targets::{TARGETS, target};

/// A decoder to fuzz.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name for `cargo xtask fuzz`.
    pub name: &'static str,
    /// The decoded bytes, and the promise.
    pub about: &'static str,
    /// Decodes the bytes, and panics if a promise breaks.
    pub run: fn(&[u8]),
    /// Valid inputs, where fuzzing starts.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// The most bytes allocated at any time for one input.
    pub allocates: u64,
}
