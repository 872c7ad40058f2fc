//! Dependencies that are there for nothing: whoever takes the crate would fetch and build them all the same.

use super::manifest::Package;
use std::fs;
use std::path::Path;

/// One line for each crate that the package needs and its source never names.
pub(super) fn unused(package: &Package, root: &Path) -> Vec<String> {
    let mut source = String::new();
    read_all(&root.join(&package.name).join("src"), &mut source);
    let needed = package.dependencies.iter().filter(|needed| needed.is_for_users());
    let idle = needed.filter(|needed| !names(&source, &needed.name.replace('-', "_")));
    idle.map(|needed| format!("{}: it needs {}, which its source never names", package.name, needed.name)).collect()
}

/// Every line of Rust below the folder; none if there is no such folder.
fn read_all(folder: &Path, source: &mut String) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            read_all(&path, source);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            source.push_str(&fs::read_to_string(path).unwrap_or_default());
        }
    }
}

/// Whether a path begins with this crate anywhere outside comments.
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
