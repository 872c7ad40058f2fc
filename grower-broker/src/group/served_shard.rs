//! A shard that is served, with its locks. Each lock is held for a moment, never during I/O.

use crate::critical::{StateGuard, StateMutex};
use crate::group::state::{GroupActivity, GroupShard};
use crate::health::Health;
use crate::memory::StateReservation;
use grower_protocol::ids::{GroupId, Offset};
use grower_protocol::message::Failure;
use std::collections::HashMap;

/// A shard with the state around it.
pub(super) struct ServedShard {
    pub(super) shard: StateMutex<GroupShard>,
    /// The reason why its log could not be read at the start. The shard is empty then, and its groups are unavailable.
    pub(super) unknown: Option<Failure>,
    /// Activity of its groups. This and the following locks may be taken inside the shard's lock or without it, and the
    /// shard's lock inside none of them.
    pub(super) activity: StateMutex<GroupActivity>,
    /// Its part of the memory budget.
    reservation: StateMutex<StateReservation>,
    pub(super) written: StateMutex<WrittenEnds>,
    /// Held during an append: the only lock here that waits for a disk. Nothing else waits for it.
    pub(super) appending: tokio::sync::Mutex<()>,
}

impl ServedShard {
    pub(super) fn new(
        shard: GroupShard,
        activity: GroupActivity,
        mut reservation: StateReservation,
        unknown: Option<Failure>,
        health: &Health,
    ) -> Self {
        reservation.set(shard.bytes());
        Self {
            shard: StateMutex::new(health, "a change of groups", shard),
            unknown,
            activity: StateMutex::new(health, "a change of groups' activity", activity),
            reservation: StateMutex::new(health, "a change of groups' memory", reservation),
            written: StateMutex::new(health, "a change of the ends of groups' records", WrittenEnds::default()),
            appending: tokio::sync::Mutex::default(),
        }
    }

    /// Locks the shard, and tells it how much memory is left.
    pub(super) fn lock_for_decision(&self) -> StateGuard<'_, GroupShard> {
        let mut shard = self.shard.lock();
        shard.set_memory_left(self.reservation.lock().room());
        shard
    }

    /// Counts the memory that the shard takes after a decision.
    pub(super) fn count_memory(&self) {
        let shard = self.shard.lock(); // First, as in a decision: two locks in two orders would wait for each other.
        self.reservation.lock().set(shard.bytes());
    }
}

/// The end of each group's newest record in the shard's log. An answer about a group waits until that is durable, and
/// not for records of other groups.
#[derive(Debug, Default)]
pub(super) struct WrittenEnds {
    newest: Offset,
    by_group: HashMap<GroupId, Offset>,
    /// The number of entries at which durable ones are dropped next.
    cleanup_len: usize,
}

/// With fewer entries, durable ones are not dropped.
const CLEANUP_MIN: usize = 64;

impl WrittenEnds {
    /// Notes that records of a group were appended up to `end`; the log is durable up to `durable`.
    pub(super) fn note(&mut self, group: Option<&GroupId>, end: Offset, durable: Offset) {
        debug_assert!(self.newest <= end, "the log of a shard only grows");
        debug_assert!(durable <= end, "nothing is durable before it is written");
        self.newest = end;
        let Some(group) = group else { return };
        self.by_group.insert(group.clone(), end);
        if self.cleanup_len.max(CLEANUP_MIN) <= self.by_group.len() {
            self.by_group.retain(|_, end| durable < *end);
            self.cleanup_len = 2 * self.by_group.len();
        }
    }

    /// The end of a group's newest record. Everything of an unlisted group is durable.
    pub(super) fn of(&self, group: &GroupId) -> Offset {
        self.by_group.get(group).copied().unwrap_or_default()
    }

    /// The end of the newest record of any group.
    pub(super) fn newest(&self) -> Offset {
        self.newest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::state::GroupLimits;
    use crate::memory::{Memory, StateKind};
    use crate::metrics::Metrics;
    use std::sync::{Arc, mpsc};
    use std::time::Duration;

    #[test]
    fn decisions_and_counts_of_memory_never_wait_for_each_other() {
        let memory = Memory::new(16 << 20).state_reservation(StateKind::Groups);
        let (shard, activity) = (GroupShard::new(GroupLimits::default()), GroupActivity::default());
        let health = Health::new(Metrics::for_test());
        let live = Arc::new(ServedShard::new(shard, activity, memory, None, &health));
        let (done, ends) = mpsc::channel();
        let works: [fn(&ServedShard); 2] = [|live| drop(live.lock_for_decision()), ServedShard::count_memory];
        for work in works {
            let (live, done) = (live.clone(), done.clone());
            std::thread::spawn(move || {
                (0..50_000).for_each(|_| work(&live));
                done.send(())
            });
        }
        for _ in works {
            ends.recv_timeout(Duration::from_secs(60)).expect("two locks are taken in one order");
        }
    }

    #[test]
    fn each_group_waits_for_its_own_records_and_durable_ends_are_dropped() {
        let mut ends = WrittenEnds::default();
        let group = |number: u64| GroupId::new(&format!("g{number}")).unwrap();
        for number in 0..1_000u64 {
            let durable = Offset::new(number.saturating_sub(10));
            ends.note(Some(&group(number)), Offset::new(number + 1), durable);
            assert_eq!(ends.of(&group(number)), Offset::new(number + 1));
        }
        assert!(ends.by_group.len() <= CLEANUP_MIN, "{}", ends.by_group.len());
        assert_eq!(ends.of(&group(995)), Offset::new(996));
        assert_eq!(ends.of(&group(3)), Offset::ZERO);
        ends.note(None, Offset::new(2_000), Offset::ZERO);
        assert_eq!((ends.newest(), ends.of(&group(999))), (Offset::new(2_000), Offset::new(1_000)));
    }
}
