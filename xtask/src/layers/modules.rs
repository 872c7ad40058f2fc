//! Which module of a crate may know which. The tables list a crate's modules from the lowest up, so that no table can
//! describe a cycle.

use super::source::SourceFile;
use std::collections::BTreeSet;

/// The top-level modules of a crate, lowest first, each with the names of those below it that it may name.
type Modules = &'static [(&'static str, &'static str)];

/// The crates whose modules are in layers.
const CRATES: &[(&str, Modules)] = &[
    (
        "grower-client",
        &[
            ("backoff", ""),
            ("deadline", ""),
            ("random_name", ""),
            ("record", ""),
            ("single_flight", ""),
            ("transport", ""),
            ("acks", "record"),
            ("gap", "record"),
            ("error", "acks gap record"),
            ("events", "error record"),
            ("unanswered_claims", "error random_name"),
            ("connection", "backoff deadline error events single_flight transport"),
            ("retry", "backoff error"),
            ("cluster", "backoff connection deadline error events random_name record retry unanswered_claims"),
            ("admin", "cluster deadline error record"),
            (
                "producer",
                "acks backoff cluster connection deadline error random_name record retry single_flight unanswered_claims",
            ),
            ("consumer", "admin backoff cluster connection deadline error gap random_name record retry"),
            ("client", "admin cluster connection consumer deadline error events producer transport"),
        ],
    ),
    (
        "grower-protocol",
        &[("compression", ""), ("ids", ""), ("wire", ""), ("batch", "compression ids"), ("message", "batch ids wire")],
    ),
    (
        "grower-broker",
        &[
            ("clock", ""),
            ("config", ""),
            ("daemon", ""),
            ("descriptors", ""),
            ("log_pace", "clock"),
            ("memory", ""),
            ("metrics", "clock"),
            ("random", ""),
            ("rates", ""),
            ("disk_failure", "log_pace"),
            ("flags", "config"),
            ("health", "metrics"),
            ("replica", "config"),
            ("background", "health"),
            ("critical", "health"),
            ("disk_reserve", "clock config log_pace health"),
            ("metadata", "clock config disk_failure background"),
            ("reserve_file", "log_pace background"),
            ("stall_watchdog", "health background"),
            ("fail_stop_disk", "health reserve_file"),
            ("logs", "metadata"),
            (
                "partition",
                "clock config memory disk_failure health replica background critical reserve_file stall_watchdog",
            ),
            ("placement", "metadata"),
            ("topic", "clock config memory disk_failure health background critical metadata logs partition"),
            ("backup", "clock health background metadata logs partition placement topic"),
            ("group", "clock config memory random health background critical metadata partition topic"),
            ("offline", "clock random metadata logs placement backup"),
            (
                "state",
                "clock config memory rates health background disk_reserve stall_watchdog partition topic backup group",
            ),
            (
                "api",
                "clock memory metrics random disk_failure health background critical metadata partition topic \
                 backup group state",
            ),
            ("compaction", "clock memory background partition state"),
            ("http", "clock descriptors log_pace health background state"),
            ("scrape", "memory partition group state"),
            ("jobs", "rates reserve_file state compaction"),
            ("listener", "config descriptors log_pace memory metrics background partition api"),
            (
                "broker",
                "clock config descriptors memory metrics random rates health background disk_reserve metadata \
                 reserve_file stall_watchdog fail_stop_disk logs partition placement topic backup group state \
                 api http scrape jobs listener",
            ),
        ],
    ),
    (
        "grower-storage",
        &[
            ("disk", ""),
            ("epochs", ""),
            ("options", ""),
            ("state_file", "disk epochs"),
            ("producers", "options state_file"),
            ("segment", "disk epochs options state_file"),
            ("retention", "options segment"),
            ("recovery", "disk epochs options state_file producers segment"),
            ("backup_files", "disk epochs state_file producers segment recovery"),
            ("log", "disk epochs options state_file producers segment retention recovery backup_files"),
            ("compaction", "disk options state_file segment log"),
            ("verify", "disk epochs state_file producers segment recovery"),
            ("repair", "disk epochs options state_file segment recovery verify"),
            ("contract", "disk log compaction"),
        ],
    ),
    (
        "grower-cli",
        &[
            ("lines", ""),
            ("output", ""),
            ("options", ""),
            ("position_spec", ""),
            ("capacity", "output"),
            ("groups", ""),
            ("segment_listing", "output"),
            ("session", "options output"),
            ("follow", "lines"),
            ("commands", "lines output options position_spec capacity groups segment_listing session follow"),
            ("arguments", "output options commands"),
        ],
    ),
];

