//! One shard of groups with all that is kept beside it. Each lock is held for a moment, never during I/O.

use crate::critical::StateMutex;
use crate::group::state::{GroupActivity, GroupShard};
use crate::health::Health;
use crate::memory::Remembered;
use grower_protocol::ids::{GroupId, Offset};
use grower_protocol::message::Failure;
use std::collections::HashMap;

/// A shard that is being served.
pub(super) struct ServedShard {
    pub(super) shard: StateMutex<GroupShard>,
    /// Why its log could not be read at the start: then the shard holds nothing, and nothing is said of its groups.
    pub(super) unknown: Option<Failure>,
    /// GroupActivity of its groups. Locked within the shard's lock or without it, like all that follows.
    pub(super) activity: StateMutex<GroupActivity>,
    /// What it takes of the memory budget.
    pub(super) remembered: StateMutex<Remembered>,
    pub(super) written: StateMutex<WrittenEnds>,
    /// Held while records are on their way into the log: the only lock here that waits for a disk, and nothing else
    /// waits for it.
    pub(super) appending: tokio::sync::Mutex<()>,
}

impl ServedShard {
    pub(super) fn new(
        shard: GroupShard,
        activity: GroupActivity,
        mut remembered: Remembered,
        unknown: Option<Failure>,
        health: &Health,
    ) -> Self {
        remembered.set(shard.bytes());
        Self {
            shard: StateMutex::new(health, "a change of groups", shard),
            unknown,
            activity: StateMutex::new(health, "a change of groups' activity", activity),
            remembered: StateMutex::new(health, "the count of groups' memory", remembered),
            written: StateMutex::new(health, "the note of what groups wrote", WrittenEnds::default()),
            appending: tokio::sync::Mutex::default(),
        }
    }
}

/// Where in the shard's log the newest record of each group ends: an answer about a group waits until that is durable,
/// and not for what other groups wrote.
#[derive(Debug, Default)]
pub(super) struct WrittenEnds {
    newest: Offset,
    by_group: HashMap<GroupId, Offset>,
    /// With so many entries, those that say nothing any more are looked for.
    crowded: usize,
}

/// Fewer entries are not worth a look.
const CROWDED_MIN: usize = 64;

impl WrittenEnds {
    /// Records of a group were appended up to `end`. What lies below `durable` is durable.
    pub(super) fn note(&mut self, group: Option<&GroupId>, end: Offset, durable: Offset) {
        debug_assert!(self.newest <= end, "the log of a shard only grows");
        self.newest = end;
        let Some(group) = group else { return };
        self.by_group.insert(group.clone(), end);
        if self.crowded.max(CROWDED_MIN) <= self.by_group.len() {
            self.by_group.retain(|_, end| durable < *end);
            self.crowded = 2 * self.by_group.len();
        }
    }

    /// Where the newest record of a group ends. All of an unknown group is durable.
    pub(super) fn of(&self, group: &GroupId) -> Offset {
        self.by_group.get(group).copied().unwrap_or_default()
    }

    /// Where the newest record of all groups ends.
    pub(super) fn newest(&self) -> Offset {
        self.newest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_group_waits_for_its_own_records_and_what_is_durable_is_forgotten() {
        let mut ends = WrittenEnds::default();
        let group = |number: u64| GroupId::new(&format!("g{number}")).unwrap();
        for number in 0..1_000u64 {
            let durable = Offset::new(number.saturating_sub(10));
            ends.note(Some(&group(number)), Offset::new(number + 1), durable);
            assert_eq!(ends.of(&group(number)), Offset::new(number + 1));
        }
        assert!(ends.by_group.len() <= CROWDED_MIN, "{}", ends.by_group.len());
        assert_eq!(ends.of(&group(995)), Offset::new(996));
        assert_eq!(ends.of(&group(3)), Offset::ZERO);
        ends.note(None, Offset::new(2_000), Offset::ZERO);
        assert_eq!((ends.newest(), ends.of(&group(999))), (Offset::new(2_000), Offset::new(1_000)));
    }
}
