//! What keeps the logs of groups short: the internal topic is compacted, and groups that nobody uses are forgotten.

use super::Groups;
use crate::group::internal_topic;
use grower_protocol::ids::PartitionId;
use grower_protocol::message::{ErrorCode, Failure};
use std::time::Duration;

/// How often groups that nobody uses are looked for.
pub(super) const EACH: Duration = Duration::from_secs(60);
/// Nothing is forgotten so soon after a start, in milliseconds: members that a long outage kept silent come back first, and a
/// wall clock that was wrong at the boot is set right.
const GRACE_MS: u64 = 60 * 60 * 1000;

impl Groups {
    /// Forgets groups without members of which nothing was heard for `retention`, offsets and all.
    pub(super) async fn forget_unused(&self, retention: Duration) {
        let now = self.clock.steady();
        if now.millis_since(self.loaded) < GRACE_MS {
            return;
        }
        let retention_ms = u64::try_from(retention.as_millis()).unwrap_or(u64::MAX);
        for number in (0..).map(PartitionId::new).take(self.shards.len()) {
            let Some(log) = self.log_of(number) else { return };
            let silent = self.ages(number).lock().silent_for(retention_ms, self.clock.cautious(), now);
            for group in silent {
                let settled = {
                    let mut shard = self.shard(number).lock();
                    let step = shard.delete(&group);
                    self.settle(step, &mut shard, &log)
                };
                match settled {
                    Ok(Ok(())) => tracing::info!(%group, "forgot a group that nobody used"),
                    Ok(Err(_)) => {} // It has members.
                    Err(failure) => {
                        tracing::warn!(%failure, %group, "a group could not be forgotten; it is tried again")
                    }
                }
            }
            self.sync_news(&log);
        }
    }

    /// Gives an internal topic that an earlier version made the configs that it would be made with today.
    pub(crate) async fn update_internal_topic(&self) -> Result<(), Failure> {
        let wish = internal_topic().map_err(|error| Failure::new(ErrorCode::Internal, error))?;
        let image = self.topics.image();
        let Some(topic) = image.topic(&wish.name) else { return Ok(()) };
        let news = wish.configs.iter().filter(|(key, value)| topic.configs.get(key) != Some(value));
        let news: Vec<_> = news.map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
        if news.is_empty() {
            return Ok(());
        }
        // Compaction keeps a shard's last floor, which earlier versions did not take care to make the highest.
        for number in (0..).map(PartitionId::new).take(self.shards.len()) {
            let Some(log) = self.log_of(number) else { continue };
            {
                let mut shard = self.shard(number).lock();
                let step = shard.repeat_floor();
                self.settle(step, &mut shard, &log)??;
            }
            self.flushers.durable(&log).await?;
        }
        self.topics.change(|image| Ok(image.alter_any_topic(&wish.name, &news)?)).await.map(drop)
    }
}

#[cfg(test)]
mod tests;
