//! Findings that prevent a release.

use super::unused::unused;
use crate::manifest::{Package, WorkspaceManifest};
use std::path::Path;

const LICENCE: &str = "MIT OR Apache-2.0";
const LICENCE_FILES: [&str; 2] = ["LICENSE-MIT", "LICENSE-APACHE"];
/// The limit of the registry.
const KEYWORDS_MAX: usize = 5;

/// Returns one line per finding. `root` is the folder of the workspace.
pub(super) fn findings(manifest: &WorkspaceManifest, changelog: &str, root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let Some(version) = manifest.published().next().map(|package| package.version.clone()) else {
        return vec!["there is no crate to publish".to_owned()];
    };
    for package in manifest.published() {
        found.extend(of_package(package, &version));
        found.extend(missing_files(package, root));
        found.extend(unused(package, manifest.serves_others(&package.name), root));
    }
    found.extend(
        LICENCE_FILES.iter().filter(|file| !root.join(file).is_file()).map(|file| format!("there is no {file}")),
    );
    found.extend(of_changelog(changelog, &version));
    found
}

fn of_package(package: &Package, version: &str) -> Vec<String> {
    let name = &package.name;
    let says_nothing = |text: &Option<String>| text.as_ref().is_none_or(|text| text.trim().is_empty());
    let mut found = Vec::new();
    let mut unless = |sound: bool, what: String| found.extend((!sound).then(|| format!("{name}: {what}")));
    unless(package.version == version, format!("its version is {}, others have {version}", package.version));
    unless(!says_nothing(&package.description), "it has no description".to_owned());
    unless(package.license.as_deref() == Some(LICENCE), format!("its licence is not {LICENCE}"));
    unless(package.readme.is_some(), "it has no readme".to_owned());
    unless(package.rust_version.is_some(), "it names no Rust version".to_owned());
    unless((1..=KEYWORDS_MAX).contains(&package.keywords.len()), format!("it has {} keywords", package.keywords.len()));
    unless(!package.categories.is_empty(), "it has no category".to_owned());
    for needed in package.needed_here() {
        let wanted = format!("^{version}");
        unless(needed.req == wanted, format!("it needs {} {}, not {wanted}", needed.name, needed.req));
    }
    found
}

/// A package holds only files of its folder, so each folder needs its own readme and licences.
fn missing_files(package: &Package, root: &Path) -> Vec<String> {
    let folder = root.join(&package.name);
    let needed = package.readme.iter().map(|readme| readme.as_path()).chain(LICENCE_FILES.iter().map(Path::new));
    let missing = needed.filter(|file| !folder.join(file).is_file());
    missing.map(|file| format!("{}: there is no {}", package.name, file.display())).collect()
}

/// The version needs a section with entries, or `Unreleased`, which becomes that section.
fn of_changelog(changelog: &str, version: &str) -> Option<String> {
    let mut sections = changelog.split("\n## ").skip(1);
    let sound = sections.any(|section| {
        let (title, entries) = section.split_once('\n').unwrap_or((section, ""));
        (title.starts_with("Unreleased") || title.starts_with(version)) && entries.contains("- ")
    });
    (!sound).then(|| format!("CHANGELOG.md has no entry for {version}, and none under Unreleased"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &str = "# Changelog\n\n## Unreleased\n- Something.\n";

    fn check(packages: &str, changelog: &str) -> String {
        findings(&WorkspaceManifest::parse(packages), changelog, "/nowhere".as_ref()).join("\n")
    }

    #[test]
    fn everything_missing_is_named() {
        let packages = r#"[
            {"name":"a","version":"1.1.0","description":"A","license":"MIT OR Apache-2.0","readme":"README.md","rust_version":"1.95",
             "keywords":["log"],"categories":["x"],"dependencies":[]},
            {"name":"b","version":"1.0.0","dependencies":[{"name":"a","req":"*","kind":null,"path":"/a"}]}]"#;
        insta::assert_snapshot!(check(packages, SOUND), @"
        a: there is no README.md
        a: there is no LICENSE-MIT
        a: there is no LICENSE-APACHE
        b: its version is 1.0.0, others have 1.1.0
        b: it has no description
        b: its licence is not MIT OR Apache-2.0
        b: it has no readme
        b: it names no Rust version
        b: it has 0 keywords
        b: it has no category
        b: it needs a *, not ^1.1.0
        b: there is no LICENSE-MIT
        b: there is no LICENSE-APACHE
        b: it needs a, which its source never names
        there is no LICENSE-MIT
        there is no LICENSE-APACHE
        ");
    }

    #[test]
    fn a_version_needs_an_entry_in_the_changelog() {
        assert_eq!(of_changelog(SOUND, "1.0.0"), None);
        assert_eq!(of_changelog("# Changelog\n\n## Unreleased\n\n## 1.0.0\n- All.\n", "1.0.0"), None);
        assert!(of_changelog("# Changelog\n\n## Unreleased\n\n## 0.9.0\n- All.\n", "1.0.0").is_some());
    }
}
