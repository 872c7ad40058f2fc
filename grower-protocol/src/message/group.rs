//! Consumer groups. The broker assigns partitions; a member learns of them, and gives them up, by heartbeats.
//!
//! As in KIP-848: a member heartbeats with its epoch and what it owns. The answer says what it shall own. A partition
//! goes to a new owner only after the old one's heartbeat no longer lists it, or the old one expired.

use crate::ids::{
    CommitterId, GroupId, LeaderEpoch, MemberEpoch, MemberId, Offset, PartitionId, Timestamp, TopicId, TopicName,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Some partitions of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TopicPartitions {
    /// The topic.
    pub topic: TopicId,
    /// Its partitions, sorted.
    pub partitions: Vec<PartitionId>,
}

/// "I am here, and this is what I own."
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The group.
    pub group: GroupId,
    /// The member; it chose its id itself.
    pub member: MemberId,
    /// As last answered; 0 joins.
    pub epoch: MemberEpoch,
    /// What it wants to read.
    pub topics: Vec<TopicName>,
    /// What it is reading now.
    pub owned: Vec<TopicPartitions>,
    /// Without a heartbeat for this long the member is dead.
    pub session_timeout_ms: u32,
    /// How long it may take to give up partitions.
    pub rebalance_timeout_ms: u32,
    /// `range` (the default), `round-robin` or `sticky`; the first member's choice counts.
    pub assignor: Option<String>,
    /// A name that survives the member's restart (static membership): see [`instance_lease`]. While another member has it,
    /// joining makes a claim only, and the next heartbeat takes the name: so an old request that comes late takes it from nobody.
    pub instance: Option<String>,
    /// How long the answer may wait for a change of the assignment. It waits for no longer than [`heartbeat_interval`], and
    /// comes at once if the member does not know its assignment yet.
    pub max_wait_ms: u32,
}

/// How long a member with an instance name may go on reading after it sent the last heartbeat that was answered: until
/// the next answer it then pauses, and keeps its partitions. So a process that is started again under the name need
/// not wait for a session timeout: after this time its predecessor surely reads nothing.
pub fn instance_lease(session_timeout: Duration) -> Duration {
    3 * heartbeat_interval(session_timeout)
}

/// When heartbeats are due while nothing changes: often enough to survive four lost ones.
pub fn heartbeat_interval(session_timeout: Duration) -> Duration {
    (session_timeout.clamp(SESSION_MIN, SESSION_MAX) / 5).min(INTERVAL_MAX)
}

/// The shortest session timeout; shorter ones count as this.
pub const SESSION_MIN: Duration = Duration::from_secs(1);
/// The longest session timeout; longer ones count as this.
pub const SESSION_MAX: Duration = Duration::from_secs(30 * 60);
const INTERVAL_MAX: Duration = Duration::from_secs(1);

/// "This is what you shall own."
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatAnswer {
    /// To be sent with the next heartbeat.
    pub epoch: MemberEpoch,
    /// When to send it; 0: at once, for it takes an instance name over from the member that has it.
    pub interval_ms: u32,
    /// What the member may read. What it reads and does not find here it gives up, and says so at once.
    pub assignment: Vec<TopicPartitions>,
}

/// Commits offsets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffsetCommit {
    /// The group.
    pub group: GroupId,
    /// Who commits; none from outside, which only a group without members accepts.
    pub member: Option<(MemberId, MemberEpoch)>,
    /// Counts the commits of a member, which sends them one after the other and repeats one under its number. Once the
    /// broker has heard a higher one, or one with a newer epoch, it is refused: it was on its way for so long that a
    /// repetition overtook it. A process that joins under the name of an earlier one gets a newer epoch, and may count anew.
    pub sequence: u64,
    /// The offsets.
    pub offsets: Vec<OffsetToCommit>,
}

/// One offset to remember.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffsetToCommit {
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: PartitionId,
    /// The next offset to read.
    pub offset: Offset,
    /// Anything the client wants back with it, at most 4 KiB.
    pub metadata: String,
}

/// Commits positions. Every committer has an identity and numbers its commits, so that none takes back a later one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PositionCommit {
    /// The group.
    pub group: GroupId,
    /// Who commits.
    pub committer: CommitterIdentity,
    /// Numbers the commits of this committer to this group, from 1. The committer sends them one after the other and
    /// repeats one under its number. The broker refuses a commit with a lower number than it has heard already.
    pub sequence: u64,
    /// The positions.
    pub positions: Vec<PositionToCommit>,
}

/// Who commits to a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommitterIdentity {
    /// A member, with its epoch. A newer epoch may count from 1 again.
    Member(MemberId, MemberEpoch),
    /// Not a member: a group accepts it only while it has no members.
    Outside(CommitterId),
}

/// One position to remember.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PositionToCommit {
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: PartitionId,
    /// The next offset to read.
    pub offset: Offset,
    /// The leader epoch of the record before it; none if the client does not know it. The broker then takes that of its log.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Anything the client wants back with it, at most 4 KiB.
    pub metadata: String,
}

