//! The members of a group, and the partitions that each may read.
//!
//! Invariants, checked after each change:
//!
//! - A partition has at most one owner: the member that has it in `granted`.
//! - An owner loses a partition only when its own heartbeat no longer lists it and proves that it knows the newest
//!   answer, or when the member leaves or expires.
//! - Epochs only rise.

mod admit;
mod assignment_change;
mod claim;
mod instance;
mod invariants;
mod saving;
mod sessions;

use super::GroupRefusal;
use super::assignor::{Assignment, Assignor, Subscriber};
use super::catalog::{Catalog, CatalogTopic};
use super::heartbeat_context::HeartbeatContext;
use super::limits::{self, GroupLimits};
use super::member::{HeartbeatChange, MemberState};
use super::owners::PartitionOwners;
use super::topic_id_partition::{self, PartitionSet, TopicIdPartition};
use admit::{Admission, KnownAnswer};
pub use assignment_change::is_assignment_change;
use claim::InstanceClaims;
use grower_protocol::ids::{MemberEpoch, MemberId, Timestamp, TopicName};
use grower_protocol::message::{GroupState, Heartbeat, HeartbeatAnswer, MemberDescription};
use saving::UnsavedChanges;
use std::collections::BTreeMap;

/// An admitted heartbeat has made its sender a member.
const ADMITTED: &str = "an admitted sender is a member";

/// The members of one group and the owners of its partitions. A partition goes from `granted` of one member to `target`
/// of another only through `owners`.
#[derive(Clone, Debug, Default)]
pub(super) struct MembershipState {
    /// Counts every change. Members' epochs are taken from it, so no two are equal.
    epoch: u32,
    /// The epoch of the newest target assignment.
    target_epoch: u32,
    assignor: Assignor,
    members: BTreeMap<MemberId, MemberState>,
    claims: InstanceClaims,
    owners: PartitionOwners,
    next_join_order: u64,
    /// The topics as of the newest target assignment.
    topics: BTreeMap<TopicName, Option<CatalogTopic>>,
    /// Members or subscriptions changed since that assignment.
    stale: bool,
    /// A member's assignment may have changed since this was last taken.
    assignment_changed: bool,
    unsaved: UnsavedChanges,
}

impl MembershipState {
    /// A group whose epochs start above `minimum_epoch`.
    pub(super) fn starting_above(minimum_epoch: u32) -> Self {
        let mut members = Self { epoch: minimum_epoch, ..Self::default() };
        members.unsaved.group();
        members
    }

    /// Handles a heartbeat: admits its sender, frees what it gave up, assigns again if members or topics changed,
    /// grants what is free, and answers.
    pub(super) fn heartbeat(
        &mut self,
        beat: &Heartbeat,
        context: &HeartbeatContext<'_>,
        catalog: &dyn Catalog,
        limits: &GroupLimits,
    ) -> Result<HeartbeatAnswer, GroupRefusal> {
        let known = match self.admit(beat, limits, context.wall)? {
            Admission::Member(known) => known,
            Admission::Claimant { instance } => return Ok(self.claim(beat, instance, context.steady)),
        };
        let member = self.members.get_mut(&beat.member).expect(ADMITTED);
        let change = member.note_heartbeat(beat, context);
        if change != HeartbeatChange::Nothing {
            self.unsaved.changed(&beat.member);
            self.stale |= change == HeartbeatChange::Subscription;
        }
        self.note_owned(beat, known);
        self.check_revocations(&beat.member, context.steady, known)?;
        self.rebalance_if_stale(&beat.member, catalog);
        self.grant(&beat.member, context.wall);
        Ok(self.answer(&beat.member, beat.epoch, context.steady, known))
    }

    /// Removes a member that gave up everything and does not come back.
    pub(super) fn leave(&mut self, member: &MemberId) -> Result<(), GroupRefusal> {
        if self.claims.withdraw(member) || self.remove(member) { Ok(()) } else { Err(unknown(member)) }
    }

    /// Assigns again if topics of the group were created, grown or deleted.
    pub(super) fn topics_changed(&mut self, catalog: &dyn Catalog) {
        if self.is_affected_by_topics(catalog) {
            self.stale = true;
            self.rebalance(catalog);
        }
    }

    /// Whether the group's topics changed since the newest assignment.
    pub(super) fn is_affected_by_topics(&self, catalog: &dyn Catalog) -> bool {
        self.topics.iter().any(|(name, topic)| catalog.find(name) != *topic)
    }

