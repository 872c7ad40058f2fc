//! What is done for groups unasked: members expire, topics come and go, groups that nobody uses are forgotten, and the
//! internal topic is kept compacted.
//!
//! Each shard is looked after by a task of its own that lives as long as there is something to do: a disk that holds up the
//! log of one shard holds up no other.

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

/// How often silent members are looked for.
const EXPIRE_EACH: Duration = Duration::from_millis(100);
/// A tick that is later than this, in milliseconds, shows that the broker stood still: it may have heard no member.
const STOOD_STILL_MS: u64 = 1_000;
/// How often groups that nobody uses are looked for.
const UNUSED_EACH: Duration = Duration::from_secs(60);
/// Nothing is forgotten so soon after a start, in milliseconds: members that a long outage kept silent come back first, and a
/// wall clock that was wrong at the boot is set right.
const GRACE_MS: u64 = 60 * 60 * 1000;

/// What is to be done in one shard.
#[derive(Clone, Copy, Debug, Default)]
struct ShardWork {
    topics_changed: bool,
    forget_unused: bool,
    /// A task is at it.
    under_way: bool,
}

impl Groups {
    /// Expires members, follows changes of topics, and forgets groups that nobody uses, until `stop`.
    pub(crate) async fn run(self: Arc<Self>, settings: Arc<LiveSettings>, stop: CancellationToken) {
        let [mut ticks, mut unused] = [EXPIRE_EACH, UNUSED_EACH].map(|each| {
            let mut ticks = tokio::time::interval(each);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        let mut chores = vec![ShardWork::default(); self.shards.len()];
        let mut tasks: JoinSet<usize> = JoinSet::new();
        let mut looked = self.now();
        let mut settings_changes = settings.changes();
        let mut version = self.topics.image().version();
        loop {
            let changed = self.topics.changed();
            tokio::select! {
                _ = ticks.tick() => self.notice_pause(std::mem::replace(&mut looked, self.now())),
                _ = settings_changes.changed() => unused.reset_immediately(),
                _ = unused.tick() => chores.iter_mut().for_each(|chores| chores.forget_unused = true),
                () = changed => chores.iter_mut().for_each(|chores| chores.topics_changed = true),
                Some(done) = tasks.join_next() => match done {
                    Ok(number) => chores[number].under_way = false,
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                },
                () = stop.cancelled() => break,
            }
            let newest = self.topics.image().version(); // Nothing tells of a change that came while this task was busy.
            if std::mem::replace(&mut version, newest) != newest {
                chores.iter_mut().for_each(|chores| chores.topics_changed = true);
            }
            for (number, chores) in chores.iter_mut().enumerate().filter(|(_, chores)| !chores.under_way) {
                let due = self.shards[number].shard.lock().due(self.now());
                if chores.topics_changed || chores.forget_unused || !due.is_empty() {
                    let todo = std::mem::replace(chores, ShardWork { under_way: true, ..ShardWork::default() });
                    tasks.spawn(self.clone().look_after(number, todo, due, settings.clone()));
                }
            }
        }
        while tasks.join_next().await.is_some() {} // What is being written is written to its end.
    }

    /// If the process was stopped, or had no processor, its members were not silent.
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
        todo: ShardWork,
        due: Vec<GroupId>,
        settings: Arc<LiveSettings>,
    ) -> usize {
        let shard = PartitionId::new(number as u32);
        self.expire(shard, due).await;
        if todo.topics_changed {
            self.follow_topics(shard).await;
        }
        if todo.forget_unused {
            self.forget_unused(shard, settings.now().broker.offsets_retention).await;
        }
        if let Some(log) = self.log_of(shard) {
            self.sync_changes(&log);
        }
        number
    }

    async fn expire(&self, number: PartitionId, due: Vec<GroupId>) {
        let Some(log) = self.log_of(number) else { return };
        for group in due {
            // A group that is in somebody's hand is due again after a moment.
            let Some(ticket) = self.queues.try_enter(&group) else { continue };
            let expired =
                self.decide_and_append(ticket, &group, &log, |shard, now, _| shard.expire(&group, now.at)).await;
            warn_if_unwritten(expired);
        }
    }

    async fn follow_topics(&self, number: PartitionId) {
        let affected = self.live(number).shard.lock().affected_by_topics(&*self.topics.image());
        for group in affected {
            self.decide_unasked(&group, |shard, image| shard.topics_changed(&group, image)).await;
        }
    }

    /// A topic is gone, and with it what groups remember of it.
    pub(crate) async fn forget_topic(&self, topic: TopicId) {
        for live in &self.shards {
            let groups = live.shard.lock().remembers_topic(topic);
            for group in groups {
                self.decide_unasked(&group, |shard, _| shard.topic_deleted(&group, topic)).await;
            }
        }
    }

    /// Offsets of topics that were deleted just before a crash.
    pub(crate) async fn forget_unknown_topics(&self) {
        let image = self.topics.image();
        let remembered = self.shards.iter().flat_map(|live| live.shard.lock().remembered_topics());
        let unknown: BTreeSet<TopicId> = remembered.filter(|topic| image.topic_by_id(*topic).is_none()).collect();
        for topic in unknown {
            self.forget_topic(topic).await;
        }
    }

    /// Forgets groups without members of which nothing was heard for `retention`, offsets and all.
    pub(super) async fn forget_unused(&self, number: PartitionId, retention: Duration) {
        let Some(log) = self.log_of(number) else { return };
        let now = self.clock.steady();
        if now.millis_since(self.loaded) < GRACE_MS {
            return;
        }
        let retention_ms = u64::try_from(retention.as_millis()).unwrap_or(u64::MAX);
        let silent = || self.live(number).activity.lock().inactive_for(retention_ms, self.clock.cautious(), now);
        for group in silent() {
            let ticket = self.enter(&group);
            // Looked at again when it has its ticket: it may have been used meanwhile.
            let forget = |shard: &mut GroupShard| {
                if silent().contains(&group) { shard.delete(&group) } else { GroupDecision::nothing() }
            };
            match self.decide_and_append(ticket, &group, &log, |shard, _, _| forget(shard)).await {
                Ok((Ok(()), _)) => tracing::info!(%group, "forgot a group that nobody used"),
                Ok((Err(_), _)) => {} // It has members.
                Err(failure) => tracing::warn!(%failure, %group, "a group could not be forgotten; it is tried again"),
            }
        }
    }

    /// A step that no request asks for. Nobody waits until it is durable.
    async fn decide_unasked(
        &self,
        group: &GroupId,
        take: impl FnOnce(&mut GroupShard, &crate::metadata::Image) -> GroupDecision<()>,
    ) {
        let Some(log) = self.log_of(shard_of(group)) else { return };
        warn_if_unwritten(
            self.decide_and_append(self.enter(group), group, &log, |shard, _, image| take(shard, image)).await,
        );
        self.sync_changes(&log);
    }

    /// Has the log synced soon if there is anything new in it: this is asked often, mostly for nothing.
    fn sync_changes(&self, log: &Arc<Partition>) {
        if !log.is_committed(log.reader().span().end) {
            self.flushers.sync_later(log);
        }
    }

    /// Gives an internal topic that an earlier version made the configs that it would be made with today.
    pub(crate) async fn update_internal_topic(&self) -> Result<(), Failure> {
        let wish = internal_topic().map_err(|error| Failure::new(ErrorCode::Internal, error))?;
        let image = self.topics.image();
        let Some(topic) = image.topic(&wish.name) else { return Ok(()) };
        if self.shards.iter().any(|live| live.unknown.is_some()) {
            return Ok(()); // The floor of such a shard could not be repeated: the next start tries again.
        }
        let news = wish.configs.iter().filter(|(key, value)| topic.configs.get(key) != Some(value));
        let news: Vec<_> = news.map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
        if news.is_empty() {
            return Ok(());
        }
        // Compaction keeps a shard's last floor, which earlier versions did not take care to make the highest.
        for number in (0..).map(PartitionId::new).take(self.shards.len()) {
            let Some(log) = self.log_of(number) else { continue };
            let live = self.live(number);
            let mut step = live.shard.lock().repeat_minimum_epoch();
            self.write(&mut step, live, None, &log).await?;
            self.flushers.durable(&log).await?;
        }
        self.topics.change(move |image| Ok(image.alter_any_topic(&wish.name, &news)?)).await.map(drop)
    }
}

fn warn_if_unwritten<T>(written: Result<T, Failure>) {
    if let Err(failure) = written {
        tracing::warn!(%failure, "a change of a group could not be written down; it is tried again");
    }
}

#[cfg(test)]
mod tests;
