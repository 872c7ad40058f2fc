//! `cargo xtask completions DIR`: completion scripts of both binaries for every shell.

use crate::binaries::binaries;
use anyhow::Context;
use clap::{Args, ValueEnum};
use clap_complete::{Shell, generate_to};
use std::path::{Path, PathBuf};

/// Writes completion scripts.
#[derive(Args)]
pub(crate) struct Completions {
    /// The folder to write to; created if missing
    dir: PathBuf,
}

impl Completions {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        write(&self.dir)?;
        println!("completions: see {}", self.dir.display());
        Ok(())
    }
}

fn write(dir: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    for mut command in binaries() {
        let name = command.get_name().to_owned();
        for shell in Shell::value_variants() {
            let written = generate_to(*shell, &mut command, &name, dir).and_then(|path| mend(*shell, &name, &path));
            written.with_context(|| format!("cannot write {name} for {shell}"))?;
        }
    }
    Ok(())
}

/// Repairs the script for bash: its generator spells the hyphen of a program's name in two ways, so that only the
/// first word would be completed.
fn mend(shell: Shell, name: &str, path: &Path) -> std::io::Result<()> {
    if shell != Shell::Bash {
        return Ok(());
    }
    let script = std::fs::read_to_string(path)?;
    std::fs::write(path, script.replace(&name.replace('-', "__subcmd__"), &name.replace('-', "__")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_binaries_are_completed_in_every_shell() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path()).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2 * Shell::value_variants().len());
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        assert!(read("grower-broker.bash").contains("--data-dir"));
        assert!(!read("grower-cli.bash").contains("grower__subcmd__cli"));
        assert!(read("_grower-cli").contains("--until-end"));
        assert!(read("grower-cli.fish").contains("produce"));
    }
}
