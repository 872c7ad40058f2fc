//! Modules that decide and nothing else: time is an argument, and threads, locks and tasks are a shell's.

use super::source::SourceFile;

/// Crates and the modules in them whose code is pure, by their path below `src`.
const PURE: [(&str, &str); 9] = [
    ("grower-broker", "backup/state.rs"),
    ("grower-broker", "group/state/"),
    ("grower-broker", "replica/"),
    ("grower-broker", "metadata/image/"),
    ("grower-broker", "partition/checkpoint_pace.rs"),
    ("grower-broker", "partition/job_queue.rs"),
    ("grower-storage", "retention.rs"),
    ("grower-storage", "compaction/plan.rs"),
    ("grower-storage", "recovery/decide.rs"),
];

/// Names that pure code never uses.
const FORBIDDEN: [&str; 8] =
    ["Instant::now", "SystemTime::now", "thread::", "spawn_blocking", "tokio::", "Mutex", "RwLock", "std::fs"];

/// One line for each forbidden name in a pure module, and for each module that is gone.
pub(super) fn check(sources: &[SourceFile]) -> Vec<String> {
    PURE.iter().flat_map(|(crate_name, path)| check_module(crate_name, path, sources)).collect()
}

fn check_module(crate_name: &str, path: &str, sources: &[SourceFile]) -> Vec<String> {
    let files = sources.iter().filter(|source| source.crate_name == crate_name && source.path.starts_with(path));
    let mut files = files.peekable();
    if files.peek().is_none() {
        return vec![format!("{crate_name}/src/{path} is gone: mend the list in xtask/src/layers/pure.rs")];
    }
    let named = |source: &SourceFile| {
        let found = FORBIDDEN.iter().filter(|name| source.code.contains(**name));
        found.map(|name| format!("{crate_name}/src/{} is pure and names {name}", source.path)).collect::<Vec<_>>()
    };
    files.flat_map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pure_module_names_no_clock() {
        let sources = [
            SourceFile::new("c", "state/member.rs", "let now = Instant::now();"),
            SourceFile::new("c", "shell.rs", "let now = Instant::now();"),
        ];
        assert_eq!(check_module("c", "state/", &sources), ["c/src/state/member.rs is pure and names Instant::now"]);
    }

    #[test]
    fn a_listed_module_must_be_there() {
        let violation = check_module("c", "gone/", &[]);
        assert_eq!(violation, ["c/src/gone/ is gone: mend the list in xtask/src/layers/pure.rs"]);
    }
}
