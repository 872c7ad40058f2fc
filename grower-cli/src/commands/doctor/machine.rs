//! Facts about this machine.

use grower_broker::offline::FileSystem;
use rustix::fs::statvfs;
use rustix::process::{Resource, getrlimit};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The disk of a data directory that may not exist yet.
#[derive(Clone, Debug)]
pub(crate) struct DiskFacts {
    /// The directory, or its first existing parent.
    pub(crate) dir: PathBuf,
    pub(crate) file_system: FileSystem,
    pub(crate) total: u64,
    pub(crate) free: u64,
    /// Latencies of small synced writes, sorted; the reason if there are none.
    pub(crate) fsync: Result<Vec<Duration>, String>,
}

/// Limits of the system.
#[derive(Clone, Debug, Default)]
pub(crate) struct SystemLimits {
    /// The hard limit of open files; none without a limit.
    pub(crate) open_files: Option<u64>,
    /// Memory of the machine, or of this process's control group if that is less.
    pub(crate) memory: Option<u64>,
    /// Mapped regions of one process.
    pub(crate) maps: Option<u64>,
    /// Connections that may wait to be accepted.
    pub(crate) backlog: Option<u64>,
    /// Whether a time service synchronizes the clock; none if unknown.
    pub(crate) is_clock_synchronized: Option<bool>,
}

/// Most syncs of a measurement.
const SYNCS: usize = 200;
const SYNCING_FOR: Duration = Duration::from_secs(2);

impl DiskFacts {
    /// Examines a directory, or its first existing parent. Blocks for about two seconds.
    pub(crate) fn measure(dir: &Path) -> io::Result<Self> {
        let dir = std::path::absolute(dir)?;
        let dir = dir.ancestors().find(|dir| dir.is_dir()).unwrap_or(Path::new("/"));
        let space = statvfs(dir)?;
        Ok(Self {
            dir: dir.to_owned(),
            file_system: FileSystem::of(dir)?,
            total: space.f_blocks.saturating_mul(space.f_frsize),
            free: space.f_bavail.saturating_mul(space.f_frsize),
            fsync: measure_syncs(dir).map_err(|error| error.to_string()),
        })
    }
}

/// Measures syncs on a file without a name, which vanishes even after a crash.
fn measure_syncs(dir: &Path) -> io::Result<Vec<Duration>> {
    let mut file = tempfile::tempfile_in(dir)?;
    let began = Instant::now();
    let mut took = Vec::new();
    while took.len() < SYNCS && began.elapsed() < SYNCING_FOR {
        let one = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        took.push(one.elapsed());
    }
    took.sort_unstable();
    Ok(took)
}

impl SystemLimits {
    /// Reads the limits.
    pub(crate) fn read() -> Self {
        let machine = memory_total(&read("/proc/meminfo").unwrap_or_default());
        Self {
            open_files: getrlimit(Resource::Nofile).maximum,
            memory: machine.into_iter().chain(number("/sys/fs/cgroup/memory.max")).min(),
            maps: number("/proc/sys/vm/max_map_count"),
            backlog: number("/proc/sys/net/core/somaxconn"),
            is_clock_synchronized: Path::new("/run/systemd/timesync")
                .is_dir()
                .then(|| Path::new("/run/systemd/timesync/synchronized").exists()),
        }
    }
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

fn number(path: &str) -> Option<u64> {
    read(path)?.trim().parse().ok()
}

fn memory_total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(memory_total("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16 << 20));
        assert_eq!(memory_total("nothing of the kind"), None);
    }

    #[test]
    fn a_missing_directory_is_judged_by_its_parent() {
        let dir = tempfile::tempdir().unwrap();
        let disk = DiskFacts::measure(&dir.path().join("not/there/yet")).unwrap();
        assert_eq!(disk.dir, dir.path());
        assert!(0 < disk.total && !disk.fsync.unwrap().is_empty());
        assert_eq!(dir.path().read_dir().unwrap().count(), 0, "it leaves nothing behind");
    }
}
