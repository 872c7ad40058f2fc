//! A member's process with the times that the protocol asks it to watch.

use super::super::*;
use grower_protocol::message::instance_lease;
use std::time::Duration;

const SESSION: u64 = SESSION_MS as u64;

pub(super) struct Process {
    pub(super) member: Member,
    /// Since when it knows that it must give up these.
    told: BTreeMap<PartitionKey, u64>,
    /// When it last sent a heartbeat that was answered, by the world's clock.
    heard: u64,
    /// A heartbeat that waits for its answer, the answer if nothing comes, and when it was sent.
    pub(super) held: Option<(Heartbeat, HeartbeatAnswer, u64)>,
    /// Somebody wants that it looks for news.
    pub(super) rung: bool,
    /// How far it has read.
    pub(super) positions: BTreeMap<PartitionKey, u64>,
}

impl Process {
    pub(super) fn new(member: Member, clock: u64) -> Self {
        Self { member, told: BTreeMap::new(), heard: clock, held: None, rung: false, positions: BTreeMap::new() }
    }

    /// What it may hand to its application now.
    pub(super) fn reads(&self, clock: u64) -> BTreeSet<PartitionKey> {
        let lease = instance_lease(Duration::from_millis(SESSION)).as_millis() as u64;
        let pauses = self.member.instance.is_some() && self.heard + lease <= clock;
        if pauses { BTreeSet::new() } else { self.member.reading.clone() }
    }

    /// It watches its clock: what was to be given up is, and without an answer for a session, everything.
    pub(super) fn watch(&mut self, clock: u64) {
        let too_late =
            |partition: &PartitionKey| self.told.get(partition).is_some_and(|since| since + SESSION <= clock);
        self.member.reading.retain(|partition| self.heard + SESSION > clock && !too_late(partition));
    }

    /// An answer to what it sent then; it may hold on to what it should give up.
    pub(super) fn hears(&mut self, answer: &HeartbeatAnswer, sent: u64, clock: u64, holds_on: bool) {
        assert!(self.member.epoch <= answer.epoch, "a member's epoch went back");
        let before = std::mem::take(&mut self.member.reading);
        self.member.hears(answer);
        let excess: Vec<PartitionKey> = before.difference(&self.member.reading).copied().collect();
        self.told.retain(|partition, _| excess.contains(partition));
        if holds_on {
            for partition in &excess {
                self.told.entry(*partition).or_insert(clock);
            }
            self.member.reading.extend(excess);
        }
        self.positions.retain(|partition, _| self.member.reading.contains(partition));
        self.heard = sent;
        self.watch(clock); // An answer to an old heartbeat.
    }

    /// It is told to start again.
    pub(super) fn loses_everything(&mut self, clock: u64) {
        self.member.epoch = MemberEpoch::default();
        self.member.reading.clear();
        self.told.clear();
        self.positions.clear();
        self.heard = clock;
    }
}
