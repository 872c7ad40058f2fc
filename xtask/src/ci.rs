//! `cargo xtask ci`: runs the script of the continuous integration.

use crate::workspace::{must_succeed, root};
use std::process::Command;

/// Runs `.ci/run`.
pub(crate) fn run() -> anyhow::Result<()> {
    must_succeed(Command::new(root().join(".ci/run")).current_dir(root()))
}
