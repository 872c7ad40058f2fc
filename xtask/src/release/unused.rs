//! Finds unused dependencies, which every user of a crate would fetch and build.

use crate::manifest::{Dependency, Package};
use std::fs;
use std::path::{Path, PathBuf};

/// Returns one line per dependency that the source of the package never names. If the package `serves_others`, its
/// library must name it: a dependency of the binary alone must be optional.
pub(super) fn unused(package: &Package, serves_others: bool, root: &Path) -> Vec<String> {
    let source = PackageSource::read(&root.join(&package.name).join("src"));
    let of = |needed: &Dependency| {
        let name = needed.name.replace('-', "_");
        let (in_library, in_binary) = (names(&source.library, &name), names(&source.binary, &name));
        if !in_library && !in_binary {
            return Some(format!("{}: it needs {}, which its source never names", package.name, needed.name));
        }
        let for_nothing = serves_others && !in_library && !needed.optional;
        for_nothing.then(|| format!("{}: only its binary names {}, which must be optional", package.name, needed.name))
    };
    package.dependencies.iter().filter(|needed| needed.is_for_users()).filter_map(of).collect()
}

/// The source of a package.
#[derive(Default)]
struct PackageSource {
    library: String,
    /// `main.rs` and the modules that it declares.
    binary: String,
}

impl PackageSource {
    /// Reads the source; empty without such a folder.
    fn read(folder: &Path) -> Self {
        let mut source = Self::default();
        let main = fs::read_to_string(folder.join("main.rs")).unwrap_or_default();
        let declared = |name: &str| main.lines().any(|line| line == format!("mod {name};"));
        for path in entries(folder) {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            let of_binary = name == "main" || declared(&name);
            read_all(&path, if of_binary { &mut source.binary } else { &mut source.library });
        }
        source
    }
}

/// Appends the Rust source of the file, or below the folder.
fn read_all(path: &Path, source: &mut String) {
    if path.is_dir() {
        entries(path).for_each(|path| read_all(&path, source));
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        source.push_str(&fs::read_to_string(path).unwrap_or_default());
    }
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// Whether a path outside comments begins with this crate.
fn names(source: &str, name: &str) -> bool {
    let begins_path = |line: &str| {
        line.match_indices(name).any(|(at, _)| {
            let (before, after) = (&line[..at], &line[at + name.len()..]);
            let begins = !before.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | ':' | '"'));
            begins && (after.starts_with("::") || before.ends_with("use ") && after.starts_with([';', ' ']))
        })
    };
    source.lines().map(str::trim_start).any(|line| !line.starts_with("//") && begins_path(line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::WorkspaceManifest;

    #[test]
    fn a_dependency_of_the_binary_alone_must_be_optional_in_a_library_for_others() {
        let root = tempfile::tempdir().unwrap();
        let source = root.path().join("broker/src");
        fs::create_dir_all(source.join("daemon")).unwrap();
        fs::write(source.join("lib.rs"), "use bytes::Bytes;").unwrap();
        fs::write(source.join("main.rs"), "mod daemon;\nstatic ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;")
            .unwrap();
        fs::write(source.join("daemon/log.rs"), "use anyhow::Result;").unwrap();
        let manifest = WorkspaceManifest::parse(
            r#"[{"name":"broker","version":"1.0.0","dependencies":[
                {"name":"anyhow","req":"^1","kind":null,"optional":true}, {"name":"bytes","req":"^1","kind":null},
                {"name":"mimalloc","req":"^1","kind":null}, {"name":"serde","req":"^1","kind":null}]}]"#,
        );
        let check = |serves_others| {
            let found = manifest.published().flat_map(|package| unused(package, serves_others, root.path()));
            found.collect::<Vec<_>>().join("\n")
        };
        insta::assert_snapshot!(check(false), @"broker: it needs serde, which its source never names");
        insta::assert_snapshot!(check(true), @r"
        broker: only its binary names mimalloc, which must be optional
        broker: it needs serde, which its source never names
        ");
    }

    #[test]
    fn a_crate_is_used_where_a_path_begins_with_it() {
        for used in ["use serde::Serialize;", "#[derive(serde::Serialize)]", "    serde::to(x)", "use serde;"] {
            assert!(names(used, "serde"), "{used}");
        }
        for unused in
            ["// serde::Serialize", "use serde_json::Value;", "crate::serde::x()", "my_serde::x()", "let serde = 1;"]
        {
            assert!(!names(unused, "serde"), "{unused}");
        }
    }
}
