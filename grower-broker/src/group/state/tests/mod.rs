//! A shard with a log in memory, and members that behave.

mod assignment_change;
mod claims;
mod handover;
mod hostile;
mod inspect;
mod instances;
mod model;
mod offsets;
mod records;
mod restart;
mod sessions;
mod size;
mod story;

use super::*;
use grower_protocol::ids::{MemberEpoch, MemberId, Offset, Timestamp, TopicId};
use grower_protocol::message::{
    CommittedOffset, CommitterIdentity, ErrorCode, Failure, GroupDescription, Heartbeat, HeartbeatAnswer, OffsetCommit,
    OffsetToCommit, Part, StartOffsets,
};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

const RAINBOW: TopicId = TopicId::from_bytes([1; 16]);
const SANDBOX: TopicId = TopicId::from_bytes([2; 16]);
const SESSION_MS: u32 = 10_000;

/// The wall-clock time when the coordinator's clock starts.
const DATE: u64 = 1_000_000;

/// The end of every log.
const LOG_END: Offset = Offset::new(100);

fn group() -> GroupId {
    GroupId::new("g").unwrap()
}

fn name(topic: &str) -> TopicName {
    TopicName::new(topic).unwrap()
}

fn topic_id_partition(topic: TopicId, partition: u32) -> TopicIdPartition {
    TopicIdPartition { topic, partition: PartitionId::new(partition) }
}

fn to_commit(partition: TopicIdPartition, offset: u64) -> OffsetToCommit {
    let (offset, metadata) = (Offset::new(offset), String::new());
    OffsetToCommit { topic: partition.topic, partition: partition.partition, offset, leader_epoch: None, metadata }
}

/// The coordinator's side: one shard, its log, its clock, and the topics.
struct Coordinator {
    shard: GroupShard,
    log: Vec<GroupRecord>,
    /// The end of each batch of the log. A batch is never torn.
    ends: Vec<usize>,
    /// The records that survive any crash.
    durable: usize,
    now: Timestamp,
    topics: BTreeMap<TopicName, CatalogTopic>,
    /// Waiting heartbeats should look again.
    assignment_changed: bool,
}

impl Coordinator {
    fn new() -> Self {
        let topics = [("rainbow", RAINBOW, 3), ("sandbox", SANDBOX, 2)]
            .map(|(text, topic, partitions)| (name(text), CatalogTopic { topic, partitions }));
        let limits = GroupLimits { groups: 3, members: 5, topics: 4, ..GroupLimits::default() };
        Self {
            shard: GroupShard::new(limits),
            log: Vec::new(),
            ends: Vec::new(),
            durable: 0,
            now: Timestamp::default(),
            topics: topics.into(),
            assignment_changed: false,
        }
    }

    fn settle<T>(&mut self, mut step: GroupDecision<T>) -> Result<T, Failure> {
        self.assignment_changed |= !step.take_changed_groups().is_empty();
        let (log, ends) = (&mut self.log, &mut self.ends);
        let append = |records: &[GroupRecord]| {
            log.extend_from_slice(records);
            ends.push(log.len());
            Ok::<(), Infallible>(())
        };
        let Ok(answer) = step.settle(&mut self.shard, append);
        answer
    }

    fn describe(&self) -> Result<GroupDescription, GroupRefusal> {
        self.shard.describe(&group(), self.now)
    }

    fn heartbeat(&mut self, beat: &Heartbeat) -> Result<HeartbeatAnswer, Failure> {
        let step = self.shard.heartbeat(beat, &self.received(), &self.topics);
        self.settle(step)
    }

