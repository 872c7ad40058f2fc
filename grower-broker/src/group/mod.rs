//! The group coordinator's shell: it carries out the decisions of [`state`].
//!
//! Groups live in shards, each with a partition of the internal topic as its log. A decision (`decide`) about a group
//! is made under its shard's lock and appended without it. Requests of one group follow each other in the order of
//! their arrival (`queues`), so the log has the order of the decisions. Groups do not wait for each other. An answer
//! waits, without a lock, until the group's own records are durable. The internal topic is an ordinary compacted
//! topic, created with the first group.

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

pub(crate) use heartbeats::HeartbeatSender;
pub(crate) use queues::QueueTicket;

use crate::clock::BrokerClock;
use crate::config::MetadataLimits;
use crate::group::state::{
    GroupActivity, GroupLimits, GroupRefusal, GroupShard, SHARDS, TOPIC, internal_topic, shard_of,
};
use crate::memory::{Memory, StateKind};
use crate::metadata::Image;
use crate::partition::{Partition, SyncPoolOwner};
use crate::random::random_bytes;
use crate::topic::Topics;
use grower_protocol::ids::{GroupId, Offset, PartitionId, Timestamp, TopicId, TopicName};
use grower_protocol::message::{CommitTime, CommittedOffset, ErrorCode, Failure, GroupMemory};
use heartbeats::HeartbeatWaiters;
use memory_refusals::MemoryRefusals;
use parking_lot::Mutex;
use queues::GroupQueues;
use served_shard::ServedShard;
use std::sync::Arc;

/// All groups of this broker.
pub(crate) struct Groups {
    topics: Arc<Topics>,
    sync_pool: Arc<SyncPoolOwner>,
    clock: Arc<BrokerClock>,
    /// The time of loading.
    loaded: Timestamp,
    shards: Vec<ServedShard>,
    queues: Arc<GroupQueues>,
    memory: Memory,
    refusals: Mutex<MemoryRefusals>,
    waiters: HeartbeatWaiters,
}

/// A group as metrics show it.
pub(crate) struct GroupFigures {
    pub(crate) group: GroupId,
    pub(crate) members: usize,
    pub(crate) offsets: Vec<CommittedOffset>,
}

/// The time of a decision by the monotonic clock and by the wall clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DecisionTime {
    pub(crate) steady: Timestamp,
    pub(crate) wall: Timestamp,
}

impl Groups {
    /// Loads every group from the internal topic. The topics must be open.
    pub(crate) fn load(
        topics: Arc<Topics>,
        sync_pool: Arc<SyncPoolOwner>,
        clock: Arc<BrokerClock>,
        memory: &Memory,
    ) -> Result<Self, Failure> {
        let (shards, queues, waiters, refusals) =
            (Vec::new(), Arc::default(), HeartbeatWaiters::default(), Mutex::default());
        let (memory, loaded) = (memory.clone(), clock.steady());
        let mut groups = Self { topics, sync_pool, clock, loaded, shards, queues, memory, refusals, waiters };
        for number in (0..SHARDS).map(PartitionId::new) {
            let log = groups.served_log(number);
            let (shard, activity) = match &log {
                Ok(Some(log)) => load::load_shard(log, groups.now())?,
                Ok(None) | Err(_) => (GroupShard::new(GroupLimits::default()), GroupActivity::default()),
            };
            let unknown = log
                .err()
                .inspect(|failure| tracing::error!(shard = %number, %failure, "the groups of a shard are unavailable"));
            let reservation = groups.memory.state_reservation(StateKind::Groups);
            groups.shards.push(ServedShard::new(shard, activity, reservation, unknown, groups.sync_pool.health()));
        }
        Ok(groups)
    }

    /// The time by the sessions' clock, which never goes back.
    fn now(&self) -> Timestamp {
        self.clock.steady()
    }

    fn decision_time(&self) -> DecisionTime {
        DecisionTime { steady: self.now(), wall: self.clock.wall() }
    }

    /// The log of a shard; none if the internal topic does not exist or the partition is offline.
    fn log_of(&self, shard: PartitionId) -> Option<Arc<Partition>> {
        self.find_log(shard).ok().flatten()
    }

    /// The log of a shard; none if the internal topic does not exist. An error gives the reason why the partition is
    /// offline: its groups are unknown then, and no answer may pretend that they have no offsets. A partition that
    /// comes back is loaded at the next start.
    fn find_log(&self, shard: PartitionId) -> Result<Option<Arc<Partition>>, Failure> {
        self.live(shard).unknown.clone().map_or_else(|| self.served_log(shard), Err)
    }

