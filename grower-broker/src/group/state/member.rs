//! One member of a group, as the coordinator sees it.

use super::heartbeat_context::{HeartbeatContext, LastContact};
use super::limits;
use super::owners::PartitionOwners;
use super::record::StoredMember;
use super::topic_id_partition::{self, PartitionSet, TopicIdPartition};
use grower_protocol::ids::{MemberEpoch, MemberId, Timestamp, TopicName};
use grower_protocol::message::{Heartbeat, Holding, MemberDescription, instance_lease};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A member of a group.
///
/// Invariant: while the member is neither detached nor replaced, `assignment` is a part of `granted`.
#[derive(Clone, Debug)]
pub(super) struct MemberState {
    /// Its position in the order of joining.
    pub(super) join_order: u64,
    /// The epoch of the newest answer.
    pub(super) epoch: MemberEpoch,
    /// The epoch before: the member still sends it if the newest answer was lost.
    pub(super) previous: Option<MemberEpoch>,
    pub(super) topics: BTreeSet<TopicName>,
    /// Partitions that it may be reading. Each stays here until the member confirms that it gave it up.
    pub(super) granted: PartitionSet,
    /// Partitions that the newest target assignment gives it.
    pub(super) target: PartitionSet,
    /// Partitions in its newest answer.
    pub(super) assignment: PartitionSet,
    /// Partitions that it says it is reading.
    pub(super) owned: PartitionSet,
    pub(super) session_timeout_ms: u32,
    pub(super) rebalance_timeout_ms: u32,
    pub(super) instance: Option<String>,
    pub(super) last_contact: LastContact,
    /// The end of its session, unless it sends a heartbeat before.
    pub(super) expires: Timestamp,
    /// Partitions to give up, each with its deadline.
    pub(super) pending_revocations: BTreeMap<TopicIdPartition, Timestamp>,
    /// The member that took over its instance name. This one gets only refusals until it leaves or expires; until then
    /// it may still be reading.
    pub(super) replaced_by: Option<MemberId>,
    /// It stopped reading and said so. Its granted partitions wait for the next member of its instance name.
    pub(super) detached: bool,
    /// Epoch and number of its newest commit. Kept in memory only: no request outlives the broker that received it.
    pub(super) newest_commit: (MemberEpoch, u64),
}

/// The change that a heartbeat made to the member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeartbeatChange {
    Nothing,
    Timeouts,
    Subscription,
}

impl MemberState {
    pub(super) fn joining(join_order: u64) -> Self {
        Self {
            join_order,
            epoch: MemberEpoch::default(),
            previous: None,
            topics: BTreeSet::new(),
            granted: PartitionSet::new(),
            target: PartitionSet::new(),
            assignment: PartitionSet::new(),
            owned: PartitionSet::new(),
            session_timeout_ms: 0,
            rebalance_timeout_ms: 0,
            instance: None,
            last_contact: LastContact::default(),
            expires: Timestamp::MAX,
            pending_revocations: BTreeMap::new(),
            replaced_by: None,
            detached: false,
            newest_commit: (MemberEpoch::default(), 0),
        }
    }

    /// A member from before the coordinator's restart, with a full session to come back.
    pub(super) fn restored(state: StoredMember, at: Timestamp) -> Self {
        let granted: PartitionSet = topic_id_partition::from_message(&state.granted).collect();
        let mut member = Self {
            epoch: state.epoch,
            previous: state.previous,
            topics: state.topics.into_iter().collect(),
            assignment: granted.clone(),
            // A detached member stopped reading before it was written so.
            owned: if state.detached { PartitionSet::new() } else { granted.clone() },
            granted,
            session_timeout_ms: state.session_timeout_ms,
            rebalance_timeout_ms: state.rebalance_timeout_ms,
            instance: state.instance,
            detached: state.detached,
            ..Self::joining(state.join_order)
        };
        member.last_contact.at = at;
        member.expires = after(at, limits::timeout(member.session_timeout_ms));
        member
    }

    /// The state that survives a restart of the coordinator.
    pub(super) fn state(&self, owners: &PartitionOwners) -> StoredMember {
        StoredMember {
            join_order: self.join_order,
            epoch: self.epoch,
            previous: self.previous,
            topics: self.topics.iter().cloned().collect(),
            granted: topic_id_partition::to_message(&self.granted),
            session_timeout_ms: self.session_timeout_ms,
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            instance: self.instance.clone(),
            since: self.granted.iter().map(|partition| owners.since(*partition)).collect(),
            detached: self.detached,
        }
    }

