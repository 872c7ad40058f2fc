//! The crates of the workspace and their dependencies, from `cargo metadata`.

use crate::workspace::cargo;
use anyhow::{Context, ensure};
use serde::Deserialize;
use std::path::PathBuf;

/// The part of `cargo metadata` that the chores need.
#[derive(Deserialize)]
pub(crate) struct WorkspaceManifest {
    pub(crate) packages: Vec<Package>,
}

/// One crate.
#[derive(Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) version: String,
    #[serde(default)]
    pub(crate) description: Option<String>,
    #[serde(default)]
    pub(crate) license: Option<String>,
    #[serde(default)]
    pub(crate) readme: Option<PathBuf>,
    #[serde(default)]
    pub(crate) keywords: Vec<String>,
    #[serde(default)]
    pub(crate) categories: Vec<String>,
    #[serde(default)]
    pub(crate) rust_version: Option<String>,
    pub(crate) dependencies: Vec<Dependency>,
    /// Registries it may be published to; an empty list forbids publishing.
    #[serde(default)]
    publish: Option<Vec<String>>,
}

/// A dependency of a crate.
#[derive(Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) req: String,
    #[serde(default)]
    pub(crate) optional: bool,
    pub(crate) kind: Option<String>,
    /// Only dependencies inside the workspace have one.
    pub(crate) path: Option<PathBuf>,
}

impl WorkspaceManifest {
    pub(crate) fn read() -> anyhow::Result<Self> {
        let output = cargo().args(["metadata", "--format-version", "1", "--no-deps"]).output()?;
        ensure!(output.status.success(), "cargo metadata failed:\n{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).context("cargo metadata printed unexpected JSON")
    }

    #[cfg(test)]
    pub(crate) fn parse(packages: &str) -> Self {
        serde_json::from_str(&format!(r#"{{"packages":{packages}}}"#)).unwrap()
    }

    /// Returns the crates to publish.
    pub(crate) fn published(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| package.is_published())
    }

    /// Returns the names of crates that are never published.
    pub(crate) fn unpublished(&self) -> impl Iterator<Item = &str> {
        self.packages.iter().filter(|package| !package.is_published()).map(|package| package.name.as_str())
    }

    /// Whether another crate depends on this one.
    pub(crate) fn serves_others(&self, name: &str) -> bool {
        self.published().flat_map(Package::needed_here).any(|needed| needed.name == name)
    }

    pub(crate) fn version_of(&self, name: &str) -> &str {
        self.packages.iter().find(|package| package.name == name).map_or("", |package| &package.version)
    }

    /// Returns the names of the published crates, each after its dependencies.
    pub(crate) fn publish_order(&self) -> Vec<&str> {
        let mut order: Vec<&str> = Vec::new();
        let mut left: Vec<&Package> = self.published().collect();
        while !left.is_empty() {
            let ready = |package: &&Package| package.needed_here().all(|needed| order.contains(&needed.name.as_str()));
            let (next, later): (Vec<_>, Vec<_>) = left.into_iter().partition(ready);
            assert!(!next.is_empty(), "cargo allows no cycle of dependencies");
            order.extend(next.iter().map(|package| package.name.as_str()));
            left = later;
        }
        order
    }
}

impl Package {
    fn is_published(&self) -> bool {
        self.publish.as_ref().is_none_or(|registries| !registries.is_empty())
    }

    /// Returns the dependencies on crates of this workspace, without dev-dependencies.
    pub(crate) fn needed_here(&self) -> impl Iterator<Item = &Dependency> {
        self.dependencies.iter().filter(|needed| needed.path.is_some() && needed.kind.as_deref() != Some("dev"))
    }
}

impl Dependency {
    /// Whether a user of the crate gets it as well.
    pub(crate) fn is_for_users(&self) -> bool {
        self.kind.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_is_published_after_those_it_needs_and_tests_do_not_count() {
        let manifest = WorkspaceManifest::parse(
            r#"[
            {"name":"cli","version":"1.0.0","dependencies":[{"name":"client","req":"^1","kind":null,"path":"/client"}]},
            {"name":"client","version":"1.0.0","dependencies":[{"name":"protocol","req":"^1","kind":null,"path":"/protocol"},
                                                              {"name":"cli","req":"*","kind":"dev","path":"/cli"}]},
            {"name":"chores","version":"1.0.0","publish":[],"dependencies":[]},
            {"name":"protocol","version":"1.0.0","dependencies":[{"name":"serde","req":"^1","kind":null}]}]"#,
        );
        assert_eq!(manifest.publish_order(), ["protocol", "client", "cli"]);
        assert_eq!(manifest.unpublished().collect::<Vec<_>>(), ["chores"]);
    }
}
