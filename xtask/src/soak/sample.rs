//! A sample of the daemon under load.

use super::SoakTarget;
use super::tally::Tally;
use crate::bench::machine;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// The resources of the daemon at one time, and the work done by then.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    daemon: &'static str,
    at: Duration,
    pub(super) resident: u64,
    pub(super) descriptors: u64,
    threads: u64,
    /// Bytes of its files on disk.
    disk: u64,
    acknowledged: u64,
    consumed: u64,
    joins: u64,
    topics: u64,
    scrapes: u64,
    backups: u64,
    /// Records acknowledged and consumed a second, since the previous sample.
    rates: (f64, f64),
}

impl Sample {
    pub(super) const HEADINGS: &str = "daemon    time  acked/s   read/s  memory MiB  descriptors  threads  disk MiB   joins  \
                                       topics  scrapes  backups";

    pub(super) fn take(
        target: &SoakTarget,
        at: Duration,
        tally: &Tally,
        before: Option<&Self>,
    ) -> anyhow::Result<Self> {
        let process = target.broker.process;
        let mut sample = Self {
            daemon: target.name,
            at,
            resident: machine::resident_memory(process)?,
            descriptors: fs::read_dir(format!("/proc/{process}/fd"))?.count() as u64,
            threads: fs::read_dir(format!("/proc/{process}/task"))?.count() as u64,
            disk: disk_usage(&target.data_dir),
            acknowledged: tally.acknowledged.get(),
            consumed: tally.consumed.get(),
            joins: tally.joins.get(),
            topics: tally.topics.get(),
            scrapes: tally.scrapes.get(),
            backups: tally.backups.get(),
            rates: (0.0, 0.0),
        };
        let (then, acknowledged, consumed) =
            before.map(|before| (before.at, before.acknowledged, before.consumed)).unwrap_or_default();
        let seconds = (at - then).as_secs_f64().max(1e-3);
        let rate = |now: u64, then: u64| (now - then) as f64 / seconds;
        sample.rates = (rate(sample.acknowledged, acknowledged), rate(sample.consumed, consumed));
        Ok(sample)
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { daemon, at, resident, descriptors, threads, disk, joins, topics, scrapes, backups, .. } = self;
        let (seconds, acked, read) = (at.as_secs(), self.rates.0, self.rates.1);
        let (resident, disk) = (*resident as f64 / f64::from(1 << 20), disk >> 20);
        write!(
            f,
            "{daemon:<7} {seconds:>5}s {acked:>8.0} {read:>8.0} {resident:>11.1} {descriptors:>12} {threads:>8} {disk:>9}"
        )?;
        write!(f, " {joins:>7} {topics:>7} {scrapes:>8} {backups:>8}")
    }
}

/// Returns the bytes of all files below a directory. Files removed meanwhile count as 0.
fn disk_usage(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let usage = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk_usage(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    };
    entries.map(usage).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_in_folders_count() {
        let directory = tempfile::tempdir().unwrap();
        let before = disk_usage(directory.path());
        fs::create_dir(directory.path().join("a")).unwrap();
        fs::write(directory.path().join("a/b"), vec![7; 100_000]).unwrap();
        fs::File::open(directory.path().join("a/b")).unwrap().sync_all().unwrap();
        assert!(before + 100_000 <= disk_usage(directory.path()));
        assert_eq!(disk_usage(&directory.path().join("nothing")), 0);
    }
}