    fn served_log(&self, shard: PartitionId) -> Result<Option<Arc<Partition>>, Failure> {
        let name = TopicName::new(TOPIC).expect("the internal topic's name is valid");
        let Some(topic) = self.topics.image().topic(&name).map(|topic| topic.id) else { return Ok(None) };
        match self.topics.partition(topic, shard) {
            Ok(log) => Ok(Some(log)),
            Err(Failure { code: ErrorCode::PartitionOffline, detail, .. }) => {
                let detail = format_args!("the offsets of this group are unavailable for now: {detail}");
                Err(Failure::new(ErrorCode::NotReady, detail))
            }
            Err(_) => Ok(None),
        }
    }

    /// The log of a shard. Creates the internal topic on first use.
    async fn log_for(&self, shard: PartitionId) -> Result<Arc<Partition>, Failure> {
        if let Some(log) = self.find_log(shard)? {
            return Ok(log);
        }
        let request = internal_topic().map_err(|error| Failure::new(ErrorCode::Internal, error))?;
        let (id, now) = (TopicId::from_random(random_bytes()), self.clock.wall());
        let created = self
            .topics
            .change(move |image| Ok(image.create_any_topic(&request, id, now, &MetadataLimits::default())?))
            .await;
        match created {
            Err(failure) if failure.code != ErrorCode::TopicExists => return Err(failure),
            _ => {}
        }
        self.log_of(shard).ok_or_else(|| Failure::new(ErrorCode::NotReady, "the group coordinator is starting"))
    }

    /// Enters the group's queue. A request that changes the group calls this when it arrives.
    pub(crate) fn enter(&self, group: &GroupId) -> QueueTicket {
        self.queues.enter(group)
    }

    /// Reads offsets of `group`, which change when they are in the log. The result is durable when this returns.
    pub(crate) async fn read<T>(
        &self,
        group: &GroupId,
        read: impl FnOnce(&GroupShard, DecisionTime) -> T,
    ) -> Result<T, Failure> {
        let seen = read(&self.live(shard_of(group)).shard.lock(), self.decision_time());
        self.durable_group(group).await?;
        Ok(seen)
    }

    /// Reads members of `group`, which change when a decision is made. The result is durable when this returns, except
    /// for changes that a full disk refused: those are in force, and are written with the next decision.
    pub(crate) async fn read_members<T>(
        &self,
        group: &GroupId,
        read: impl FnOnce(&GroupShard, DecisionTime) -> T,
    ) -> Result<T, Failure> {
        let seen = read(&self.live(shard_of(group)).shard.lock(), self.decision_time());
        self.queues.drain(group).await;
        self.durable_group(group).await?;
        Ok(seen)
    }

    /// Returns when all records of a group are durable.
    async fn durable_group(&self, group: &GroupId) -> Result<(), Failure> {
        let end = self.live(shard_of(group)).written.lock().of(group);
        match self.find_log(shard_of(group))? {
            Some(log) => self.durable(&log, end).await,
            None => Ok(()),
        }
    }

    /// The times of a group's newest commits. The result is durable when this returns.
    pub(crate) async fn commit_times(&self, group: &GroupId) -> Result<Vec<CommitTime>, Failure> {
        self.read(group, |_, _| self.live(shard_of(group)).activity.lock().commits(group)).await
    }

    /// The memory of groups, and recent refusals for lack of it.
    pub(crate) fn describe_memory(&self) -> GroupMemory {
        GroupMemory {
            used: self.memory.state_bytes(StateKind::Groups) as u64,
            max: self.memory.state_bytes_max(StateKind::Groups) as u64,
            refused: self.refusals.lock().recent(self.now()),
        }
    }

    /// Every group with its number of members and its offsets, sorted, for metrics.
    pub(crate) fn figures(&self) -> Vec<GroupFigures> {
        let mut all = Vec::new();
        for live in &self.shards {
            let shard = live.shard.lock();
            all.extend(shard.list().into_iter().map(|(group, members)| {
                let offsets = shard.fetch_offsets(&group, None);
                GroupFigures { group, members, offsets }
            }));
        }
        all.sort_by(|a, b| a.group.cmp(&b.group));
        all
    }

    fn live(&self, number: PartitionId) -> &ServedShard {
        &self.shards[number.value() as usize % self.shards.len()]
    }

    /// The log end of a partition, to check commits.
    pub(crate) fn log_end(&self, topic: TopicId, partition: PartitionId) -> Option<Offset> {
        self.topics.partition(topic, partition).ok().map(|partition| partition.reader().span().end)
    }

    /// Refuses this number of partitions for a topic if its groups would need more memory than is left.
    pub(crate) fn check_topic(&self, image: &Image, name: &TopicName, partitions: u32) -> Result<(), Failure> {
        let growth = |live: &ServedShard| live.shard.lock().growth_by_topic(name, partitions, image);
        let bytes = self.shards.iter().map(growth).sum();
        let left = self.memory.state_room(StateKind::Groups);
        if bytes <= left { Ok(()) } else { Err(GroupRefusal::MemoryFull { bytes, left }.into()) }
    }
}
