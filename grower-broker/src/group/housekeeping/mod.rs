//! Work on groups that no request asks for: expiry of members, changes of topics, deletion of inactive groups, and the
//! configuration of the internal topic.
//!
//! Each shard with work has a task of its own: a disk that delays the log of one shard delays no other.

use super::Groups;
use crate::config::settings::LiveSettings;
use crate::group::state::{GroupDecision, GroupShard, internal_topic, shard_of};
use crate::partition::Partition;
use grower_protocol::ids::{GroupId, PartitionId, Timestamp, TopicId};
use grower_protocol::message::{ErrorCode, Failure};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// The interval between checks for expired members.
const EXPIRY_INTERVAL: Duration = Duration::from_millis(100);
/// A tick that is later than this, in milliseconds, shows that the broker stood still: it may have heard no member.
const STOOD_STILL_MS: u64 = 1_000;
/// The interval between checks for inactive groups.
const INACTIVE_INTERVAL: Duration = Duration::from_secs(60);
/// No group is deleted before this time after a start, in milliseconds: members come back after a long outage first,
/// and a wall clock that was wrong at the boot is corrected.
const GRACE_MS: u64 = 60 * 60 * 1000;

/// The pending work of one shard.
#[derive(Clone, Copy, Debug, Default)]
struct ShardWork {
    topics_changed: bool,
    delete_inactive: bool,
    /// A task is at work on the shard.
    is_running: bool,
}

