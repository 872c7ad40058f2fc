//! The `grower-cli` binary.
fn main() {}
