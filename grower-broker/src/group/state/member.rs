//! One member of a group, as the coordinator knows it.

use super::limits;
use super::owners::Owners;
use super::received::{Received, Speaker};
use super::record::MemberState;
use super::slot::{self, Slot, Slots};
use grower_protocol::ids::{MemberEpoch, MemberId, Timestamp, TopicName};
use grower_protocol::message::{Heartbeat, Holding, MemberDescription, MemberInspection, instance_lease};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// `assignment` is what lies in both `granted` and `target`.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// Its place in the order of joining.
    pub(super) seat: u64,
    /// As last answered.
    pub(super) epoch: MemberEpoch,
    /// The one before: what the member still says if that answer was lost.
    pub(super) previous: Option<MemberEpoch>,
    pub(super) topics: BTreeSet<TopicName>,
    /// What it may be reading: nobody else gets it before the member says that it gave it up.
    pub(super) granted: Slots,
    /// What it shall own.
    pub(super) target: Slots,
    /// What it was last told to read.
    pub(super) assignment: Slots,
    /// What it says it is reading.
    pub(super) owned: Slots,
    pub(super) session_timeout_ms: u32,
    pub(super) rebalance_timeout_ms: u32,
    pub(super) instance: Option<String>,
    pub(super) speaker: Speaker,
    /// Dead at this time, if it stays silent.
    pub(super) expires: Timestamp,
    /// By when it must have given these up.
    pub(super) giving_up: BTreeMap<Slot, Timestamp>,
    /// Somebody else has its instance name. It gets no more answers, and leaves or dies of silence: only then is it
    /// sure that it reads nothing any more.
    pub(super) replaced_by: Option<MemberId>,
    /// It reads nothing and said so; what it was granted waits for its instance name.
    pub(super) away: bool,
    /// Epoch and number of its newest commit. Not written down: no request outlives the broker that it was sent to.
    pub(super) newest_commit: (MemberEpoch, u64),
}

/// What a heartbeat changed in the member itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Nothing,
    Timeouts,
    Subscription,
}

impl Member {
    pub(super) fn joining(seat: u64) -> Self {
        Self {
            seat,
            epoch: MemberEpoch::default(),
            previous: None,
            topics: BTreeSet::new(),
            granted: Slots::new(),
            target: Slots::new(),
            assignment: Slots::new(),
            owned: Slots::new(),
            session_timeout_ms: 0,
            rebalance_timeout_ms: 0,
            instance: None,
            speaker: Speaker::default(),
            expires: Timestamp::MAX,
            giving_up: BTreeMap::new(),
            replaced_by: None,
            away: false,
            newest_commit: (MemberEpoch::default(), 0),
        }
    }

    /// A member that was there before the coordinator started: it has a full session to come back.
    pub(super) fn restored(state: MemberState, at: Timestamp) -> Self {
        let granted: Slots = slot::from_message(&state.granted).collect();
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
            away: state.away,
            ..Self::joining(state.seat)
        };
        member.speaker.heard = at;
        member.expires = after(at, limits::timeout(member.session_timeout_ms));
        member
    }

    /// What must survive a restart of the coordinator.
    pub(super) fn state(&self, owners: &Owners) -> MemberState {
        MemberState {
            seat: self.seat,
            epoch: self.epoch,
            previous: self.previous,
            topics: self.topics.iter().cloned().collect(),
            granted: slot::to_message(&self.granted),
            session_timeout_ms: self.session_timeout_ms,
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            instance: self.instance.clone(),
            since: self.granted.iter().map(|slot| owners.since(*slot)).collect(),
            away: self.away,
        }
    }

    /// It lives.
    pub(super) fn hear(&mut self, beat: &Heartbeat, received: &Received<'_>) -> Heard {
        self.speaker.hear(received);
        self.expires = after(received.at, limits::timeout(beat.session_timeout_ms));
        let topics: BTreeSet<TopicName> = beat.topics.iter().cloned().collect();
        let timeouts = (beat.session_timeout_ms, beat.rebalance_timeout_ms);
        let heard = match (topics == self.topics, timeouts == (self.session_timeout_ms, self.rebalance_timeout_ms)) {
            (false, _) => Heard::Subscription,
            (true, false) => Heard::Timeouts,
            (true, true) => Heard::Nothing,
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
    pub(super) fn step_out(&mut self, at: Timestamp) {
        self.away = true;
        self.owned.clear();
        self.giving_up.clear();
        self.expires = after(at, limits::timeout(self.session_timeout_ms));
    }

    /// A member that takes the place of this one with all it was granted.
    pub(super) fn successor(&self) -> Self {
        Self {
            epoch: MemberEpoch::default(),
            previous: None,
            assignment: Slots::new(),
            owned: Slots::new(),
            speaker: Speaker::default(),
            away: false,
            newest_commit: (MemberEpoch::default(), 0),
            ..self.clone()
        }
    }

    /// What it may read as things stand: what is its own, and of what it shall own all that nobody holds.
    pub(super) fn due(&self, owners: &Owners) -> Slots {
        self.target.iter().filter(|slot| self.granted.contains(slot) || owners.is_free(**slot)).copied().collect()
    }

    /// Whether it has yet to give something up, or to be given something.
    pub(super) fn is_reconciling(&self) -> bool {
        self.replaced_by.is_none() && !self.away && self.granted != self.target
    }

    /// Sets the time for each partition that it has yet to give up. Who missed an answer was told only now.
    pub(super) fn watch_giving_up(&mut self, at: Timestamp, missed_an_answer: bool) {
        let by = after(at, limits::timeout(self.rebalance_timeout_ms));
        let told = |slot: &Slot| if missed_an_answer { by } else { self.giving_up.get(slot).copied().unwrap_or(by) };
        self.giving_up = self.granted.difference(&self.assignment).map(|slot| (*slot, told(slot))).collect();
    }

    /// Whether it still holds something whose time is up. That is known only when it says so: one that gave up and had
    /// no occasion to say it yet does no harm.
    pub(super) fn held_on_too_long(&self, at: Timestamp) -> bool {
        self.giving_up.iter().any(|(slot, by)| *by <= at && self.granted.contains(slot))
    }

    pub(super) fn describe(&self, member: &MemberId) -> MemberDescription {
        MemberDescription {
            member: member.clone(),
            epoch: self.epoch,
            topics: self.topics.iter().cloned().collect(),
            owned: slot::to_message(&self.owned),
            target: slot::to_message(&self.target),
        }
    }

    pub(super) fn inspect(&self, member: &MemberId, owners: &Owners, at: Timestamp) -> MemberInspection {
        let holding = |slot: &Slot| Holding {
            topic: slot.topic,
            partition: slot.partition,
            since: owners.since(*slot),
            giving_up: !self.assignment.contains(slot),
        };
        MemberInspection {
            member: member.clone(),
            instance: self.instance.clone(),
            client: self.speaker.client.clone(),
            address: self.speaker.address.clone(),
            session_timeout_ms: self.session_timeout_ms,
            silent_ms: at.millis_since(self.speaker.heard),
            holds: self.granted.iter().map(holding).collect(),
            awaits: slot::to_message(&self.target.difference(&self.granted).copied().collect()),
            replaced_by: self.replaced_by.clone(),
            away: self.away,
        }
    }
}

pub(super) fn after(at: Timestamp, time: Duration) -> Timestamp {
    at.plus_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