impl Groups {
    /// Expires members, follows changes of topics, and deletes inactive groups, until `stop`.
    pub(crate) async fn run(self: Arc<Self>, settings: Arc<LiveSettings>, stop: CancellationToken) {
        let [mut ticks, mut inactive_ticks] = [EXPIRY_INTERVAL, INACTIVE_INTERVAL].map(|each| {
            let mut ticks = tokio::time::interval(each);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        let mut work = vec![ShardWork::default(); self.shards.len()];
        let mut tasks: JoinSet<usize> = JoinSet::new();
        let mut looked = self.now();
        let mut settings_changes = settings.changes();
        let mut version = self.topics.image().version();
        loop {
            let changed = self.topics.changed();
            tokio::select! {
                _ = ticks.tick() => self.notice_pause(std::mem::replace(&mut looked, self.now())),
                _ = settings_changes.changed() => inactive_ticks.reset_immediately(),
                _ = inactive_ticks.tick() => work.iter_mut().for_each(|work| work.delete_inactive = true),
                () = changed => work.iter_mut().for_each(|work| work.topics_changed = true),
                Some(done) = tasks.join_next() => match done {
                    Ok(number) => {
                        debug_assert!(work[number].is_running, "a shard's work ended twice");
                        work[number].is_running = false;
                    }
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                },
                () = stop.cancelled() => break,
            }
            let newest = self.topics.image().version(); // A change while this task was busy notifies nothing.
            if std::mem::replace(&mut version, newest) != newest {
                work.iter_mut().for_each(|work| work.topics_changed = true);
            }
            for (number, work) in work.iter_mut().enumerate().filter(|(_, work)| !work.is_running) {
                let due = self.shards[number].shard.lock().due(self.now());
                if work.topics_changed || work.delete_inactive || !due.is_empty() {
                    let work = std::mem::replace(work, ShardWork { is_running: true, ..ShardWork::default() });
                    tasks.spawn(self.clone().look_after(number, work, due, settings.clone()));
                }
            }
        }
        while tasks.join_next().await.is_some() {} // Appends under way are finished.
    }

    /// Extends sessions after a pause: while the process was suspended or had no CPU, it could receive no heartbeat.
    fn notice_pause(&self, last: Timestamp) {
        let millis = self.now().millis_since(last);
        if STOOD_STILL_MS <= millis {
            tracing::warn!(millis, "the broker stood still: sessions of group members are extended by that time");
            self.shards.iter().for_each(|live| live.shard.lock().extend_sessions(millis));
        }
    }

    async fn look_after(
        self: Arc<Self>,
        number: usize,
        work: ShardWork,
        due: Vec<GroupId>,
        settings: Arc<LiveSettings>,
    ) -> usize {
        let shard = PartitionId::new(number as u32);
        self.expire(shard, due).await;
        if work.topics_changed {
            self.follow_topics(shard).await;
        }
        if work.delete_inactive {
            self.delete_inactive(shard, settings.now().broker.offsets_retention).await;
        }
        if let Some(log) = self.log_of(shard) {
            self.sync_changes(&log);
        }
        number
    }

    async fn expire(&self, number: PartitionId, due: Vec<GroupId>) {
        let Some(log) = self.log_of(number) else { return };
        for group in due {
            // A busy group is due again at the next check.
            let Some(ticket) = self.queues.try_enter(&group) else { continue };
            let expired =
                self.decide_and_append(ticket, &group, &log, |shard, now, _| shard.expire(&group, now.steady)).await;
            warn_if_not_written(expired);
        }
    }

    async fn follow_topics(&self, number: PartitionId) {
        let affected = self.live(number).shard.lock().affected_by_topics(&*self.topics.image());
        for group in affected {
            self.decide_unasked(&group, |shard, image| shard.topics_changed(&group, image)).await;
        }
    }

    /// Deletes the offsets of a deleted topic.
    pub(crate) async fn delete_offsets_of(&self, topic: TopicId) {
        for live in &self.shards {
            let groups = live.shard.lock().groups_with_offsets_in(topic);
            for group in groups {
                self.decide_unasked(&group, |shard, _| shard.topic_deleted(&group, topic)).await;
            }
        }
    }

    /// Deletes the offsets of topics that were deleted just before a crash.
    pub(crate) async fn delete_offsets_of_unknown_topics(&self) {
        let image = self.topics.image();
        let topics = self.shards.iter().flat_map(|live| live.shard.lock().topics_with_offsets());
        let unknown: BTreeSet<TopicId> = topics.filter(|topic| image.topic_by_id(*topic).is_none()).collect();
        for topic in unknown {
            self.delete_offsets_of(topic).await;
        }
    }

    /// Deletes groups without members that were inactive for `retention`, with their offsets.
    pub(super) async fn delete_inactive(&self, number: PartitionId, retention: Duration) {
        let Some(log) = self.log_of(number) else { return };
        let now = self.clock.steady();
        if now.millis_since(self.loaded) < GRACE_MS {
            return;
        }
        let retention_ms = u64::try_from(retention.as_millis()).unwrap_or(u64::MAX);
        let inactive = || self.live(number).activity.lock().inactive_for(retention_ms, self.clock.cautious(), now);
        for group in inactive() {
            let ticket = self.enter(&group);
            // Checked again under the group's lock: the group may have been used meanwhile.
            let delete = |shard: &mut GroupShard| {
                if inactive().contains(&group) { shard.delete(&group) } else { GroupDecision::nothing() }
            };
            match self.decide_and_append(ticket, &group, &log, |shard, _, _| delete(shard)).await {
                Ok((Ok(()), _)) => tracing::info!(%group, "deleted an inactive group"),
                Ok((Err(_), _)) => {} // The group has members.
                Err(failure) => {
                    tracing::warn!(%failure, %group, "an inactive group could not be deleted; the broker tries again")
                }
            }
        }
    }

    /// Makes a decision that no request asks for, and does not wait until it is durable.
    async fn decide_unasked(
        &self,
        group: &GroupId,
        take: impl FnOnce(&mut GroupShard, &crate::metadata::Image) -> GroupDecision<()>,
    ) {
        let Some(log) = self.log_of(shard_of(group)) else { return };
        warn_if_not_written(
            self.decide_and_append(self.enter(group), group, &log, |shard, _, image| take(shard, image)).await,
        );
        self.sync_changes(&log);
    }

    /// Syncs the log soon if it has new records. Most calls find none.
    fn sync_changes(&self, log: &Arc<Partition>) {
        if !log.is_durable(log.reader().span().end) {
            self.sync_pool.sync_later(log);
        }
    }

    /// Gives an internal topic that an earlier version made the configs that it would be made with today.
    pub(crate) async fn update_internal_topic(&self) -> Result<(), Failure> {
        let request = internal_topic().map_err(|error| Failure::new(ErrorCode::Internal, error))?;
        let image = self.topics.image();
        let Some(topic) = image.topic(&request.name) else { return Ok(()) };
        if self.shards.iter().any(|live| live.unknown.is_some()) {
            return Ok(()); // The minimum epoch of such a shard cannot be written again: the next start tries.
        }
        let changes = request.configs.iter().filter(|(key, value)| topic.configs.get(key) != Some(value));
        let changes: Vec<_> = changes.map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
        if changes.is_empty() {
            return Ok(());
        }
        // Compaction keeps a shard's last minimum epoch. In logs of earlier versions it may not be the largest.
        for number in (0..).map(PartitionId::new).take(self.shards.len()) {
            let Some(log) = self.log_of(number) else { continue };
            let live = self.live(number);
            let mut decision = live.shard.lock().repeat_minimum_epoch();
            self.write(&mut decision, live, None, &log).await?;
            self.sync_pool.durable(&log).await?;
        }
        self.topics.change(move |image| Ok(image.alter_any_topic(&request.name, &changes)?)).await.map(drop)
    }
}

fn warn_if_not_written<T>(written: Result<T, Failure>) {
    if let Err(failure) = written {
        tracing::warn!(%failure, "a change of a group could not be written; the broker tries again");
    }
}

#[cfg(test)]
mod tests;
