//! Room on the disk. Below a reserve producers are refused, so that retention, deletes and metadata can still work and
//! a full disk never becomes a failed write. A file system without inodes takes appends all the same, so those are refused
//! only that need a new file; it is told of like a full disk.

use crate::clock::BrokerClock;
use crate::config::settings::LiveSettings;
use crate::health::Health;
use crate::log_pace::LogPace;
use grower_protocol::message::{ErrorCode, Failure};
use grower_storage::disk::{Disk, Inodes};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// The gate that each append passes.
pub(crate) struct DiskReserve {
    disk: Arc<dyn Disk>,
    clock: Arc<BrokerClock>,
    health: Health,
    /// Say how much to keep free.
    settings: Arc<LiveSettings>,
    estimate: Mutex<UsageEstimate>,
    /// Of the line that says what the disk lacks.
    told: LogPace,
}

/// The file system as it is now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DiskUsage {
    pub(crate) free: u64,
    pub(crate) total: u64,
    /// Producers are refused when less than this is free.
    pub(crate) keep_free: u64,
    /// None if the file system has no limit of its own.
    inodes: Option<Inodes>,
}

impl DiskUsage {
    /// Too few inodes are free for a new partition.
    fn lacks_inodes(&self) -> Option<Inodes> {
        self.inodes.filter(|inodes| inodes.free < INODES_MIN)
    }

    /// Bytes that may still be written: none if there may be no file for them.
    pub(crate) fn usable(&self) -> u64 {
        if self.lacks_inodes().is_some() { 0 } else { self.free }
    }

    fn shortage(&self) -> Option<DiskShortage> {
        (self.free < self.keep_free).then_some(DiskShortage::Bytes).or(self.lacks_inodes().map(DiskShortage::Inodes))
    }
}

/// What the disk lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DiskShortage {
    #[error("the disk is full up to its reserve (disk.reserve_bytes): reads go on, writes resume when space is freed")]
    Bytes,
    #[error(
        "the file system has {} of {} inodes left (see df -i): what needs a new file is refused until others are removed, all else goes on",
        .0.free, .0.total
    )]
    Inodes(Inodes),
}

/// What was free when last asked, less what was written since: decides about each append from numbers.
#[derive(Debug, Default)]
struct UsageEstimate {
    headroom: i64,
    lacks_inodes: Option<Inodes>,
    /// When the system was last asked, on the monotonic clock.
    asked: Option<Duration>,
    /// As of the last append.
    was_full: bool,
}

impl UsageEstimate {
    /// Counts an append. True if the system has to be asked before it is decided about.
    fn count(&mut self, bytes: usize, now: Duration) -> bool {
        self.headroom = self.headroom.saturating_sub_unsigned(bytes as u64);
        self.asked.is_none_or(|asked| TRUST < now.saturating_sub(asked)) || self.headroom < CLOSE
    }

    /// Takes the answer of the system; it may not have answered.
    fn learn(&mut self, usage: Option<DiskUsage>, now: Duration) {
        if let Some(usage) = usage {
            self.headroom = i64::try_from(usage.free).unwrap_or(i64::MAX).saturating_sub_unsigned(usage.keep_free);
            self.lacks_inodes = usage.lacks_inodes();
        }
        self.asked = Some(now);
    }

    /// What the disk lacks for the counted append; and whether it lacked anything for the one before.
    fn decide(&mut self) -> (Option<DiskShortage>, bool) {
        let full = (self.headroom < 0).then_some(DiskShortage::Bytes).or(self.lacks_inodes.map(DiskShortage::Inodes));
        (full, std::mem::replace(&mut self.was_full, full.is_some()))
    }
}

const RESERVE_MIN: u64 = 64 << 20;
/// A first append to a partition makes up to six files and directories, and a small file is replaced by way of another.
const INODES_MIN: u64 = 8;
/// How long an answer of the system holds.
const TRUST: Duration = Duration::from_millis(500);
/// With less headroom than this, ask again at each append: files are allocated ahead, and others write as well.
const CLOSE: i64 = 64 << 20;

