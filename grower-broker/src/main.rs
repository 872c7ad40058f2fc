//! The daemon `grower-broker`: the broker of the library on a data directory, with ports, signals and exit codes.

mod daemon;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    daemon::run()
}
