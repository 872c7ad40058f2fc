//! `cargo xtask man DIR`: a manual page for each binary and each of its commands.

use crate::binaries::binaries;
use anyhow::Context;
use clap::Args;
use std::path::{Path, PathBuf};

/// Writes manual pages.
#[derive(Args)]
pub(crate) struct Manual {
    /// Where to; created if it is not there
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

    /// The name of the page of a command and of each below it.
    fn pages(command: &Command, prefix: &str, found: &mut Vec<String>) {
        let name = format!("{prefix}{}", command.get_name());
        let below = command.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help");
        below.for_each(|command| pages(command, &format!("{name}-"), found));
        found.push(format!("{name}.1"));
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
