//! One member of a group, as the coordinator knows it.

use super::heartbeat_context::{HeartbeatContext, LastContact};
use super::limits;
use super::owners::PartitionOwners;
use super::partition_key::{self, PartitionKey, PartitionSet};
use super::record::StoredMember;
use grower_protocol::ids::{MemberEpoch, MemberId, Timestamp, TopicName};
use grower_protocol::message::{Heartbeat, Holding, MemberDescription, MemberInspection, instance_lease};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// `assignment` is what lies in both `granted` and `target`.
#[derive(Clone, Debug)]
pub(super) struct GroupMember {
    /// Its place in the order of joining.
    pub(super) join_order: u64,
    /// As last answered.
    pub(super) epoch: MemberEpoch,
    /// The one before: what the member still says if that answer was lost.
    pub(super) previous: Option<MemberEpoch>,
    pub(super) topics: BTreeSet<TopicName>,
    /// What it may be reading: nobody else gets it before the member says that it gave it up.
    pub(super) granted: PartitionSet,
    /// What it shall own.
    pub(super) target: PartitionSet,
    /// What it was last told to read.
    pub(super) assignment: PartitionSet,
    /// What it says it is reading.
    pub(super) owned: PartitionSet,
    pub(super) session_timeout_ms: u32,
    pub(super) rebalance_timeout_ms: u32,
    pub(super) instance: Option<String>,
    pub(super) speaker: LastContact,
    /// Dead at this time, if it stays silent.
    pub(super) expires: Timestamp,
    /// By when it must have given these up.
    pub(super) pending_revocations: BTreeMap<PartitionKey, Timestamp>,
    /// Somebody else has its instance name. It gets no more answers, and leaves or dies of silence: only then is it
    /// sure that it reads nothing any more.
    pub(super) replaced_by: Option<MemberId>,
    /// It reads nothing and said so; what it was granted waits for its instance name.
    pub(super) detached: bool,
    /// Epoch and number of its newest commit. Not written down: no request outlives the broker that it was sent to.
    pub(super) newest_commit: (MemberEpoch, u64),
}

/// What a heartbeat changed in the member itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeartbeatChange {
    Nothing,
    Timeouts,
    Subscription,
}