/// One line for each arrow that the tables do not have.
pub(super) fn check(sources: &[SourceFile]) -> Vec<String> {
    CRATES.iter().flat_map(|(name, modules)| check_crate(name, modules, sources)).collect()
}

fn check_crate(name: &str, modules: Modules, sources: &[SourceFile]) -> Vec<String> {
    let mut violations = check_table(name, modules);
    for source in sources.iter().filter(|source| source.crate_name == name) {
        let path = source.module_path();
        let Some(module) = path.first() else { continue }; // The root names every module.
        let Some((_, allowed)) = modules.iter().find(|(known, _)| known == module) else {
            violations.push(format!("{name}: {module} is not in the table of xtask/src/layers/modules.rs"));
            continue;
        };
        let forbidden = named_modules(&source.code, path.len());
        let forbidden = forbidden.iter().filter(|named| *named != module && !has_word(allowed, named));
        violations.extend(forbidden.map(|named| format!("{name}/src/{}: {module} -> {named}", source.path)));
    }
    violations
}

/// A module stands above all that it may name.
fn check_table(name: &str, modules: Modules) -> Vec<String> {
    let mut below = BTreeSet::new();
    let mut violations = Vec::new();
    for (module, allowed) in modules {
        let above = allowed.split_whitespace().filter(|named| !below.contains(named));
        violations.extend(above.map(|named| format!("{name}: the table has no {named} below {module}")));
        below.insert(*module);
    }
    violations
}

fn has_word(words: &str, wanted: &str) -> bool {
    words.split_whitespace().any(|word| word == wanted)
}

/// The top-level modules that a file names: after `crate::`, or after as many `super::` as its depth.
fn named_modules(code: &str, depth: usize) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        named.extend(first_segments(&code[at + "crate::".len()..]));
    }
    let climb = "super::".repeat(depth);
    for (at, _) in code.match_indices(&climb) {
        let follows_another = code[..at].ends_with("super::");
        let rest = &code[at + climb.len()..];
        if !follows_another && !rest.starts_with("super::") {
            named.extend(first_segments(rest));
        }
    }
    named
}

/// The first segment of a path, or those of each path in braces.
fn first_segments(rest: &str) -> Vec<String> {
    let Some(group) = rest.strip_prefix('{') else { return identifier(rest).into_iter().collect() };
    let mut depth = 0;
    let mut segments: Vec<String> = identifier(group.trim_start()).into_iter().collect();
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => segments.extend(identifier(group[at + 1..].trim_start())),
            _ => {}
        }
    }
    segments
}

fn identifier(text: &str) -> Option<String> {
    let end = text.find(|character: char| !character.is_alphanumeric() && character != '_').unwrap_or(text.len());
    text.get(..end).filter(|name| !name.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: Modules = &[("disk", ""), ("log", "disk")];

    fn violations(files: &[(&str, &str)]) -> String {
        let sources: Vec<SourceFile> = files.iter().map(|(path, text)| SourceFile::new("c", path, text)).collect();
        check_crate("c", TABLE, &sources).join("\n")
    }

    #[test]
    fn an_arrow_upwards_is_named() {
        insta::assert_snapshot!(violations(&[
            ("disk/mod.rs", "use crate::log::Log;"),
            ("disk/file.rs", "use super::super::log;\nuse super::error;"),
            ("log.rs", "use crate::{disk::{Disk, log}, log::x};\nuse super::disk;"),
        ]), @r"
        c/src/disk/mod.rs: disk -> log
        c/src/disk/file.rs: disk -> log
        ");
    }

    #[test]
    fn the_root_and_tests_may_name_everything() {
        let tests = "#[cfg(test)]\nmod tests {\n    use crate::log;\n}\n";
        assert_eq!(violations(&[("lib.rs", "pub use crate::log;"), ("disk.rs", tests)]), "");
    }

    #[test]
    fn a_module_without_a_row_is_refused() {
        insta::assert_snapshot!(violations(&[("helpers.rs", "")]), @"c: helpers is not in the table of xtask/src/layers/modules.rs");
    }

    #[test]
    fn a_table_with_a_cycle_is_refused() {
        let cycle = check_table("c", &[("disk", "log"), ("log", "disk")]);
        assert_eq!(cycle, ["c: the table has no log below disk"]);
    }
}
