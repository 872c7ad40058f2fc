//! The newest commit of each committer outside the group's membership.
//!
//! A commit that its sender abandoned may arrive after later ones, and must not take them back. Epochs fence members.
//! Other committers have a random identity and number their commits. The numbers are kept in memory only, since no
//! request outlives the broker that received it. The table is bounded: the committer that was silent longest is
//! dropped first.

use super::GroupRefusal;
use grower_protocol::ids::{CommitterId, GroupId};
use std::collections::BTreeMap;

/// Estimated memory of one entry, without the two names.
const ENTRY_BYTES: usize = 256;

type CommitterKey = (GroupId, CommitterId);

/// Committers outside the membership, for all groups of a shard.
#[derive(Clone, Debug, Default)]
pub(super) struct Committers {
    newest: BTreeMap<CommitterKey, NewestCommit>,
    /// In the order of their newest commits.
    by_age: BTreeMap<u64, CommitterKey>,
    next_number: u64,
    bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct NewestCommit {
    sequence: u64,
    number: u64,
}

impl Committers {
    /// Refuses a commit that is older than the committer's newest one, and remembers it otherwise.
    pub(super) fn check_order(
        &mut self,
        group: &GroupId,
        committer: &CommitterId,
        sequence: u64,
        max: usize,
    ) -> Result<(), GroupRefusal> {
        let key = (group.clone(), committer.clone());
        if let Some(newest) = self.newest.get(&key) {
            if sequence < newest.sequence {
                return Err(GroupRefusal::OvertakenCommit { committer: committer.into(), sequence });
            }
            self.by_age.remove(&newest.number);
        } else {
            self.bytes += bytes_of(&key);
        }
        self.next_number += 1;
        self.newest.insert(key.clone(), NewestCommit { sequence, number: self.next_number });
        self.by_age.insert(self.next_number, key);
        self.forget_oldest(max);
        debug_assert_eq!(self.newest.len(), self.by_age.len(), "each committer has one place in the order");
        debug_assert!(self.newest.len() <= max);
        Ok(())
    }

    fn forget_oldest(&mut self, max: usize) {
        while max < self.newest.len()
            && let Some((_, key)) = self.by_age.pop_first()
        {
            self.bytes -= bytes_of(&key);
            let gone = self.newest.remove(&key);
            debug_assert!(gone.is_some(), "the order lists remembered committers only");
        }
        debug_assert!(!self.newest.is_empty() || self.bytes == 0, "no committers take no memory");
    }

    /// Estimated memory of all entries.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

fn bytes_of((group, committer): &CommitterKey) -> usize {
    ENTRY_BYTES + group.as_str().len() + committer.as_str().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(committers: &mut Committers, name: &str, sequence: u64) -> bool {
        let (group, id) = (GroupId::new("g").unwrap(), CommitterId::new(name).unwrap());
        committers.check_order(&group, &id, sequence, 2).is_ok()
    }

    #[test]
    fn only_a_later_commit_of_the_same_committer_overtakes_and_a_repetition_is_accepted() {
        let mut committers = Committers::default();
        assert!(commit(&mut committers, "a", 2));
        assert!(!commit(&mut committers, "a", 1));
        assert!(commit(&mut committers, "a", 2));
        assert!(commit(&mut committers, "b", 1));
        assert!(commit(&mut committers, "a", 3));
        assert!(!commit(&mut committers, "a", 2));
    }

    #[test]
    fn the_committer_that_was_silent_longest_is_dropped_first() {
        let mut committers = Committers::default();
        assert!(commit(&mut committers, "a", 9));
        assert!(commit(&mut committers, "b", 9));
        assert!(commit(&mut committers, "a", 9));
        let bytes = committers.bytes();
        assert!(commit(&mut committers, "c", 9));
        assert_eq!(committers.bytes(), bytes);
        assert!(!commit(&mut committers, "a", 1));
        assert!(commit(&mut committers, "b", 1), "it was dropped");
    }
}
