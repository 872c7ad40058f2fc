//! `completions SHELL`.

use crate::arguments::Arguments;
use crate::output::Out;
use clap::{Args, CommandFactory};
use std::io::Write;

/// Print a script that completes grower-cli's commands in a shell
#[derive(Debug, Args)]
#[command(after_help = "Example:
  grower-cli completions bash > /etc/bash_completion.d/grower-cli")]
pub struct Completions {
    /// Which shell
    shell: clap_complete::Shell,
}

impl Completions {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Arguments::command(), "grower-cli", &mut script);
        let mut out = Out::stdout();
        out.write_all(&script)?;
        Ok(out.flush()?)
    }
}
