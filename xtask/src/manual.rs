//! `cargo xtask man DIR`: a manual page for each binary and each of its commands.

use crate::binaries::binaries;
use anyhow::Context;
use clap::Args;
use std::path::{Path, PathBuf};

/// Writes manual pages.
#[derive(Args)]
pub(crate) struct Manual {
    /// The folder to write to; created if missing
    dir: PathBuf,
}

impl Manual {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        write(&self.dir)?;
        println!("man: see {}", self.dir.display());
        Ok(())
    }
}

fn write(dir: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    for command in binaries() {
        let name = command.get_name().to_owned();
        clap_mangen::generate_to(command, dir).with_context(|| format!("cannot write the pages of {name}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Command;

    /// Collects the names of the pages of a command and its subcommands.
    fn pages(command: &Command, prefix: &str, found: &mut Vec<String>) {
        let name = format!("{prefix}{}", command.get_name());
        let below = command.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help");
        below.for_each(|command| pages(command, &format!("{name}-"), found));
        found.push(format!("{name}.1"));
    }

    /// Follows the words of a line to the last subcommand, and checks the flags after it.
    fn check_line(binary: &Command, line: &str) {
        let mut words = line.split([' ', '`']).skip(1).take_while(|word| !["|", "#", ""].contains(word)).peekable();
        let (mut command, mut flags) = (binary, global_flags(binary));
        while let Some(below) = words.peek().and_then(|word| command.find_subcommand(word)) {
            (command, _) = (below, words.next());
            flags.extend(global_flags(below));
        }
        let complete = !command.has_subcommands() || command.get_positionals().next().is_some();
        assert!(complete, "{line:?} names no command of {}", command.get_name());
        for flag in words.filter_map(|word| word.strip_prefix("--")) {
            assert!(flags.iter().any(|known| known == flag), "{line:?}: {} has no --{flag}", command.get_name());
        }
    }

    fn global_flags(command: &Command) -> Vec<String> {
        command.get_arguments().filter_map(|argument| argument.get_long()).map(str::to_owned).collect()
    }

    #[test]
    fn the_commands_that_the_operations_page_names_exist() {
        let page = include_str!("../../grower-broker/docs/operations.md");
        let [_, cli] = binaries();
        let mut checked = 0;
        for (at, _) in page.match_indices("grower-cli ") {
            let line = page[at..].lines().next().unwrap_or_default();
            let line = line.split('`').next().unwrap_or_default();
            check_line(&cli, line);
            checked += 1;
        }
        assert!(10 < checked);
    }

    #[test]
    fn every_command_has_a_page_that_names_its_options() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path()).unwrap();
        let mut expected = Vec::new();
        binaries().iter().for_each(|command| pages(command, "", &mut expected));
        for page in &expected {
            let text = std::fs::read_to_string(dir.path().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"));
            assert!(text.contains(".SH NAME") && text.contains(".SH SYNOPSIS"), "{page}");
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), expected.len());
        let broker = std::fs::read_to_string(dir.path().join("grower-broker.1")).unwrap();
        assert!(broker.contains(r"\-\-data\-dir"), "{broker}");
    }
}
