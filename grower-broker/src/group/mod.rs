//! The group coordinator's shell: shards of groups, each with a partition of the internal topic that remembers for it.
//!
//! A [step](step) of a group is decided under its shard's lock and written down without it. Steps of one group follow each
//! other in the order in which their requests [arrived](queues), so the log has the order of the steps; groups do not wait
//! for each other. The answer waits, without any lock, until what the group itself wrote is durable. The records are
//! ordinary batches in an ordinary compacted topic, created when the first group is.

pub mod state;

mod catalog;
mod decide;
mod heartbeats;
mod housekeeping;
mod load;
mod memory_refusals;
mod pages;
mod positions;
mod queues;
mod served_shard;

pub(crate) use heartbeats::{HeartbeatSender, SessionGuard};
pub(crate) use queues::QueueTicket;

use crate::clock::BrokerClock;
use crate::config::MetadataLimits;
use crate::group::state::{
    GroupActivity, GroupLimits, GroupRefusal, GroupShard, SHARDS, TOPIC, internal_topic, shard_of,
};
use crate::memory::{Memory, StateKind};
use crate::metadata::Image;
use crate::partition::{Flushers, Partition};
use crate::random::random_bytes;
use crate::topic::Topics;
use grower_protocol::ids::{GroupId, Offset, PartitionId, Timestamp, TopicId, TopicName};
use grower_protocol::message::{CommitTime, CommittedPosition, ErrorCode, Failure, GroupMemory, GroupSummary};
use heartbeats::HeartbeatWaiters;
use memory_refusals::MemoryRefusals;
use parking_lot::Mutex;
use queues::GroupQueues;
use served_shard::ServedShard;
use std::sync::Arc;

/// All groups.
pub(crate) struct Groups {
    topics: Arc<Topics>,
    flushers: Arc<Flushers>,
    clock: Arc<BrokerClock>,
    /// When they were loaded.
    loaded: Timestamp,
    shards: Vec<ServedShard>,
    queues: Arc<GroupQueues>,
    memory: Memory,
    refusals: Mutex<MemoryRefusals>,
    waiters: HeartbeatWaiters,
}

/// What those who watch the broker see of a group.
pub(crate) struct WatchedGroup {
    pub(crate) group: GroupId,
    pub(crate) members: u32,
    pub(crate) positions: Vec<CommittedPosition>,
}

/// Now, by the clock of sessions and by the calendar.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DecisionTime {
    pub(crate) at: Timestamp,
    pub(crate) date: Timestamp,
}

impl Groups {
    /// Loads every group from the internal topic. The topics must be open.
    pub(crate) fn load(
        topics: Arc<Topics>,
        flushers: Arc<Flushers>,
        clock: Arc<BrokerClock>,
        memory: &Memory,
    ) -> Result<Self, Failure> {
        let (shards, queues, waiters, refusals) =
            (Vec::new(), Arc::default(), HeartbeatWaiters::default(), Mutex::default());
        let (memory, loaded) = (memory.clone(), clock.steady());
        let mut groups = Self { topics, flushers, clock, loaded, shards, queues, memory, refusals, waiters };
        for number in (0..SHARDS).map(PartitionId::new) {
            let log = groups.served_log(number);
            let (shard, activity) = match &log {
                Ok(Some(log)) => load::load_shard(log, groups.now())?,
                Ok(None) | Err(_) => (GroupShard::new(GroupLimits::default()), GroupActivity::default()),
            };
            let unknown =
                log.err().inspect(|failure| tracing::error!(shard = %number, %failure, "groups are not served"));
            let remembered = groups.memory.remember(StateKind::Groups);
            groups.shards.push(ServedShard::new(shard, activity, remembered, unknown, groups.flushers.health()));
        }
        Ok(groups)
    }

    /// Now, by the clock of sessions, which never goes back.
    fn now(&self) -> Timestamp {
        self.clock.steady()
    }

    fn moment(&self) -> DecisionTime {
        DecisionTime { at: self.now(), date: self.clock.wall() }
    }

    /// The partition of the internal topic, once that exists; none, too, where it is not served.
    fn log_of(&self, shard: PartitionId) -> Option<Arc<Partition>> {
        self.find_log(shard).ok().flatten()
    }

    /// The same; an error says why it is not served. Its groups are then not known, and no answer may pretend that they
    /// have no offsets. A partition that is back is read at the next start.
    fn find_log(&self, shard: PartitionId) -> Result<Option<Arc<Partition>>, Failure> {
        self.live(shard).unknown.clone().map_or_else(|| self.served_log(shard), Err)
    }

