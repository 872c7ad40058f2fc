//! The only place that asks what time it is.

use grower_protocol::ids::Timestamp;
use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the wall-clock time. Safety never depends on it: it ages segments, producers and members.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }
}

/// For tests: goes when it is told to.
#[cfg(test)]
#[derive(Default)]
pub(crate) struct Calendar(std::sync::atomic::AtomicI64);

#[cfg(test)]
impl Calendar {
    pub(crate) fn pass(&self, millis: i64) {
        self.0.fetch_add(millis, std::sync::atomic::Ordering::Relaxed);
    }
}

#[cfg(test)]
impl Clock for Calendar {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(std::sync::atomic::Ordering::Relaxed))
    }
}
