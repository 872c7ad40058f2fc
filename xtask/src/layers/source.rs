//! The source of the workspace as the checks read it: without tests and comments.

use crate::workspace::root;
use anyhow::Context;
use std::fs;
use std::path::Path;

/// The crates whose modules and type names are checked.
const CRATES: [&str; 7] =
    ["grower-broker", "grower-cli", "grower-client", "grower-index", "grower-protocol", "grower-storage", "xtask"];

/// One source file.
pub(super) struct SourceFile {
    pub(super) crate_name: String,
    /// Its path below `src`, with `/`.
    pub(super) path: String,
    /// Its text without comments and test modules.
    pub(super) code: String,
}

impl SourceFile {
    pub(super) fn new(crate_name: &str, path: &str, text: &str) -> Self {
        Self { crate_name: crate_name.to_owned(), path: path.to_owned(), code: code_of(text) }
    }

    /// The names of the modules that lead to this file, from the crate's root.
    pub(super) fn module_path(&self) -> Vec<&str> {
        let path = self.path.strip_suffix(".rs").unwrap_or(&self.path);
        let path = path.strip_suffix("/mod").unwrap_or(path);
        if matches!(path, "lib" | "main") { Vec::new() } else { path.split('/').collect() }
    }
}

/// Every file of every crate that is not for tests alone.
pub(super) fn read_all() -> anyhow::Result<Vec<SourceFile>> {
    let mut sources = Vec::new();
    for crate_name in CRATES {
        read_below(crate_name, &root().join(crate_name).join("src"), "", &mut sources)?;
    }
    Ok(sources)
}

fn read_below(crate_name: &str, dir: &Path, below: &str, sources: &mut Vec<SourceFile>) -> anyhow::Result<()> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{below}{name}");
        if entry.file_type()?.is_dir() {
            if name != "tests" {
                read_below(crate_name, &entry.path(), &format!("{path}/"), sources)?;
            }
        } else if name.ends_with(".rs") && name != "tests.rs" {
            sources.push(SourceFile::new(crate_name, &path, &fs::read_to_string(entry.path())?));
        }
    }
    sources.sort_by(|a, b| (&a.crate_name, &a.path).cmp(&(&b.crate_name, &b.path)));
    Ok(())
}

/// Drops comments, and what `#[cfg(test)]` at the left margin marks: a module with its body, or one line.
fn code_of(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line == "#[cfg(test)]" {
            let marked = lines.by_ref().find(|line| !line.starts_with("#[")).unwrap_or_default();
            if marked.ends_with('{') {
                lines.by_ref().find(|line| *line == "}");
            }
        } else if !line.trim_start().starts_with("//") {
            code.push_str(line.split(" // ").next().unwrap_or_default());
            code.push('\n');
        }
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_tests_are_left_out() {
        let text =
            "//! crate::a\nuse x; // crate::b\n#[cfg(test)]\nuse y;\n#[cfg(test)]\nmod tests {\n    z\n}\nfn f() {}\n";
        assert_eq!(code_of(text), "use x;\nfn f() {}\n");
    }

    #[test]
    fn a_path_leads_to_a_module() {
        let path = |path| SourceFile::new("c", path, "").module_path().join("::");
        assert_eq!(path("log/disk_log/mod.rs"), "log::disk_log");
        assert_eq!(path("log.rs"), "log");
        assert_eq!(path("lib.rs"), "");
    }
}
