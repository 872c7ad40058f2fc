//! Consumer groups. The broker assigns partitions; members receive and release them by heartbeats.
//!
//! The protocol follows KIP-848. A heartbeat carries the member's epoch and the partitions that it owns; the answer
//! carries its assignment. A partition gets a new owner only after a heartbeat of the old one no longer lists it, or
//! after the old one has expired.

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
    /// The partitions, sorted.
    pub partitions: Vec<PartitionId>,
}

/// Joins a group, or keeps a member alive and reports the partitions that it owns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The group.
    pub group: GroupId,
    /// The member. Each client chooses its own id.
    pub member: MemberId,
    /// The epoch of the last answer; 0 joins the group.
    pub epoch: MemberEpoch,
    /// The topics to which the member subscribes.
    pub topics: Vec<TopicName>,
    /// The partitions that the member reads now.
    pub owned: Vec<TopicPartitions>,
    /// The time without a heartbeat after which the member expires.
    pub session_timeout_ms: u32,
    /// The longest time to release revoked partitions.
    pub rebalance_timeout_ms: u32,
    /// The name of an assignor; `range` if none. The choice of the first member counts.
    pub assignor: Option<String>,
    /// A name that survives a restart of the member (static membership): see [`instance_lease`]. While another member
    /// has the name, joining only claims it and the next heartbeat takes it, so a delayed old request cannot take it.
    pub instance: Option<String>,
    /// The longest time that the answer waits for a change of the assignment, at most [`heartbeat_interval`]. The
    /// broker answers at once if the member does not know its assignment yet.
    pub max_wait_ms: u32,
}

/// The time for which a member with an instance name may read after it sent the last heartbeat that was answered.
///
/// The member then pauses until the next answer and keeps its partitions. A process restarted under the name therefore
/// waits for this time instead of a session timeout: its predecessor no longer reads.
pub fn instance_lease(session_timeout: Duration) -> Duration {
    3 * heartbeat_interval(session_timeout)
}

/// The interval of heartbeats while nothing changes. A member survives four lost heartbeats.
pub fn heartbeat_interval(session_timeout: Duration) -> Duration {
    (session_timeout.clamp(SESSION_MIN, SESSION_MAX) / 5).min(INTERVAL_MAX)
}

/// The shortest session timeout. The broker raises shorter ones to it.
pub const SESSION_MIN: Duration = Duration::from_secs(1);
/// The longest session timeout. The broker lowers longer ones to it.
pub const SESSION_MAX: Duration = Duration::from_secs(30 * 60);
const INTERVAL_MAX: Duration = Duration::from_secs(1);

/// Answers [`Heartbeat`] with the member's assignment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatAnswer {
    /// The epoch to send with the next heartbeat.
    pub epoch: MemberEpoch,
    /// The time until the next heartbeat; 0 if it takes an instance name over from another member.
    pub interval_ms: u32,
    /// The partitions that the member may read. It releases all others, and confirms that at once.
    pub assignment: Vec<TopicPartitions>,
}

/// Commits offsets of a group. Members and clients with an identity number their commits, so that a delayed commit
/// cannot undo a later one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffsetCommit {
    /// The group.
    pub group: GroupId,
    /// The client that commits.
    pub committer: CommitterIdentity,
    /// Numbers the commits of this committer to this group, from 1. The committer sends one at a time and retries it
    /// under the same number. The broker refuses a number lower than the highest that it has received: such a commit
    /// was delayed, and a newer one has overtaken it.
    pub sequence: u64,
    /// The offsets.
    pub offsets: Vec<OffsetToCommit>,
}

/// The identity of a client that commits to a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommitterIdentity {
    /// A member and its epoch. With a newer epoch, the numbers may start from 1 again.
    Member(MemberId, MemberEpoch),
    /// A client without membership. A group accepts it only while it has no members.
    Outside(CommitterId),
    /// The same without an identity. Its commits have no numbers and count in the order of arrival.
    Anonymous,
}

/// An offset to commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffsetToCommit {
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: PartitionId,
    /// The offset of the next record to read.
    pub offset: Offset,
    /// The leader epoch of the record before the offset. If it is absent, the broker takes it from its log.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Text of the client, at most 4 KiB, returned with the offset.
    pub metadata: String,
}

