//! The `grower-cli` binary: [`grower_cli::main`] with the allocator that the broker uses too.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    grower_cli::main()
}
