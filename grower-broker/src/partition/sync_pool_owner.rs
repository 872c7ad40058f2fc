//! The owner of the sync pool: starts its threads, and ends them when it is dropped.

use super::SyncPool;
use crate::clock::BrokerClock;
use crate::config::settings::LiveSettings;
use crate::health::Health;
use crate::stall_watchdog::StallWatchdog;
use grower_storage::disk::Disk;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

/// Owns the sync pool. Its threads run until this is dropped.
pub(crate) struct SyncPoolOwner(Arc<SyncPool>);

impl SyncPoolOwner {
    pub(crate) fn start(
        disk: Arc<dyn Disk>,
        clock: Arc<BrokerClock>,
        health: Health,
        on_sync: impl Fn(Duration) + Send + Sync + 'static,
        settings: Arc<LiveSettings>,
        stall_watchdog: Arc<StallWatchdog>,
    ) -> Self {
        let pool = SyncPool::start(disk, clock.clone(), health, Box::new(on_sync), settings, stall_watchdog);
        pool.spawn("grower-idle", move |pool| pool.idle.run(&clock, &pool.health, || pool.is_contended()));
        Self(pool)
    }

    /// Ends the pool once its queue is empty. Nothing is appended afterwards.
    pub(crate) fn stop(&self) {
        self.0.stop();
    }
}

impl Deref for SyncPoolOwner {
    type Target = Arc<SyncPool>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Drop for SyncPoolOwner {
    fn drop(&mut self) {
        self.stop();
    }
}
