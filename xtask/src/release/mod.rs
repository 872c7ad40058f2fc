//! `cargo xtask release --dry-run`: everything that can be checked before crates are published, and nothing published.
//!
//! Findings about versions, changelog, licences, descriptions and unused dependencies come first, for they are cheap. Then
//! every crate is packaged in the order of its dependencies and built from its package, as those who fetch it will.
//! That takes minutes even where little else runs, so CI leaves it out; the findings are a test.

mod findings;
mod manifest;
mod unused;

use crate::workspace::{cargo, must_succeed, root};
use anyhow::{Context, ensure};
use clap::Args;
use findings::findings;
use manifest::WorkspaceManifest;
use std::process::Command;

/// Checks a release.
#[derive(Args)]
pub(crate) struct Release {
    /// Publish nothing; there is no other way yet, for publishing is a person's decision
    #[arg(long, required = true)]
    dry_run: bool,
}

impl Release {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let manifest = WorkspaceManifest::read()?;
        let changelog = std::fs::read_to_string(root().join("CHANGELOG.md")).context("cannot read CHANGELOG.md")?;
        let mut found = findings(&manifest, &changelog, root());
        found.extend(uncommitted()?);
        ensure!(found.is_empty(), "not fit for a release:\n{}", found.join("\n"));
        let order = manifest.publish_order();
        package(&manifest)?;
        println!("a release would publish, in this order:");
        for name in order {
            println!("  {name} {}", manifest.version_of(name));
        }
        Ok(())
    }
}

/// Builds each crate from its package. They share a folder for what they build, or each would build everything anew.
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