impl DiskReserve {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        clock: Arc<BrokerClock>,
        health: Health,
        settings: Arc<LiveSettings>,
    ) -> Self {
        Self { disk, clock, health, settings, estimate: Mutex::default(), told: LogPace::new() }
    }

    /// Lets `bytes` more be written, or says that the disk is full for now.
    pub(crate) fn admit(&self, bytes: usize) -> Result<(), Failure> {
        let now = self.clock.monotonic();
        let (full, was_full) = {
            let mut estimate = self.estimate.lock();
            if estimate.count(bytes, now) {
                estimate.learn(self.usage(), now);
            }
            estimate.decide()
        };
        self.health.metrics().disk_full(full.is_some());
        match full {
            Some(full) => {
                if let Some(left_out) = self.told.admit() {
                    tracing::warn!(left_out, "{full}");
                }
                if full == DiskShortage::Bytes { Err(Failure::new(ErrorCode::DiskFull, full)) } else { Ok(()) }
            }
            None => {
                if was_full {
                    tracing::info!("the disk has room again");
                }
                Ok(())
            }
        }
    }

    /// What keeps writes from being taken now, if anything does.
    pub(crate) fn shortage(&self) -> Option<DiskShortage> {
        self.usage()?.shortage()
    }

    /// Asks the system; none if it does not say.
    pub(crate) fn usage(&self) -> Option<DiskUsage> {
        match self.disk.space() {
            Ok(space) => {
                let keep_free = self.settings.now().broker.disk_reserve_bytes;
                let keep_free = keep_free.unwrap_or_else(|| RESERVE_MIN.max(space.total / 50));
                Some(DiskUsage { free: space.free, total: space.total, keep_free, inodes: space.inodes })
            }
            Err(error) => {
                tracing::warn!(%error, "cannot ask how much disk space is free");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Calendar;
    use crate::config::{BrokerConfig, settings::BrokerSettings};
    use crate::metrics::Metrics;
    use grower_storage::disk::MemDisk;

    const SECOND: Duration = Duration::from_secs(1);

    fn usage(free: u64, keep_free: u64) -> Option<DiskUsage> {
        Some(DiskUsage { free, total: 1 << 40, keep_free, inodes: None })
    }

    #[test]
    fn the_system_is_asked_twice_a_second_and_at_each_append_when_little_is_left() {
        let mut estimate = UsageEstimate::default();
        assert!(estimate.count(1, SECOND), "nothing is known yet");
        estimate.learn(usage(200 << 20, 100 << 20), SECOND);
        assert!(!estimate.count(1, SECOND + TRUST));
        assert!(estimate.count(1, SECOND + TRUST + Duration::from_millis(1)));
        assert!(estimate.count(40 << 20, SECOND), "others write as well");
        estimate.learn(None, SECOND);
        assert_eq!(estimate.decide(), (None, false));
        estimate.learn(usage(100, 101), SECOND);
        assert_eq!(estimate.decide(), (Some(DiskShortage::Bytes), false));
        estimate.learn(usage(101, 100), SECOND);
        assert_eq!(estimate.decide(), (None, true));
    }

    #[test]
    fn a_want_of_inodes_is_told_and_refuses_no_append() {
        let disk = MemDisk::default();
        let settings = Arc::new(LiveSettings::new(BrokerSettings::of(BrokerConfig::at("/")), None));
        let metrics = Metrics::new();
        let calendar = Arc::new(Calendar::default());
        let clock = BrokerClock::new(calendar.clone());
        let reserve = DiskReserve::new(Arc::new(disk.clone()), clock, Health::new(metrics.clone()), settings);
        disk.set_inodes(1_000);
        assert!(reserve.admit(50).is_ok() && reserve.shortage().is_none());
        for number in 0..993 {
            disk.create(format!("/{number}").as_ref()).unwrap();
        }
        assert_eq!(reserve.usage().unwrap().usable(), 0);
        let full = reserve.shortage().unwrap().to_string();
        assert!(full.contains("7 of 1000 inodes left"), "{full}");
        calendar.pass(1_000);
        assert!(reserve.admit(50).is_ok());
        assert!(metrics.print().contains("grower_disk_full 1\n"));
        disk.remove_file("/1".as_ref()).unwrap();
        calendar.pass(1_000);
        assert!(reserve.admit(50).is_ok());
        assert!(metrics.print().contains("grower_disk_full 0\n"));
    }

    #[test]
    fn writes_stop_at_the_reserve_and_resume_without_a_restart() {
        let disk = MemDisk::default();
        disk.set_capacity(1_000);
        let config = BrokerConfig { disk_reserve_bytes: Some(900), ..BrokerConfig::at("/") };
        let settings = Arc::new(LiveSettings::new(BrokerSettings::of(config), None));
        let clock = BrokerClock::new(Arc::new(Calendar::default()));
        let reserve = DiskReserve::new(Arc::new(disk.clone()), clock, Health::new(Metrics::new()), settings);
        assert!(reserve.admit(50).is_ok());
        disk.set_capacity(800);
        assert_eq!(reserve.admit(50).unwrap_err().code, ErrorCode::DiskFull);
        disk.set_capacity(10_000);
        assert!(reserve.admit(50).is_ok());
    }
}
