//! A member's process with the timeouts of the protocol.

use super::super::*;
use grower_protocol::message::instance_lease;
use std::time::Duration;

const SESSION: u64 = SESSION_MS as u64;

pub(super) struct Process {
    pub(super) member: Member,
    /// The time when it learned of the revocation of each partition that it still reads.
    revoked_at: BTreeMap<TopicIdPartition, u64>,
    /// The time when it sent its last answered heartbeat, by the world's clock.
    heard: u64,
    /// A waiting heartbeat, its answer at the timeout, and the time when it was sent.
    pub(super) held: Option<(Heartbeat, HeartbeatAnswer, u64)>,
    /// Its waiting heartbeat should look again.
    pub(super) woken: bool,
    /// Its positions.
    pub(super) positions: BTreeMap<TopicIdPartition, u64>,
}

impl Process {
    pub(super) fn new(member: Member, clock: u64) -> Self {
        Self { member, revoked_at: BTreeMap::new(), heard: clock, held: None, woken: false, positions: BTreeMap::new() }
    }

    /// The partitions that it may hand to its application now.
    pub(super) fn reads(&self, clock: u64) -> BTreeSet<TopicIdPartition> {
        let lease = instance_lease(Duration::from_millis(SESSION)).as_millis() as u64;
        let pauses = self.member.instance.is_some() && self.heard + lease <= clock;
        if pauses { BTreeSet::new() } else { self.member.reading.clone() }
    }

    /// Gives up revoked partitions at their deadline, and everything after a session without an answer.
    pub(super) fn watch(&mut self, clock: u64) {
        let too_late =
            |partition: &TopicIdPartition| self.revoked_at.get(partition).is_some_and(|since| since + SESSION <= clock);
        self.member.reading.retain(|partition| self.heard + SESSION > clock && !too_late(partition));
    }

    /// Takes an answer to a heartbeat sent at `sent`; it may keep reading revoked partitions.
    pub(super) fn hears(&mut self, answer: &HeartbeatAnswer, sent: u64, clock: u64, keeps_reading: bool) {
        assert!(self.member.epoch <= answer.epoch, "a member's epoch went back");
        let before = std::mem::take(&mut self.member.reading);
        self.member.hears(answer);
        let excess: Vec<TopicIdPartition> = before.difference(&self.member.reading).copied().collect();
        self.revoked_at.retain(|partition, _| excess.contains(partition));
        if keeps_reading {
            for partition in &excess {
                self.revoked_at.entry(*partition).or_insert(clock);
            }
            self.member.reading.extend(excess);
        }
        self.positions.retain(|partition, _| self.member.reading.contains(partition));
        self.heard = sent;
        self.watch(clock); // The heartbeat may be old.
    }

    /// Starts again after a refusal.
    pub(super) fn loses_everything(&mut self, clock: u64) {
        self.member.epoch = MemberEpoch::default();
        self.member.reading.clear();
        self.revoked_at.clear();
        self.positions.clear();
        self.heard = clock;
    }
}
