//! Expiry of producer states: after a day without a batch, and earlier if too many are kept, the longest silent first.
//! A producer that returns later can write; only a retry of an earlier batch is not recognized. States of named
//! producers are kept as long as their names, which expire after their own retention time.

use super::Topics;
use crate::background;
use crate::config::settings::LiveSettings;
use crate::memory::StateKind;
use grower_protocol::ids::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The age of expired states, in milliseconds.
const EXPIRY_MS: u64 = 24 * 60 * 60 * 1000;
/// States younger than this, in milliseconds, do not expire for lack of memory.
const ACTIVE_MS: u64 = 1_000;
/// The interval between checks of the memory.
const LOOK_EACH: Duration = Duration::from_secs(1);
/// The number of checks between two for expired states.
const EXPIRE_EACH: u32 = 60;

impl Topics {
    /// Expires producer states until `stop`.
    pub(crate) async fn run_producers(self: Arc<Self>, settings: Arc<LiveSettings>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK_EACH);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        for look in 0u32.. {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => return,
            }
            self.clock.observe();
            let expires = look.is_multiple_of(EXPIRE_EACH);
            if expires
                && let Err(failure) = self.expire_named_producers(settings.now().broker.producers.named_retention).await
            {
                tracing::warn!(%failure, "unused named producers are not deleted yet; the broker tries again");
            }
            let topics = self.clone();
            let looked = background::blocking(move || {
                if expires {
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

    /// Above seven eighths of the memory for states, drops the longest silent ones until a quarter is free.
    fn bound_producers(&self, now: Timestamp) {
        let most = self.memory.state_bytes_max(StateKind::Producers);
        if self.memory.state_bytes(StateKind::Producers) < most / 8 * 7 {
            return;
        }
        let mut silent_ms = EXPIRY_MS;
        while ACTIVE_MS < silent_ms && most / 4 * 3 < self.memory.state_bytes(StateKind::Producers) {
            self.forget_producers(now, silent_ms);
            silent_ms /= 2;
        }
    }
}

#[cfg(test)]
mod tests;