/// Decides for good where a group begins to read. In a topic without any committed offset of the group, these offsets
/// hold. In a topic with some those hold, and a partition without one is newer and begins at its first record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartOffsets {
    /// The group.
    pub group: GroupId,
    /// The client that decides: any member, or any client while the group has no members.
    pub committer: CommitterIdentity,
    /// The offsets to begin at, for all partitions of each topic.
    pub starts: Vec<OffsetToCommit>,
}

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommittedOffset {
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: PartitionId,
    /// The offset of the next record to read.
    pub offset: Offset,
    /// The leader epoch of the record before the offset, if it is known.
    pub leader_epoch: Option<LeaderEpoch>,
    /// The text committed with the offset.
    pub metadata: String,
    /// The offset from which the log has lost the records that the group read. Other records may have taken the
    /// offsets.
    pub lost_from: Option<Offset>,
}

/// The time of a group's last commit to a partition. A commit of an unchanged offset counts too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitTime {
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: PartitionId,
    /// The time, by the broker's clock.
    pub at: Timestamp,
}

/// The state of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupState {
    /// The group has no members.
    Empty,
    /// Every member owns its target assignment.
    Stable,
    /// Partitions move between members.
    Reconciling,
}

/// Describes a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupDescription {
    /// The group's id.
    pub group: GroupId,
    /// The state of the group.
    pub state: GroupState,
    /// The group epoch: counts changes of members and topics.
    pub epoch: u32,
    /// The name of the assignor.
    pub assignor: String,
    /// The members in join order.
    pub members: Vec<MemberDescription>,
    /// All committed offsets, sorted by topic and partition.
    pub offsets: Vec<CommittedOffset>,
}

impl GroupDescription {
    /// Whether members and offsets are omitted because they do not fit a message.
    pub fn is_in_brief(&self) -> bool {
        self.state != GroupState::Empty && self.members.is_empty()
    }
}

/// Describes a member of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberDescription {
    /// The member's id.
    pub member: MemberId,
    /// The member's epoch.
    pub epoch: MemberEpoch,
    /// The topics to which it subscribes.
    pub topics: Vec<TopicName>,
    /// The partitions that its last heartbeat listed.
    pub owned: Vec<TopicPartitions>,
    /// The member's partitions in the group's target assignment.
    pub target: Vec<TopicPartitions>,
    /// The instance name, for static membership.
    pub instance: Option<String>,
    /// The name of its client program; none after a restart of the broker until the member's next heartbeat.
    pub client: Option<String>,
    /// The network address; none in the same case.
    pub address: Option<String>,
    /// The time without a heartbeat after which the member expires.
    pub session_timeout_ms: u32,
    /// The time since its last heartbeat.
    pub silent_ms: u64,
    /// The partitions that the member owns or has not released yet. No other member gets them before.
    pub holds: Vec<Holding>,
    /// The partitions of its target that other members still hold.
    pub awaits: Vec<TopicPartitions>,
    /// The member that took over its instance name.
    pub replaced_by: Option<MemberId>,
    /// Whether the member is detached: its partitions wait for a member that joins under its instance name.
    pub detached: bool,
}

/// A partition that a member holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: PartitionId,
    /// The time of the assignment, by the broker's clock.
    pub since: Timestamp,
    /// Whether the revocation is pending: the member has not confirmed the release.
    pub pending_revocation: bool,
}

/// The memory use of a broker's groups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupMemory {
    /// The memory in use in bytes.
    pub used: u64,
    /// The limit in bytes.
    pub max: u64,
    /// Groups that exceeded the limit in the last minute, sorted by id; if they are many, only some of the most recent.
    pub refused: Vec<RefusedGrowth>,
}

/// A group whose growth, by a new member or a commit, was refused for lack of memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedGrowth {
    /// The group; it need not exist.
    pub group: GroupId,
    /// The time since the last refusal.
    pub ago_ms: u64,
    /// The explanation in the answer.
    pub reason: String,
}
