//! The newest commit of each committer that is not a member.
//!
//! A commit that was given up by its sender may still be on its way and arrive after later ones: it must not take them
//! back. Members are fenced by their epochs; everybody else is known by a random identity and numbers its commits. The
//! numbers are not written down: no request outlives the broker that it was sent to. Only the newest committers are
//! remembered, so that their number does not grow for ever.

use super::GroupRefusal;
use grower_protocol::ids::{CommitterId, GroupId};
use std::collections::BTreeMap;

/// An estimate of what one of them takes of memory beside the two names.
const ENTRY_BYTES: usize = 256;

type CommitterKey = (GroupId, CommitterId);

/// Committers outside memberships, of all groups of a shard.
#[derive(Clone, Debug, Default)]
pub(super) struct Committers {
    newest: BTreeMap<CommitterKey, NewestCommit>,
    /// By when each was heard last.
    by_turn: BTreeMap<u64, CommitterKey>,
    next_turn: u64,
    bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct NewestCommit {
    sequence: u64,
    turn: u64,
}

impl Committers {
    /// Refuses a commit that is older than one that was heard before, and remembers this one otherwise.
    pub(super) fn check_order(
        &mut self,
        group: &GroupId,
        committer: &CommitterId,
        sequence: u64,
        most: usize,
    ) -> Result<(), GroupRefusal> {
        let key = (group.clone(), committer.clone());
        if let Some(newest) = self.newest.get(&key) {
            if sequence < newest.sequence {
                return Err(GroupRefusal::OvertakenCommit { committer: committer.into(), sequence });
            }
            self.by_turn.remove(&newest.turn);
        } else {
            self.bytes += bytes_of(&key);
        }
        self.next_turn += 1;
        self.newest.insert(key.clone(), NewestCommit { sequence, turn: self.next_turn });
        self.by_turn.insert(self.next_turn, key);
        self.forget_oldest(most);
        debug_assert_eq!(self.newest.len(), self.by_turn.len());
        Ok(())
    }

    fn forget_oldest(&mut self, most: usize) {
        while most < self.newest.len()
            && let Some((_, key)) = self.by_turn.pop_first()
        {
            self.bytes -= bytes_of(&key);
            self.newest.remove(&key);
        }
    }

    /// What they take of memory.
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
    fn each_committer_counts_for_itself_and_a_repetition_is_not_late() {
        let mut committers = Committers::default();
        assert!(commit(&mut committers, "a", 2));
        assert!(!commit(&mut committers, "a", 1));
        assert!(commit(&mut committers, "a", 2));
        assert!(commit(&mut committers, "b", 1));
        assert!(commit(&mut committers, "a", 3));
        assert!(!commit(&mut committers, "a", 2));
    }

    #[test]
    fn the_committer_that_was_silent_longest_is_forgotten_first() {
        let mut committers = Committers::default();
        assert!(commit(&mut committers, "a", 9));
        assert!(commit(&mut committers, "b", 9));
        assert!(commit(&mut committers, "a", 9));
        let bytes = committers.bytes();
        assert!(commit(&mut committers, "c", 9));
        assert_eq!(committers.bytes(), bytes);
        assert!(!commit(&mut committers, "a", 1));
        assert!(commit(&mut committers, "b", 1), "it is not known any more");
    }
}