    fn remove(&mut self, id: &MemberId) -> bool {
        let Some(member) = self.members.remove(id) else { return false };
        for partition in &member.granted {
            self.owners.free(*partition, id);
        }
        // A replaced member had no share: its successor waits for these very partitions.
        self.stale |= member.replaced_by.is_none();
        self.assignment_changed = true;
        self.tick();
        self.unsaved.changed(id);
        true
    }

    /// Frees the partitions that the member gave up, if it knows the newest answer.
    fn note_owned(&mut self, beat: &Heartbeat, known: KnownAnswer) {
        let member = self.members.get_mut(&beat.member).expect(ADMITTED);
        let owned: PartitionSet = topic_id_partition::from_message(&beat.owned)
            .filter(|partition| member.granted.contains(partition))
            .collect();
        if known == KnownAnswer::Newest {
            member.previous = None; // The member knows the newer epoch now.
            let given_up =
                |partition: &&TopicIdPartition| !member.assignment.contains(partition) && !owned.contains(partition);
            for partition in member.granted.iter().filter(given_up).copied().collect::<Vec<_>>() {
                member.granted.remove(&partition);
                self.owners.free(partition, &beat.member);
                self.assignment_changed = true;
                self.unsaved.changed(&beat.member);
            }
        }
        member.owned = owned;
    }

    /// Removes a member that still reads a revoked partition after its deadline: the group would wait for it for ever.
    fn check_revocations(&mut self, id: &MemberId, at: Timestamp, known: KnownAnswer) -> Result<(), GroupRefusal> {
        let member = self.members.get(id);
        if known == KnownAnswer::Older || !member.is_some_and(|member| member.missed_revocation(at)) {
            return Ok(());
        }
        self.remove(id);
        Err(GroupRefusal::RevocationTimedOut { member: id.clone() })
    }

    fn rebalance_if_stale(&mut self, member: &MemberId, catalog: &dyn Catalog) {
        let known = |name: &TopicName| self.topics.get(name) == Some(&catalog.find(name));
        if self.stale || !self.members.get(member).is_some_and(|member| member.topics.iter().all(known)) {
            self.rebalance(catalog);
        }
    }

    /// Computes a new target assignment. No member loses a partition by this alone.
    fn rebalance(&mut self, catalog: &dyn Catalog) {
        let names = self.members.values().flat_map(|member| &member.topics).cloned();
        self.topics = names.map(|name| (name.clone(), catalog.find(&name))).collect();
        self.stale = false;
        self.assignment_changed = true;
        self.target_epoch = self.tick();
        let mut targets = self.targets();
        for (id, member) in &mut self.members {
            member.target = targets.remove(id).unwrap_or_default();
        }
        self.take_from_detached();
    }

    fn targets(&self) -> BTreeMap<MemberId, PartitionSet> {
        let mut in_join_order: Vec<_> =
            self.members.iter().filter(|(_, member)| member.replaced_by.is_none()).collect();
        in_join_order.sort_by_key(|(_, member)| member.join_order);
        let topics = self.topics.iter().filter_map(|(name, topic)| Some((name.clone(), (*topic)?))).collect();
        let assignment = Assignment {
            subscribers: in_join_order.iter().map(|(id, m)| Subscriber { member: id, topics: &m.topics }).collect(),
            topics: &topics,
            before: self.owners.iter().map(|(partition, owner)| (partition, self.successor_of(owner))).collect(),
        };
        let shares = self.assignor.assign(&assignment);
        in_join_order.into_iter().map(|(id, _)| id.clone()).zip(shares).collect()
    }

    /// Grants the member the free partitions of its target.
    fn grant(&mut self, id: &MemberId, wall: Timestamp) {
        let member = self.members.get_mut(id).expect(ADMITTED);
        let due = member.due(&self.owners);
        for partition in due.difference(&member.granted).copied().collect::<Vec<_>>() {
            self.owners.grant(partition, id, wall);
            member.granted.insert(partition);
            self.unsaved.changed(id);
        }
    }

