//! The disk reserve: producers are refused while less is free, so that retention, deletes and metadata still work and a
//! full disk never becomes a failed write.
//!
//! A file system without inodes still takes appends to existing files. So only appends that need a new file are
//! refused; the shortage is reported like a full disk.

use crate::clock::BrokerClock;
use crate::config::settings::LiveSettings;
use crate::health::Health;
use crate::log_pace::LogPace;
use grower_protocol::message::{ErrorCode, Failure};
use grower_storage::disk::{Disk, Inodes};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// Admits each append, or refuses it.
pub(crate) struct DiskReserve {
    disk: Arc<dyn Disk>,
    clock: Arc<BrokerClock>,
    health: Health,
    /// Hold the size of the reserve.
    settings: Arc<LiveSettings>,
    estimate: Mutex<UsageEstimate>,
    /// Limits the log lines about a shortage.
    told: LogPace,
}

/// Free and total space of the file system.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DiskUsage {
    pub(crate) free: u64,
    pub(crate) total: u64,
    /// Producers are refused while less than this is free.
    pub(crate) keep_free: u64,
    /// None if the file system has no fixed number of inodes.
    inodes: Option<Inodes>,
}

impl DiskUsage {
    /// The inodes, if too few are free for a new partition.
    fn lacks_inodes(&self) -> Option<Inodes> {
        self.inodes.filter(|inodes| inodes.free < INODES_MIN)
    }

    /// Bytes that can still be written: none without inodes for new files.
    pub(crate) fn usable(&self) -> u64 {
        if self.lacks_inodes().is_some() { 0 } else { self.free }
    }

    fn shortage(&self) -> Option<DiskShortage> {
        (self.free < self.keep_free).then_some(DiskShortage::Bytes).or(self.lacks_inodes().map(DiskShortage::Inodes))
    }
}

/// A lack of bytes or inodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DiskShortage {
    #[error(
        "the disk is full up to its reserve (disk.reserve_bytes): reads continue, writes resume when space is freed"
    )]
    Bytes,
    #[error(
        "the file system has {} of {} inodes left (see df -i): work that needs a new file is refused until others are removed",
        .0.free, .0.total
    )]
    Inodes(Inodes),
}

/// An estimate of the free space: as the system said last, less the bytes written since. Decides about each append.
#[derive(Debug, Default)]
struct UsageEstimate {
    headroom: i64,
    lacks_inodes: Option<Inodes>,
    /// When the system was last asked, on the monotonic clock.
    asked: Option<Duration>,
    /// Whether the disk lacked anything at the last append.
    was_full: bool,
}

impl UsageEstimate {
    /// Counts an append. True if the system has to be asked before the decision.
    fn count(&mut self, bytes: usize, now: Duration) -> bool {
        self.headroom = self.headroom.saturating_sub_unsigned(bytes as u64);
        self.asked.is_none_or(|asked| TRUST < now.saturating_sub(asked)) || self.headroom < CLOSE
    }

    /// Takes the answer of the system, if it gave one.
    fn learn(&mut self, usage: Option<DiskUsage>, now: Duration) {
        if let Some(usage) = usage {
            self.headroom = i64::try_from(usage.free).unwrap_or(i64::MAX).saturating_sub_unsigned(usage.keep_free);
            self.lacks_inodes = usage.lacks_inodes();
        }
        self.asked = Some(now);
    }

    /// The shortage at the counted append, and whether there was one at the append before.
    fn decide(&mut self) -> (Option<DiskShortage>, bool) {
        let full = (self.headroom < 0).then_some(DiskShortage::Bytes).or(self.lacks_inodes.map(DiskShortage::Inodes));
        (full, std::mem::replace(&mut self.was_full, full.is_some()))
    }
}

const RESERVE_MIN: u64 = 64 << 20;
/// The first append to a partition creates up to six files and directories, and replacing a small file takes one more.
const INODES_MIN: u64 = 8;
/// How long an answer of the system is trusted.
const TRUST: Duration = Duration::from_millis(500);
/// With less headroom the system is asked at each append: files are allocated ahead, and others write as well.
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

    /// Admits an append of `bytes`, or refuses it because the disk is full.
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
                    tracing::info!("the disk has space again");
                }
                Ok(())
            }
        }
    }

    /// The current shortage, if any.
    pub(crate) fn shortage(&self) -> Option<DiskShortage> {
        self.usage()?.shortage()
    }

    /// Asks the system; none if it does not answer.
    pub(crate) fn usage(&self) -> Option<DiskUsage> {
        match self.disk.space() {
            Ok(space) => {
                let keep_free = self.settings.now().broker.disk_reserve_bytes;
                let keep_free = keep_free.unwrap_or_else(|| RESERVE_MIN.max(space.total / 50));
                Some(DiskUsage { free: space.free, total: space.total, keep_free, inodes: space.inodes })
            }
            Err(error) => {
                tracing::warn!(%error, "cannot read the free disk space");
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
    fn a_lack_of_inodes_is_reported_and_refuses_no_append() {
        let disk = MemDisk::default();
        let settings = Arc::new(LiveSettings::new(BrokerSettings::of(BrokerConfig::at("/")), None));
        let metrics = Metrics::for_test();
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
        let reserve = DiskReserve::new(Arc::new(disk.clone()), clock, Health::new(Metrics::for_test()), settings);
        assert!(reserve.admit(50).is_ok());
        disk.set_capacity(800);
        assert_eq!(reserve.admit(50).unwrap_err().code, ErrorCode::DiskFull);
        disk.set_capacity(10_000);
        assert!(reserve.admit(50).is_ok());
    }
}