/// Decides where a group begins, for good: in a topic in which the group has no position yet, at these. In any other topic
/// it has positions already: those are kept, and a partition without one came later and begins at its first record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartPositions {
    /// The group.
    pub group: GroupId,
    /// Who asks: a member, whatever it owns, or anybody while the group has no members.
    pub committer: CommitterIdentity,
    /// Where to begin if that is not decided yet: name all partitions of a topic.
    pub starts: Vec<PositionToCommit>,
}

impl PositionCommit {
    /// The same for a broker that does not know identities of committers.
    pub(super) fn for_older_brokers(&self) -> OffsetCommit {
        let member = match &self.committer {
            CommitterIdentity::Member(member, epoch) => Some((member.clone(), *epoch)),
            CommitterIdentity::Outside(_) => None,
        };
        let offsets = self.positions.iter().map(PositionToCommit::for_older_brokers).collect();
        OffsetCommit { group: self.group.clone(), member, sequence: self.sequence, offsets }
    }
}

impl PositionToCommit {
    fn for_older_brokers(&self) -> OffsetToCommit {
        let Self { topic, partition, offset, metadata, .. } = self.clone();
        OffsetToCommit { topic, partition, offset, metadata }
    }
}

/// A remembered offset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommittedOffset {
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: PartitionId,
    /// The next offset to read.
    pub offset: Offset,
    /// As committed.
    pub metadata: String,
}

/// A remembered position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommittedPosition {
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: PartitionId,
    /// The next offset to read.
    pub offset: Offset,
    /// The leader epoch of the record before it, if that is known.
    pub leader_epoch: Option<LeaderEpoch>,
    /// As committed.
    pub metadata: String,
    /// The log lost what was read from this offset on; other records may have taken the offsets since.
    pub lost_from: Option<Offset>,
}

impl From<CommittedOffset> for CommittedPosition {
    fn from(committed: CommittedOffset) -> Self {
        let CommittedOffset { topic, partition, offset, metadata } = committed;
        Self { topic, partition, offset, leader_epoch: None, metadata, lost_from: None }
    }
}

/// When a group last committed an offset, be it the same as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitTime {
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: PartitionId,
    /// When, by the broker's clock.
    pub at: Timestamp,
}

/// What a group is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupState {
    /// It has no members.
    Empty,
    /// Every member owns what it shall own.
    Stable,
    /// Partitions are on their way from one member to another.
    Reconciling,
}

/// A group in full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupDescription {
    /// Its id.
    pub group: GroupId,
    /// What it is doing.
    pub state: GroupState,
    /// Counts the changes of members and topics.
    pub epoch: u32,
    /// How partitions are assigned.
    pub assignor: String,
    /// Its members, in the order they joined.
    pub members: Vec<MemberDescription>,
    /// All it ever committed, sorted by topic and partition.
    pub offsets: Vec<CommittedOffset>,
}

impl GroupDescription {
    /// Whether members and offsets are left out, because no message could hold them.
    pub fn is_in_brief(&self) -> bool {
        self.state != GroupState::Empty && self.members.is_empty()
    }
}

/// One member, and what it holds since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberDescription {
    /// Its id.
    pub member: MemberId,
    /// Its epoch.
    pub epoch: MemberEpoch,
    /// What it subscribes to.
    pub topics: Vec<TopicName>,
    /// What it owns, by its last heartbeat.
    pub owned: Vec<TopicPartitions>,
    /// What it is to own, by the group's target assignment.
    pub target: Vec<TopicPartitions>,
    /// Its static name.
    pub instance: Option<String>,
    /// What its program calls itself; unknown from a restart of the broker to the member's next heartbeat.
    pub client: Option<String>,
    /// Its network address, unknown likewise.
    pub address: Option<String>,
    /// How long it may be silent.
    pub session_timeout_ms: u32,
    /// How long it has been silent.
    pub silent_ms: u64,
    /// Partitions that no other member gets before this one lets go of them.
    pub holds: Vec<Holding>,
    /// Partitions of its target that other members still hold.
    pub awaits: Vec<TopicPartitions>,
    /// The member that took its place under the same static name.
    pub replaced_by: Option<MemberId>,
    /// It is detached: its partitions wait for a member that joins under its static name.
    pub away: bool,
}

/// A partition that a member holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: PartitionId,
    /// When it was given to the member, by the broker's clock.
    pub since: Timestamp,
    /// It was told to let go, and has not confirmed that it did.
    pub giving_up: bool,
}

/// What the groups of a broker take of memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupMemory {
    /// Bytes that they take.
    pub used: u64,
    /// Bytes that they may take.
    pub max: u64,
    /// Groups that wanted more in the last minute than was left, sorted by id: some of the newest.
    pub refused: Vec<RefusedGrowth>,
}

/// A group that was to grow, by a new member or a commit, and could not for want of memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedGrowth {
    /// Which; it need not be there.
    pub group: GroupId,
    /// How long ago it was refused last.
    pub ago_ms: u64,
    /// What was answered.
    pub reason: String,
}
