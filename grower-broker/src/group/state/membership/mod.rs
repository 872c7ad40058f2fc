//! The members of a group and who of them may read what.
//!
//! Invariants: a partition has at most one owner; an owner loses it only when its own heartbeat, sent in the knowledge
//! of the newest answer, no longer lists it, or when the member left or died. Epochs only ever rise.

mod admit;
mod assignment_change;
mod claim;
mod instance;
mod saving;
mod sessions;

use super::GroupRefusal;
use super::assignor::{Assignment, Assignor, Subscriber};
use super::catalog::{Catalog, CatalogTopic};
use super::heartbeat_context::HeartbeatContext;
use super::limits::{self, GroupLimits};
use super::member::{GroupMember, HeartbeatChange};
use super::owners::PartitionOwners;
use super::partition_key::{self, PartitionKey, PartitionSet};
use admit::{Admission, KnownAnswer};
pub use assignment_change::is_assignment_change;
use claim::InstanceClaims;
use grower_protocol::ids::{MemberEpoch, MemberId, Timestamp, TopicName};
use grower_protocol::message::{GroupState, Heartbeat, HeartbeatAnswer, MemberDescription, MemberInspection};
use saving::UnsavedChanges;
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default)]
pub(super) struct GroupMembership {
    /// Counts every change; members' epochs are taken from it, so no two are ever the same.
    epoch: u32,
    /// The epoch as of the newest target assignment.
    target_epoch: u32,
    assignor: Assignor,
    members: BTreeMap<MemberId, GroupMember>,
    claims: InstanceClaims,
    owners: PartitionOwners,
    next_join_order: u64,
    /// The topics of the newest target assignment.
    topics: BTreeMap<TopicName, Option<CatalogTopic>>,
    /// Members or subscriptions changed since then.
    stale: bool,
    /// Somebody may be told something new.
    assignment_changed: bool,
    unsaved: UnsavedChanges,
}

impl GroupMembership {
    /// A group whose epochs start after `minimum_epoch`.
    pub(super) fn after(minimum_epoch: u32) -> Self {
        let mut members = Self { epoch: minimum_epoch, ..Self::default() };
        members.unsaved.group();
        members
    }

    pub(super) fn heartbeat(
        &mut self,
        beat: &Heartbeat,
        received: &HeartbeatContext<'_>,
        catalog: &dyn Catalog,
        limits: &GroupLimits,
    ) -> Result<HeartbeatAnswer, GroupRefusal> {
        let standing = match self.admit(beat, limits, received.date)? {
            Admission::Member(standing) => standing,
            Admission::Claimant { instance } => return Ok(self.claim(beat, instance, received.at)),
        };
        let Some(member) = self.members.get_mut(&beat.member) else { return Err(unknown(&beat.member)) };
        let heard = member.hear(beat, received);
        if heard != HeartbeatChange::Nothing {
            self.unsaved.changed(&beat.member);
            self.stale |= heard == HeartbeatChange::Subscription;
        }
        self.hear_owned(beat, standing);
        self.check_revocations(&beat.member, received.at, standing)?;
        self.rebalance_if_stale(&beat.member, catalog);
        self.grant(&beat.member, received.date);
        self.answer(&beat.member, beat.epoch, received.at, standing).ok_or_else(|| unknown(&beat.member))
    }

    /// The member says that it gave up everything and will not come back.
    pub(super) fn leave(&mut self, member: &MemberId) -> Result<(), GroupRefusal> {
        if self.claims.withdraw(member) || self.remove(member) { Ok(()) } else { Err(unknown(member)) }
    }

    /// Topics were created, grown or deleted.
    pub(super) fn topics_changed(&mut self, catalog: &dyn Catalog) {
        if self.is_affected_by_topics(catalog) {
            self.stale = true;
            self.rebalance(catalog);
        }
    }

    /// Whether topics are others than when partitions were assigned last.
    pub(super) fn is_affected_by_topics(&self, catalog: &dyn Catalog) -> bool {
        self.topics.iter().any(|(name, topic)| catalog.find(name) != *topic)
    }

    fn remove(&mut self, id: &MemberId) -> bool {
        let Some(member) = self.members.remove(id) else { return false };
        for partition in &member.granted {
            self.owners.free(*partition);
        }
        // Who was replaced had no share any more: its successor waits for just these partitions.
        self.stale |= member.replaced_by.is_none();
        self.assignment_changed = true;
        self.tick();
        self.unsaved.changed(id);
        true
    }

    /// What the member no longer holds is free, if it spoke in the knowledge of what it was last told.
    fn hear_owned(&mut self, beat: &Heartbeat, standing: KnownAnswer) {
        let Some(member) = self.members.get_mut(&beat.member) else { return };
        let owned: PartitionSet =
            partition_key::from_message(&beat.owned).filter(|partition| member.granted.contains(partition)).collect();
        if standing == KnownAnswer::Newest {
            member.previous = None; // It will not say that again.
            let given_up =
                |partition: &&PartitionKey| !member.assignment.contains(partition) && !owned.contains(partition);
            for partition in member.granted.iter().filter(given_up).copied().collect::<Vec<_>>() {
                member.granted.remove(&partition);
                self.owners.free(partition);
                self.assignment_changed = true;
                self.unsaved.changed(&beat.member);
            }
        }
        member.owned = owned;
    }