    /// Answers a member that sent this epoch.
    fn answer(&mut self, id: &MemberId, said: MemberEpoch, at: Timestamp, known: KnownAnswer) -> HeartbeatAnswer {
        let member = self.members.get(id).expect(ADMITTED);
        let assignment: PartitionSet = member.granted.intersection(&member.target).copied().collect();
        let joins_fresh = said == MemberEpoch::default();
        // A confirmed claimant joins as well: its epoch must be newer than that of every earlier holder of its name.
        let joins = joins_fresh || member.epoch == MemberEpoch::default();
        let next = (joins || assignment != member.assignment).then(|| MemberEpoch::new(self.tick()));
        let member = self.members.get_mut(id).expect(ADMITTED);
        if let Some(next) = next {
            debug_assert!(member.epoch < next, "epochs only rise");
            // The epoch that the member sends until this answer reaches it. A join may be an old request (see `join`).
            let sent = if joins_fresh { member.epoch } else { said };
            member.previous = Some(sent).filter(|epoch| *epoch != MemberEpoch::default());
            member.epoch = next;
            member.assignment = assignment;
            self.unsaved.changed(id);
        }
        member.watch_revocations(at, known == KnownAnswer::Older);
        HeartbeatAnswer {
            epoch: member.epoch,
            interval_ms: limits::interval_ms(member.session_timeout_ms, member.is_reconciling()),
            assignment: topic_id_partition::to_message(&member.assignment),
        }
    }

    fn tick(&mut self) -> u32 {
        self.epoch = self.epoch.checked_add(1).expect("a record has an epoch far below the largest number");
        self.epoch
    }

    pub(super) fn epoch(&self) -> u32 {
        self.epoch
    }

    pub(super) fn target_epoch(&self) -> u32 {
        self.target_epoch
    }

    pub(super) fn assignor(&self) -> Assignor {
        self.assignor
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// Subscribed topics of all members; a member counts as at least one.
    pub(super) fn subscriptions(&self) -> usize {
        self.members.values().map(MemberState::subscriptions).sum()
    }

    /// The same of one member; 0 if it is unknown.
    pub(super) fn subscriptions_of(&self, member: &MemberId) -> usize {
        self.members.get(member).map_or(0, MemberState::subscriptions)
    }

    /// The topics of each member.
    pub(super) fn subscribed(&self) -> impl Iterator<Item = impl Iterator<Item = &TopicName>> {
        self.members.values().map(|member| member.topics.iter())
    }

    /// The number of partitions that members have or will have.
    pub(super) fn partition_count(&self) -> usize {
        self.owners.len().max(self.members.values().map(|member| member.target.len()).sum())
    }

    /// Whether the sender is a member or a claimant, or takes the place of a detached member.
    pub(super) fn knows(&self, beat: &Heartbeat) -> bool {
        self.members.contains_key(&beat.member) || self.expects(beat)
    }

    /// The number of claims to instance names.
    pub(super) fn claims(&self) -> usize {
        self.claims.len()
    }

    pub(super) fn subscribes(&self, member: &MemberId, topic: &TopicName) -> bool {
        self.members.get(member).is_some_and(|member| member.topics.contains(topic))
    }

    pub(super) fn is_subscribed(&self, topic: &TopicName) -> bool {
        self.members.values().any(|member| member.topics.contains(topic))
    }

    /// Whether the newest assignment includes the topic.
    pub(super) fn reads(&self, topic: &TopicName) -> bool {
        self.topics.contains_key(topic)
    }

    /// The topic as of the newest assignment, if it existed; none if no member subscribed to it.
    pub(super) fn assigned_topic(&self, topic: &TopicName) -> Option<Option<CatalogTopic>> {
        self.topics.get(topic).copied()
    }

    pub(super) fn state(&self) -> GroupState {
        let reconciling = self.stale || self.members.values().any(MemberState::is_reconciling);
        match (self.members.is_empty(), reconciling) {
            (true, _) => GroupState::Empty,
            (false, true) => GroupState::Reconciling,
            (false, false) => GroupState::Stable,
        }
    }

    /// All members, in the order they joined.
    pub(super) fn describe(&self, at: Timestamp) -> Vec<MemberDescription> {
        let mut in_join_order: Vec<_> = self.members.iter().collect();
        in_join_order.sort_by_key(|(_, member)| member.join_order);
        in_join_order.into_iter().map(|(id, member)| member.describe(id, &self.owners, at)).collect()
    }
}

fn unknown(member: &MemberId) -> GroupRefusal {
    GroupRefusal::UnknownMember { member: member.clone() }
}