    fn received(&self) -> HeartbeatContext<'static> {
        let wall = self.now.plus_millis(DATE);
        HeartbeatContext { steady: self.now, wall, client: Some("a test"), address: Some("10.0.0.1:5") }
    }

    fn topics_changed(&mut self) {
        for id in self.shard.affected_by_topics(&self.topics) {
            let step = self.shard.topics_changed(&id, &self.topics);
            self.settle(step).unwrap();
        }
    }

    fn topic_deleted(&mut self, topic: TopicId) {
        for id in self.shard.groups_with_offsets_in(topic) {
            let step = self.shard.topic_deleted(&id, topic);
            self.settle(step).unwrap();
        }
    }

    /// Looks again at a heartbeat that is held back.
    fn assignment_change(&mut self, beat: &Heartbeat) -> Result<Option<HeartbeatAnswer>, Failure> {
        let step = self.shard.assignment_change(beat, &self.received(), &self.topics);
        self.settle(step)
    }

    fn wait(&mut self, millis: u64) {
        self.now = self.now.plus_millis(millis);
        for id in self.shard.due(self.now) {
            let step = self.shard.expire(&id, self.now);
            self.settle(step).unwrap();
        }
    }

    /// Syncs the log: answers may be given.
    fn sync(&mut self) {
        self.durable = self.log.len();
    }

    /// Crashes and loses this many of the newest batches, synced ones excepted.
    fn crash(&mut self, lost: usize) {
        self.ends.truncate(self.ends.len().saturating_sub(lost));
        let kept = self.ends.last().copied().unwrap_or_default().max(self.durable);
        self.log.truncate(kept);
        self.restart();
    }

    /// Restarts: only the log is left.
    fn restart(&mut self) {
        let mut loader = ShardLoader::default();
        self.log.iter().cloned().for_each(|record| loader.push(record));
        self.now = Timestamp::default(); // A new process has a new monotonic clock.
        self.shard = loader.finish(self.now, self.shard.limits);
    }

    /// Compacts the synced part: keeps the last record of each key, and no tombstone.
    fn compact(&mut self) {
        let key = |record: &GroupRecord| record.to_record(Timestamp::default()).key;
        let after = self.log.split_off(self.durable);
        let log = std::mem::take(&mut self.log);
        let overtaken = |at: usize| log[at + 1..].iter().any(|later| key(later) == key(&log[at]));
        let is_tombstone = |at: usize| log[at].to_record(Timestamp::default()).value.is_none();
        let kept = (0..log.len()).filter(|at| !overtaken(*at) && !is_tombstone(*at));
        self.log = kept.map(|at| log[at].clone()).collect();
        let before = std::mem::replace(&mut self.durable, self.log.len());
        self.ends.retain(|end| before < *end);
        self.ends.iter_mut().for_each(|end| *end -= before - self.durable);
        self.log.extend(after);
    }

    fn commit(
        &mut self,
        member: Option<&Member>,
        partition: TopicIdPartition,
        offset: u64,
    ) -> Result<Part<()>, Failure> {
        let (committer, sequence) = match member {
            Some(member) => (CommitterIdentity::Member(member.id.clone(), member.epoch), member.commits),
            None => (CommitterIdentity::Anonymous, 0),
        };
        let offsets = vec![to_commit(partition, offset)];
        self.commit_all(OffsetCommit { group: group(), committer, sequence, offsets })
    }

    fn commit_all(&mut self, commit: OffsetCommit) -> Result<Part<()>, Failure> {
        let known: BTreeSet<TopicId> = self.topics.values().map(|topic| topic.topic).collect();
        let step = self.shard.commit_offsets(&commit, &|topic, _| known.contains(&topic).then_some(LOG_END));
        self.settle(step).map(|mut parts| parts.remove(0))
    }

    /// A member asks for start offsets in these partitions, with `offset` as its proposal.
    fn start(
        &mut self,
        member: &Member,
        partitions: &[TopicIdPartition],
        offset: u64,
    ) -> Result<Vec<CommittedOffset>, Failure> {
        let starts = partitions.iter().map(|partition| to_commit(*partition, offset)).collect();
        let committer = CommitterIdentity::Member(member.id.clone(), member.epoch);
        let request = StartOffsets { group: group(), committer, starts };
        let known: BTreeSet<TopicId> = self.topics.values().map(|topic| topic.topic).collect();
        let step = self.shard.start_offsets(&request, &|topic, _| known.contains(&topic).then_some(LOG_END));
        self.settle(step)
    }

    fn committed(&self, partition: TopicIdPartition) -> Option<u64> {
        self.committed_by(&group(), partition)
    }

    fn committed_by(&self, group: &GroupId, partition: TopicIdPartition) -> Option<u64> {
        let offsets = self.shard.fetch_offsets(group, Some(&[(partition.topic, partition.partition)]));
        offsets.first().map(|found| found.offset.value())
    }
}

/// A member that follows the protocol.
#[derive(Clone, Debug)]
struct Member {
    id: MemberId,
    epoch: MemberEpoch,
    topics: Vec<TopicName>,
    reading: BTreeSet<TopicIdPartition>,
    interval_ms: u32,
    assignor: Option<String>,
    instance: Option<String>,
    /// The number of its newest commit.
    commits: u64,
}

impl Member {
    fn new(id: &str, topics: &[&str]) -> Self {
        Self {
            id: MemberId::new(id).unwrap(),
            epoch: MemberEpoch::default(),
            topics: topics.iter().map(|topic| name(topic)).collect(),
            reading: BTreeSet::new(),
            interval_ms: 0,
            assignor: None,
            instance: None,
            commits: 0,
        }
    }

    fn says(&self) -> Heartbeat {
        Heartbeat {
            group: group(),
            member: self.id.clone(),
            epoch: self.epoch,
            topics: self.topics.clone(),
            owned: super::topic_id_partition::to_message(&self.reading),
            session_timeout_ms: SESSION_MS,
            rebalance_timeout_ms: SESSION_MS,
            assignor: self.assignor.clone(),
            instance: self.instance.clone(),
            max_wait_ms: 0,
        }
    }

    fn hears(&mut self, answer: &HeartbeatAnswer) {
        self.epoch = answer.epoch;
        self.interval_ms = answer.interval_ms;
        self.reading = super::topic_id_partition::from_message(&answer.assignment).collect();
    }

    /// Sends one heartbeat and takes its answer.
    fn beat(&mut self, coordinator: &mut Coordinator) {
        let answer = coordinator.heartbeat(&self.says()).unwrap();
        self.hears(&answer);
    }

    /// The partitions of a topic that it reads.
    fn reads(&self, topic: TopicId) -> Vec<u32> {
        self.reading
            .iter()
            .filter(|partition| partition.topic == topic)
            .map(|partition| partition.partition.value())
            .collect()
    }
}

/// S1 and S2 share the topic rainbow.
fn two_members() -> (Coordinator, Member, Member) {
    let mut coordinator = Coordinator::new();
    let (mut s1, mut s2) = (Member::new("S1", &["rainbow"]), Member::new("S2", &["rainbow"]));
    quiet(&mut coordinator, &mut [&mut s1, &mut s2]);
    (coordinator, s1, s2)
}

/// Sends heartbeats of all members until each owns its target.
fn quiet(coordinator: &mut Coordinator, members: &mut [&mut Member]) {
    for _ in 0..4 {
        for member in members.iter_mut() {
            member.beat(coordinator);
        }
    }
    let described = coordinator.describe().unwrap();
    assert_eq!(described.state, grower_protocol::message::GroupState::Stable);
}

fn code<T: std::fmt::Debug>(result: Result<T, Failure>) -> ErrorCode {
    result.unwrap_err().code
}