    /// A member that does not let go would keep the group waiting for ever.
    fn check_revocations(&mut self, id: &MemberId, at: Timestamp, standing: KnownAnswer) -> Result<(), GroupRefusal> {
        let member = self.members.get(id);
        if standing == KnownAnswer::Older || !member.is_some_and(|member| member.missed_revocation(at)) {
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

    /// Decides anew who shall own what. Nobody loses anything by this alone.
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

    /// Gives the member what it shall own and nobody holds any more.
    fn grant(&mut self, id: &MemberId, date: Timestamp) {
        let Some(member) = self.members.get_mut(id) else { return };
        let due = member.due(&self.owners);
        for partition in due.difference(&member.granted).copied().collect::<Vec<_>>() {
            self.owners.grant(partition, id, date);
            member.granted.insert(partition);
            self.unsaved.changed(id);
        }
    }

    /// Answers a member that said this epoch.
    fn answer(
        &mut self,
        id: &MemberId,
        said: MemberEpoch,
        at: Timestamp,
        standing: KnownAnswer,
    ) -> Option<HeartbeatAnswer> {
        let member = self.members.get(id)?;
        let assignment: PartitionSet = member.granted.intersection(&member.target).copied().collect();
        let says_nothing = said == MemberEpoch::default();
        // Who confirmed a claim joins as well, and of all who ever had its name its epoch must be the newest.
        let joins = says_nothing || member.epoch == MemberEpoch::default();
        let next = (joins || assignment != member.assignment).then(|| MemberEpoch::new(self.tick()));
        let member = self.members.get_mut(id)?;
        if let Some(next) = next {
            // What the member says until this answer reaches it. A joining request may be an old one (see `join`).
            let says = if says_nothing { member.epoch } else { said };
            member.previous = Some(says).filter(|epoch| *epoch != MemberEpoch::default());
            member.epoch = next;
            member.assignment = assignment;
            self.unsaved.changed(id);
        }
        member.watch_revocations(at, standing == KnownAnswer::Older);
        Some(HeartbeatAnswer {
            epoch: member.epoch,
            interval_ms: limits::interval_ms(member.session_timeout_ms, member.is_reconciling()),
            assignment: partition_key::to_message(&member.assignment),
        })
    }

    fn tick(&mut self) -> u32 {
        self.epoch = self.epoch.saturating_add(1);
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

    /// How many topics members subscribe to; each counts as one at least.
    pub(super) fn subscriptions(&self) -> usize {
        self.members.values().map(GroupMember::subscriptions).sum()
    }

    /// The same of one; none if it is not there.
    pub(super) fn subscriptions_of(&self, member: &MemberId) -> usize {
        self.members.get(member).map_or(0, GroupMember::subscriptions)
    }

    /// The topics of each member.
    pub(super) fn subscribed(&self) -> impl Iterator<Item = impl Iterator<Item = &TopicName>> {
        self.members.values().map(|member| member.topics.iter())
    }

    /// Partitions that members have or shall have.
    pub(super) fn partitions(&self) -> usize {
        self.owners.len().max(self.members.values().map(|member| member.target.len()).sum())
    }

    /// Whether it is a member or claims to be one, or comes in the place of one.
    pub(super) fn knows(&self, beat: &Heartbeat) -> bool {
        self.members.contains_key(&beat.member) || self.expects(beat)
    }

    /// How many want the name of somebody else.
    pub(super) fn claims(&self) -> usize {
        self.claims.len()
    }

    pub(super) fn subscribes(&self, member: &MemberId, topic: &TopicName) -> bool {
        self.members.get(member).is_some_and(|member| member.topics.contains(topic))
    }

    pub(super) fn is_subscribed(&self, topic: &TopicName) -> bool {
        self.members.values().any(|member| member.topics.contains(topic))
    }

    /// Whether some member subscribed to it when partitions were assigned last.
    pub(super) fn reads(&self, topic: &TopicName) -> bool {
        self.topics.contains_key(topic)
    }

    /// A topic as it was then, if it was there; none if nobody subscribed to it.
    pub(super) fn known(&self, topic: &TopicName) -> Option<Option<CatalogTopic>> {
        self.topics.get(topic).copied()
    }

    pub(super) fn state(&self) -> GroupState {
        let reconciling = self.stale || self.members.values().any(GroupMember::is_reconciling);
        match (self.members.is_empty(), reconciling) {
            (true, _) => GroupState::Empty,
            (false, true) => GroupState::Reconciling,
            (false, false) => GroupState::Stable,
        }
    }

    /// In the order they joined.
    pub(super) fn describe(&self) -> Vec<MemberDescription> {
        self.in_join_order().into_iter().map(|(id, member)| member.describe(id)).collect()
    }

    /// More on each of them, in the same order.
    pub(super) fn inspect(&self, at: Timestamp) -> Vec<MemberInspection> {
        self.in_join_order().into_iter().map(|(id, member)| member.inspect(id, &self.owners, at)).collect()
    }

    fn in_join_order(&self) -> Vec<(&MemberId, &GroupMember)> {
        let mut in_join_order: Vec<_> = self.members.iter().collect();
        in_join_order.sort_by_key(|(_, member)| member.join_order);
        in_join_order
    }
}

fn unknown(member: &MemberId) -> GroupRefusal {
    GroupRefusal::UnknownMember { member: member.clone() }
}