impl GroupMember {
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
            speaker: LastContact::default(),
            expires: Timestamp::MAX,
            pending_revocations: BTreeMap::new(),
            replaced_by: None,
            detached: false,
            newest_commit: (MemberEpoch::default(), 0),
        }
    }

    /// A member that was there before the coordinator started: it has a full session to come back.
    pub(super) fn restored(state: StoredMember, at: Timestamp) -> Self {
        let granted: PartitionSet = partition_key::from_message(&state.granted).collect();
        let mut member = Self {
            epoch: state.epoch,
            previous: state.previous,
            topics: state.topics.into_iter().collect(),
            assignment: granted.clone(),
            owned: granted.clone(),
            granted,
            session_timeout_ms: state.session_timeout_ms,
            rebalance_timeout_ms: state.rebalance_timeout_ms,
            instance: state.instance,
            detached: state.detached,
            ..Self::joining(state.join_order)
        };
        member.speaker.heard = at;
        member.expires = after(at, limits::timeout(member.session_timeout_ms));
        member
    }

    /// What must survive a restart of the coordinator.
    pub(super) fn state(&self, owners: &PartitionOwners) -> StoredMember {
        StoredMember {
            join_order: self.join_order,
            epoch: self.epoch,
            previous: self.previous,
            topics: self.topics.iter().cloned().collect(),
            granted: partition_key::to_message(&self.granted),
            session_timeout_ms: self.session_timeout_ms,
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            instance: self.instance.clone(),
            since: self.granted.iter().map(|partition| owners.since(*partition)).collect(),
            detached: self.detached,
        }
    }

    /// It lives.
    pub(super) fn hear(&mut self, beat: &Heartbeat, received: &HeartbeatContext<'_>) -> HeartbeatChange {
        self.speaker.hear(received);
        self.expires = after(received.at, limits::timeout(beat.session_timeout_ms));
        let topics: BTreeSet<TopicName> = beat.topics.iter().cloned().collect();
        let timeouts = (beat.session_timeout_ms, beat.rebalance_timeout_ms);
        let heard = match (topics == self.topics, timeouts == (self.session_timeout_ms, self.rebalance_timeout_ms)) {
            (false, _) => HeartbeatChange::Subscription,
            (true, false) => HeartbeatChange::Timeouts,
            (true, true) => HeartbeatChange::Nothing,
        };
        (self.session_timeout_ms, self.rebalance_timeout_ms) = timeouts;
        self.topics = topics;
        heard
    }

    /// Whether the instance name is its own, and nobody took it.
    pub(super) fn holds(&self, instance: &str) -> bool {
        self.instance.as_deref() == Some(instance) && self.replaced_by.is_none()
    }

    pub(super) fn subscriptions(&self) -> usize {
        self.topics.len().max(1)
    }

    /// Somebody else joined under its instance name: it is believed to read as long as the name's lease goes.
    pub(super) fn replace(&mut self, by: MemberId) {
        let lease = instance_lease(limits::timeout(self.session_timeout_ms));
        self.expires = self.expires.min(after(self.speaker.heard, lease));
        self.replaced_by = Some(by);
    }

    /// Reads nothing any more and is waited for.
    pub(super) fn detach(&mut self, at: Timestamp) {
        self.detached = true;
        self.owned.clear();
        self.pending_revocations.clear();
        self.expires = after(at, limits::timeout(self.session_timeout_ms));
    }

    /// A member that takes the place of this one with all it was granted.
    pub(super) fn successor(&self) -> Self {
        Self {
            epoch: MemberEpoch::default(),
            previous: None,
            assignment: PartitionSet::new(),
            owned: PartitionSet::new(),
            speaker: LastContact::default(),
            detached: false,
            newest_commit: (MemberEpoch::default(), 0),
            ..self.clone()
        }
    }

    /// What it may read as things stand: what is its own, and of what it shall own all that nobody holds.
    pub(super) fn due(&self, owners: &PartitionOwners) -> PartitionSet {
        self.target
            .iter()
            .filter(|partition| self.granted.contains(partition) || owners.is_free(**partition))
            .copied()
            .collect()
    }

    /// Whether it has yet to give something up, or to be given something.
    pub(super) fn is_reconciling(&self) -> bool {
        self.replaced_by.is_none() && !self.detached && self.granted != self.target
    }

    /// Sets the time for each partition that it has yet to give up. Who missed an answer was told only now.
    pub(super) fn watch_revocations(&mut self, at: Timestamp, missed_an_answer: bool) {
        let by = after(at, limits::timeout(self.rebalance_timeout_ms));
        let told = |partition: &PartitionKey| {
            if missed_an_answer { by } else { self.pending_revocations.get(partition).copied().unwrap_or(by) }
        };
        self.pending_revocations =
            self.granted.difference(&self.assignment).map(|partition| (*partition, told(partition))).collect();
    }

    /// Whether it still holds something whose time is up. That is known only when it says so: one that gave up and had
    /// no occasion to say it yet does no harm.
    pub(super) fn missed_revocation(&self, at: Timestamp) -> bool {
        self.pending_revocations.iter().any(|(partition, by)| *by <= at && self.granted.contains(partition))
    }

    pub(super) fn describe(&self, member: &MemberId) -> MemberDescription {
        MemberDescription {
            member: member.clone(),
            epoch: self.epoch,
            topics: self.topics.iter().cloned().collect(),
            owned: partition_key::to_message(&self.owned),
            target: partition_key::to_message(&self.target),
        }
    }

    pub(super) fn inspect(&self, member: &MemberId, owners: &PartitionOwners, at: Timestamp) -> MemberInspection {
        let holding = |partition: &PartitionKey| Holding {
            topic: partition.topic,
            partition: partition.partition,
            since: owners.since(*partition),
            giving_up: !self.assignment.contains(partition),
        };
        MemberInspection {
            member: member.clone(),
            instance: self.instance.clone(),
            client: self.speaker.client.clone(),
            address: self.speaker.address.clone(),
            session_timeout_ms: self.session_timeout_ms,
            silent_ms: at.millis_since(self.speaker.heard),
            holds: self.granted.iter().map(holding).collect(),
            awaits: partition_key::to_message(&self.target.difference(&self.granted).copied().collect()),
            replaced_by: self.replaced_by.clone(),
            away: self.detached,
        }
    }
}

pub(super) fn after(at: Timestamp, time: Duration) -> Timestamp {
    at.plus_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
