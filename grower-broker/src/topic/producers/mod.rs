//! Producers that are no longer heard of: forgotten after a day, and earlier if too many are remembered, the longest
//! silent ones first. One that comes back after that writes on; only a retry of what it sent before is not recognized.

use super::Topics;
use crate::background;
use crate::memory::StateKind;
use grower_protocol::ids::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A producer that was silent for so long is forgotten, in milliseconds.
const EXPIRY_MS: u64 = 24 * 60 * 60 * 1000;
/// Who was heard of within this time, in milliseconds, is not forgotten to make room.
const ACTIVE_MS: u64 = 1_000;
/// How often it is looked whether there are too many.
const LOOK_EACH: Duration = Duration::from_secs(1);
/// How many looks lie between two that forget whoever expired.
const EXPIRE_EACH: u32 = 60;

impl Topics {
    /// Forgets producers until `stop`.
    pub(crate) async fn run_producers(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK_EACH);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        for look in 0u32.. {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => return,
            }
            self.clock.observe();
            let topics = self.clone();
            let looked = background::blocking(move || {
                if look.is_multiple_of(EXPIRE_EACH) {
                    topics.forget_producers(topics.clock.steady(), EXPIRY_MS);
                }
                topics.bound_producers(topics.clock.steady());
            });
            if looked.await.is_err() {
                tracing::error!("expiring producers failed; the broker tries again");
            }
        }
    }

    fn forget_producers(&self, now: Timestamp, silent_ms: u64) {
        self.all().iter().for_each(|partition| partition.forget_producers(now, silent_ms));
    }

    /// When seven eighths of what they may take are taken, looks for the longest silent until a quarter is free.
    fn bound_producers(&self, now: Timestamp) {
        let most = self.memory.state_bytes_max();
        if self.memory.remembered(StateKind::Producers) < most / 8 * 7 {
            return;
        }
        let mut silent_ms = EXPIRY_MS;
        while ACTIVE_MS < silent_ms && most / 4 * 3 < self.memory.remembered(StateKind::Producers) {
            self.forget_producers(now, silent_ms);
            silent_ms /= 2;
        }
    }
}

#[cfg(test)]
mod tests;
