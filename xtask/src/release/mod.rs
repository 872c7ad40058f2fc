//! `cargo xtask release --dry-run`: checks a release without publishing it.
//!
//! Cheap findings come first: versions, changelog, licences, descriptions, unused dependencies. Then every crate is
//! packaged in the order of its dependencies and built from its package, as a user would build it. The builds take
//! minutes, so CI leaves them out; the findings are a test.

mod findings;
mod unused;

use crate::manifest::WorkspaceManifest;
use crate::workspace::{cargo, must_succeed, root};
use anyhow::{Context, ensure};
use clap::Args;
use findings::findings;
use std::process::Command;

/// Checks a release.
#[derive(Args)]
pub(crate) struct Release {
    /// Publish nothing; required, because a person publishes
    #[arg(long, required = true)]
    dry_run: bool,
}

impl Release {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let manifest = WorkspaceManifest::read()?;
        let changelog = std::fs::read_to_string(root().join("CHANGELOG.md")).context("cannot read CHANGELOG.md")?;
        let mut found = findings(&manifest, &changelog, root());
        found.extend(uncommitted()?);
        ensure!(found.is_empty(), "not ready for a release:\n{}", found.join("\n"));
        let order = manifest.publish_order();
        package(&manifest)?;
        println!("a release would publish, in this order:");
        for name in order {
            println!("  {name} {}", manifest.version_of(name));
        }
        Ok(())
    }
}

/// Builds each crate from its package. A shared target directory avoids repeated builds of dependencies.
fn package(manifest: &WorkspaceManifest) -> anyhow::Result<()> {
    let mut command = cargo();
    command.args(["package", "--workspace"]).env("CARGO_TARGET_DIR", root().join("target"));
    for name in manifest.unpublished() {
        command.args(["--exclude", name]);
    }
    must_succeed(&mut command)
}

fn uncommitted() -> anyhow::Result<Vec<String>> {
    let status = Command::new("git").args(["status", "--porcelain"]).current_dir(root()).output();
    let status = status.context("cannot start git")?;
    ensure!(status.status.success(), "git status failed: {}", String::from_utf8_lossy(&status.stderr));
    let changed =
        String::from_utf8_lossy(&status.stdout).lines().map(|line| format!("not committed: {line}")).collect();
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_as_it_is_could_be_released() {
        let changelog = std::fs::read_to_string(root().join("CHANGELOG.md")).unwrap();
        assert_eq!(findings(&WorkspaceManifest::read().unwrap(), &changelog, root()), [""; 0]);
    }
}
