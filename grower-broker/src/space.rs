//! Room on the disk. Below a reserve producers are refused, so that retention, deletes and metadata can still work and
//! a full disk never becomes a failed write.

use crate::config::settings::LiveSettings;
use crate::health::Health;
use grower_protocol::message::{ErrorCode, Failure};
use grower_storage::disk::Disk;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The gate that each append passes.
pub(crate) struct Space {
    disk: Arc<dyn Disk>,
    health: Health,
    /// Say how much to keep free.
    settings: Arc<LiveSettings>,
    estimate: Mutex<Estimate>,
}

/// The file system as it is now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) free: u64,
    pub(crate) total: u64,
    /// Producers are refused when less than this is free.
    pub(crate) reserve: u64,
}

/// What was free when last asked, less what was written since.
struct Estimate {
    headroom: i64,
    asked: Option<Instant>,
}

const RESERVE_MIN: u64 = 64 << 20;
/// How long an answer of the system holds.
const TRUST: Duration = Duration::from_millis(500);
/// With less headroom than this, ask again at each append: files are allocated ahead, and others write as well.
const CLOSE: i64 = 64 << 20;

impl Space {
    pub(crate) fn new(disk: Arc<dyn Disk>, health: Health, settings: Arc<LiveSettings>) -> Self {
        Self { disk, health, settings, estimate: Mutex::new(Estimate { headroom: 0, asked: None }) }
    }

    /// Lets `bytes` more be written, or says that the disk is full for now.
    pub(crate) fn admit(&self, bytes: usize) -> Result<(), Failure> {
        let mut estimate = self.estimate.lock();
        estimate.headroom = estimate.headroom.saturating_sub_unsigned(bytes as u64);
        if estimate.asked.is_none_or(|asked| TRUST < asked.elapsed()) || estimate.headroom < CLOSE {
            self.ask(&mut estimate);
        }
        let full = estimate.headroom < 0;
        drop(estimate);
        self.health.metrics().disk_full(full);
        if full {
            return Err(Failure::new(
                ErrorCode::DiskFull,
                "the disk is full up to its reserve (disk.reserve_bytes): reads go on, writes resume when space is freed",
            ));
        }
        Ok(())
    }

    /// Whether writes are refused now.
    pub(crate) fn is_full(&self) -> bool {
        let mut estimate = self.estimate.lock();
        self.ask(&mut estimate);
        estimate.headroom < 0
    }

    fn ask(&self, estimate: &mut Estimate) {
        if let Some(Room { free, reserve, .. }) = self.room() {
            estimate.headroom = i64::try_from(free).unwrap_or(i64::MAX).saturating_sub_unsigned(reserve);
        }
        estimate.asked = Some(Instant::now());
    }

    /// Asks the system; none if it does not say.
    pub(crate) fn room(&self) -> Option<Room> {
        match self.disk.space() {
            Ok(space) => {
                let reserve = self.settings.now().broker.disk_reserve_bytes;
                let reserve = reserve.unwrap_or_else(|| RESERVE_MIN.max(space.total / 50));
                Some(Room { free: space.free, total: space.total, reserve })
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
    use crate::config::{BrokerConfig, settings::Settings};
    use crate::metrics::Metrics;
    use grower_storage::disk::MemDisk;

    #[test]
    fn writes_stop_at_the_reserve_and_resume_without_a_restart() {
        let disk = MemDisk::default();
        disk.set_capacity(1_000);
        let config = BrokerConfig { disk_reserve_bytes: Some(900), ..BrokerConfig::at("/") };
        let settings = Arc::new(LiveSettings::new(Settings::of(config), None));
        let space = Space::new(Arc::new(disk.clone()), Health::new(Metrics::new()), settings);
        assert!(space.admit(50).is_ok());
        disk.set_capacity(800);
        assert_eq!(space.admit(50).unwrap_err().code, ErrorCode::DiskFull);
        disk.set_capacity(10_000);
        assert!(space.admit(50).is_ok());
    }
}