    fn served_log(&self, shard: PartitionId) -> Result<Option<Arc<Partition>>, Failure> {
        let Ok(name) = TopicName::new(TOPIC) else { return Ok(None) };
        let Some(topic) = self.topics.image().topic(&name).map(|topic| topic.id) else { return Ok(None) };
        match self.topics.partition(topic, shard) {
            Ok(log) => Ok(Some(log)),
            Err(Failure { code: ErrorCode::PartitionShut, detail }) => {
                let told = format_args!("what this group has committed cannot be known for now: {detail}");
                Err(Failure::new(ErrorCode::NotReady, told))
            }
            Err(_) => Ok(None),
        }
    }

    /// The same, created on first use.
    async fn log_for(&self, shard: PartitionId) -> Result<Arc<Partition>, Failure> {
        if let Some(log) = self.find_log(shard)? {
            return Ok(log);
        }
        let wish = internal_topic().map_err(|error| Failure::new(ErrorCode::Internal, error))?;
        let (id, now) = (TopicId::from_random(random_bytes()), self.clock.wall());
        let created = self
            .topics
            .change(move |image| Ok(image.create_any_topic(&wish, id, now, &MetadataLimits::default())?))
            .await;
        match created {
            Err(failure) if failure.code != ErrorCode::TopicExists => return Err(failure),
            _ => {}
        }
        self.log_of(shard).ok_or_else(|| Failure::new(ErrorCode::NotReady, "the group coordinator is starting"))
    }

    /// Enters the queue of those who change a group: to be called when a request arrives.
    pub(crate) fn enter(&self, group: &GroupId) -> QueueTicket {
        self.queues.enter(group)
    }

    /// Looks at offsets of `group`, which change when they are in the log. What it sees is durable when this returns.
    pub(crate) async fn look<T>(
        &self,
        group: &GroupId,
        look: impl FnOnce(&GroupShard, DecisionTime) -> T,
    ) -> Result<T, Failure> {
        let seen = look(&self.live(shard_of(group)).shard.lock(), self.moment());
        self.durable_group(group).await?;
        Ok(seen)
    }

    /// Looks at members of `group`, which change when a step is decided. What it sees is durable when this returns, but for
    /// what could not be written down, on a full disk: the coordinator goes by that, and writes it down with the next step.
    pub(crate) async fn look_at_members<T>(
        &self,
        group: &GroupId,
        look: impl FnOnce(&GroupShard, DecisionTime) -> T,
    ) -> Result<T, Failure> {
        let seen = look(&self.live(shard_of(group)).shard.lock(), self.moment());
        self.queues.pass(group).await;
        self.durable_group(group).await?;
        Ok(seen)
    }

    /// Returns when what the log has of a group is durable.
    async fn durable_group(&self, group: &GroupId) -> Result<(), Failure> {
        let end = self.live(shard_of(group)).written.lock().of(group);
        match self.find_log(shard_of(group))? {
            Some(log) => self.durable(&log, end).await,
            None => Ok(()),
        }
    }

    /// When a group last committed. What it sees is durable when this returns.
    pub(crate) async fn commits(&self, group: &GroupId) -> Result<Vec<CommitTime>, Failure> {
        self.look(group, |_, _| self.live(shard_of(group)).activity.lock().commits(group)).await
    }

    /// What groups take of memory, and which could not grow of late.
    pub(crate) fn describe_memory(&self) -> GroupMemory {
        GroupMemory {
            used: self.memory.remembered(StateKind::Groups) as u64,
            max: self.memory.state_bytes_max() as u64,
            refused: self.refusals.lock().of_late(self.now()),
        }
    }

    /// Every group with the number of its members and its positions, sorted, for those who watch the broker.
    pub(crate) fn watch_all(&self) -> Vec<WatchedGroup> {
        let mut all = Vec::new();
        for live in &self.shards {
            let shard = live.shard.lock();
            all.extend(shard.list().into_iter().map(|GroupSummary { group, members, .. }| {
                let positions = shard.fetch_positions(&group, None);
                WatchedGroup { group, members, positions }
            }));
        }
        all.sort_by(|a, b| a.group.cmp(&b.group));
        all
    }

    fn live(&self, number: PartitionId) -> &ServedShard {
        &self.shards[number.value() as usize % self.shards.len()]
    }

    /// Where the log of a partition ends, for the check of commits.
    pub(crate) fn log_end(&self, topic: TopicId, partition: PartitionId) -> Option<Offset> {
        self.topics.partition(topic, partition).ok().map(|partition| partition.reader().span().end)
    }

    /// Refuses a topic of so many partitions if the groups that read it would take more memory than is left for them.
    pub(crate) fn check_topic(&self, image: &Image, name: &TopicName, partitions: u32) -> Result<(), Failure> {
        let growth = |live: &ServedShard| live.shard.lock().growth_by_topic(name, partitions, image);
        let bytes = self.shards.iter().map(growth).sum();
        let left = self.memory.state_room(StateKind::Groups);
        if bytes <= left { Ok(()) } else { Err(GroupRefusal::MemoryFull { bytes, left }.into()) }
    }
}