    /// Notes a heartbeat and starts a new session.
    pub(super) fn note_heartbeat(&mut self, beat: &Heartbeat, context: &HeartbeatContext<'_>) -> HeartbeatChange {
        self.last_contact.note(context);
        self.expires = after(context.steady, limits::timeout(beat.session_timeout_ms));
        let topics: BTreeSet<TopicName> = beat.topics.iter().cloned().collect();
        let timeouts = (beat.session_timeout_ms, beat.rebalance_timeout_ms);
        let change = match (topics == self.topics, timeouts == (self.session_timeout_ms, self.rebalance_timeout_ms)) {
            (false, _) => HeartbeatChange::Subscription,
            (true, false) => HeartbeatChange::Timeouts,
            (true, true) => HeartbeatChange::Nothing,
        };
        (self.session_timeout_ms, self.rebalance_timeout_ms) = timeouts;
        self.topics = topics;
        change
    }

    /// Whether it has the instance name and was not replaced.
    pub(super) fn holds(&self, instance: &str) -> bool {
        self.instance.as_deref() == Some(instance) && self.replaced_by.is_none()
    }

    pub(super) fn subscriptions(&self) -> usize {
        self.topics.len().max(1)
    }

    /// Marks it replaced. It may be reading until the lease of its instance name ends.
    pub(super) fn replace(&mut self, by: MemberId) {
        debug_assert!(self.replaced_by.is_none(), "a member loses its instance name once");
        let lease = instance_lease(limits::timeout(self.session_timeout_ms));
        self.expires = self.expires.min(after(self.last_contact.at, lease));
        self.replaced_by = Some(by);
    }

    /// Marks it detached: it stopped reading, and its partitions wait for it for a session.
    pub(super) fn detach(&mut self, at: Timestamp) {
        debug_assert!(self.instance.is_some() && self.replaced_by.is_none(), "it holds an instance name");
        self.detached = true;
        self.owned.clear();
        self.pending_revocations.clear();
        self.expires = after(at, limits::timeout(self.session_timeout_ms));
    }

    /// A new member that inherits its partitions and its position.
    pub(super) fn inherit(&self) -> Self {
        debug_assert!(self.detached && self.owned.is_empty(), "only a member that reads nothing is inherited from");
        Self {
            epoch: MemberEpoch::default(),
            previous: None,
            assignment: PartitionSet::new(),
            owned: PartitionSet::new(),
            last_contact: LastContact::default(),
            detached: false,
            newest_commit: (MemberEpoch::default(), 0),
            ..self.clone()
        }
    }

    /// The part of its target that it may read now: granted to it, or free.
    pub(super) fn due(&self, owners: &PartitionOwners) -> PartitionSet {
        self.target
            .iter()
            .filter(|partition| self.granted.contains(partition) || owners.is_free(**partition))
            .copied()
            .collect()
    }

    /// Whether it has partitions to give up or to receive.
    pub(super) fn is_reconciling(&self) -> bool {
        self.replaced_by.is_none() && !self.detached && self.granted != self.target
    }

    /// Sets a deadline for each partition that it has to give up. After a missed answer the time starts now.
    pub(super) fn watch_revocations(&mut self, at: Timestamp, missed_an_answer: bool) {
        let by = after(at, limits::timeout(self.rebalance_timeout_ms));
        let deadline = |partition: &TopicIdPartition| {
            if missed_an_answer { by } else { self.pending_revocations.get(partition).copied().unwrap_or(by) }
        };
        self.pending_revocations =
            self.granted.difference(&self.assignment).map(|partition| (*partition, deadline(partition))).collect();
    }

    /// Whether it still reads a partition after its deadline. Only its own heartbeat can tell: a member that gave up
    /// and has not said so yet is no problem.
    pub(super) fn missed_revocation(&self, at: Timestamp) -> bool {
        self.pending_revocations.iter().any(|(partition, by)| *by <= at && self.granted.contains(partition))
    }

    pub(super) fn describe(&self, member: &MemberId, owners: &PartitionOwners, at: Timestamp) -> MemberDescription {
        let holding = |partition: &TopicIdPartition| Holding {
            topic: partition.topic,
            partition: partition.partition,
            since: owners.since(*partition),
            pending_revocation: !self.assignment.contains(partition),
        };
        MemberDescription {
            member: member.clone(),
            epoch: self.epoch,
            topics: self.topics.iter().cloned().collect(),
            owned: topic_id_partition::to_message(&self.owned),
            target: topic_id_partition::to_message(&self.target),
            instance: self.instance.clone(),
            client: self.last_contact.client.clone(),
            address: self.last_contact.address.clone(),
            session_timeout_ms: self.session_timeout_ms,
            silent_ms: at.millis_since(self.last_contact.at),
            holds: self.granted.iter().map(holding).collect(),
            awaits: topic_id_partition::to_message(&self.target.difference(&self.granted).copied().collect()),
            replaced_by: self.replaced_by.clone(),
            detached: self.detached,
        }
    }
}

pub(super) fn after(at: Timestamp, time: Duration) -> Timestamp {
    at.plus_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
