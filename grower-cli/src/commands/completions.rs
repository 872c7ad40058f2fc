//! `completions SHELL`.

use crate::output::StdoutWriter;
use clap::{Args, Command};
use clap_complete::Shell;
use std::io::Write;

/// Print a script that completes grower-cli's commands in a shell
#[derive(Debug, Args)]
#[command(after_help = "Example:
  grower-cli completions bash > /etc/bash_completion.d/grower-cli")]
pub struct CompletionsCommand {
    /// Which shell
    shell: Shell,
}

impl CompletionsCommand {
    pub(crate) fn run(&self, parser: Command) -> anyhow::Result<()> {
        let mut out = StdoutWriter::open();
        out.write_all(&script(self.shell, parser))?;
        Ok(out.flush()?)
    }
}

/// The script that completes grower-cli's commands in a shell.
fn script(shell: Shell, mut parser: Command) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut parser, NAME, &mut script);
    match shell {
        // The generator spells the hyphen of a program's name in two ways: only the first word would be completed.
        Shell::Bash => String::from_utf8_lossy(&script).replace("grower__subcmd__cli", "grower__cli").into_bytes(),
        _ => script,
    }
}

const NAME: &str = "grower-cli";
