//! Which crate may know which. Tests may know more, so dev-dependencies do not count.

use crate::manifest::{Dependency, Package, WorkspaceManifest};
use std::collections::BTreeSet;

/// Every arrow that may be: who depends on whom.
const ARROWS: [(&str, &[&str]); 8] = [
    ("grower-cli", &["grower-client", "grower-broker"]),
    ("grower-client", &["grower-protocol"]),
    ("grower-broker", &["grower-storage", "grower-index", "grower-protocol"]),
    ("grower-storage", &["grower-index", "grower-protocol"]),
    ("grower-index", &[]),
    ("grower-protocol", &[]),
    ("xtask", &["grower-cli", "grower-client", "grower-broker", "grower-fuzz"]),
    ("grower-fuzz", &["grower-cli", "grower-broker", "grower-storage", "grower-index", "grower-protocol"]),
];

/// How many crates there are, and one line for each arrow that must not be.
pub(super) fn check() -> anyhow::Result<(usize, Vec<String>)> {
    let manifest = WorkspaceManifest::read()?;
    Ok((manifest.packages.len(), violations(&manifest)))
}

fn violations(manifest: &WorkspaceManifest) -> Vec<String> {
    let members: BTreeSet<&str> = manifest.packages.iter().map(|package| package.name.as_str()).collect();
    manifest.packages.iter().flat_map(|package| violations_of(package, &members)).collect()
}

fn violations_of(package: &Package, members: &BTreeSet<&str>) -> Vec<String> {
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == package.name) else {
        return vec![format!(
            "{} is not in the table of xtask/src/layers/crates.rs: decide what it may know",
            package.name
        )];
    };
    let counts = |dependency: &&Dependency| {
        dependency.kind.as_deref() != Some("dev")
            && (dependency.path.is_some() || members.contains(dependency.name.as_str()))
            && !allowed.contains(&dependency.name.as_str())
    };
    let violation = |dependency: &Dependency| {
        let may = if allowed.is_empty() { "no other crate".to_owned() } else { allowed.join(", ") };
        format!("{} -> {} must not be: {} may depend on {may}", package.name, dependency.name, package.name)
    };
    package.dependencies.iter().filter(counts).map(violation).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(packages: &str) -> String {
        let manifest = WorkspaceManifest::parse(packages);
        violations(&manifest).join("\n")
    }

    #[test]
    fn an_arrow_against_the_design_is_named() {
        let found = check(
            r#"[
            {"name":"grower-index","dependencies":[{"name":"grower-storage","kind":null,"path":"/x/grower-storage"}]},
            {"name":"grower-client","dependencies":[{"name":"grower-broker","kind":"build","path":"/x/grower-broker"},
                                                    {"name":"grower-protocol","kind":null,"path":"/x/grower-protocol"}]}]"#,
        );
        insta::assert_snapshot!(found, @r"
        grower-index -> grower-storage must not be: grower-index may depend on no other crate
        grower-client -> grower-broker must not be: grower-client may depend on grower-protocol
        ");
    }

    #[test]
    fn tests_and_crates_of_others_may_be_known() {
        let found = check(
            r#"[{"name":"grower-client","dependencies":[{"name":"grower-broker","kind":"dev","path":"/x/grower-broker"},
                                                        {"name":"tokio","kind":null,"path":null}]}]"#,
        );
        insta::assert_snapshot!(found, @"");
    }

    #[test]
    fn a_crate_without_a_row_is_refused() {
        let found = check(r#"[{"name":"grower-common","dependencies":[]}]"#);
        insta::assert_snapshot!(found, @"grower-common is not in the table of xtask/src/layers/crates.rs: decide what it may know");
    }
}
