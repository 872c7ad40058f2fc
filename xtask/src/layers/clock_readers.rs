//! Files of the broker that read a clock of the system. All others are given the time, or ask the broker's clock, so
//! that a test can move it.

use super::source::SourceFile;

/// The files that may, each with the reason.
const READERS: [(&str, &str); 3] = [
    ("clock/mod.rs", "the only place that asks what time it is"),
    ("config/settings/live.rs", "a timer of the runtime, which follows changes of its interval"),
    ("listener/deadline_timer.rs", "timers of the runtime, which are moved at each frame"),
];

/// Calls that read a clock.
const CALLS: [&str; 2] = ["Instant::now", "SystemTime::now"];

/// One line for each other file that reads a clock, and for each listed one that reads none.
pub(super) fn check(sources: &[SourceFile]) -> Vec<String> {
    let broker: Vec<_> = sources.iter().filter(|source| source.crate_name == "grower-broker").collect();
    let reads = |source: &SourceFile| CALLS.iter().any(|call| source.code.contains(call));
    let listed = |source: &SourceFile| READERS.iter().any(|(path, _)| source.path == *path);
    let unlisted = broker.iter().filter(|source| reads(source) && !listed(source));
    let unlisted = unlisted.map(|source| {
        format!(
            "grower-broker/src/{} reads a clock: take the time as an argument, or ask the broker's clock",
            source.path
        )
    });
    let idle = READERS.iter().filter(|(path, _)| !broker.iter().any(|source| source.path == *path && reads(source)));
    let idle = idle.map(|(path, _)| {
        format!("grower-broker/src/{path} reads no clock: mend the list in xtask/src/layers/clock_readers.rs")
    });
    unlisted.chain(idle).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_files_read_a_clock() {
        let mut sources: Vec<_> =
            READERS.iter().map(|(path, _)| SourceFile::new("grower-broker", path, "Instant::now()")).collect();
        assert_eq!(check(&sources), [""; 0]);
        sources[0] = SourceFile::new("grower-broker", "topic/retention.rs", "let now = SystemTime::now();");
        let violations = check(&sources);
        assert!(violations[0].starts_with("grower-broker/src/topic/retention.rs reads a clock"), "{violations:?}");
        assert!(violations[1].starts_with("grower-broker/src/clock/mod.rs reads no clock"), "{violations:?}");
    }
}
