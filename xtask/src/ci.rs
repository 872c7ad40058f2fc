//! `cargo xtask ci`: what the continuous integration runs, by the same script, so that the two cannot drift apart.

use crate::workspace::{must_succeed, root};
use std::process::Command;

/// Runs `.ci/run`.
pub(crate) fn run() -> anyhow::Result<()> {
    must_succeed(Command::new(root().join(".ci/run")).current_dir(root()))
}
