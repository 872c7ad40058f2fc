//! Which member has which partition, and since when: the union of what was granted.

use super::slot::Slot;
use grower_protocol::ids::{MemberId, Timestamp};
use std::collections::BTreeMap;

/// A partition has one owner at most.
#[derive(Clone, Debug, Default)]
pub(super) struct Owners(BTreeMap<Slot, Owner>);

#[derive(Clone, Debug)]
pub(super) struct Owner {
    pub(super) member: MemberId,
    /// By the calendar.
    pub(super) since: Timestamp,
}

impl Owners {
    pub(super) fn is_free(&self, slot: Slot) -> bool {
        !self.0.contains_key(&slot)
    }

    pub(super) fn grant(&mut self, slot: Slot, member: &MemberId, since: Timestamp) {
        self.0.insert(slot, Owner { member: member.clone(), since });
    }

    pub(super) fn free(&mut self, slot: Slot) {
        self.0.remove(&slot);
    }

    pub(super) fn since(&self, slot: Slot) -> Timestamp {
        self.0.get(&slot).map(|owner| owner.since).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, &MemberId)> {
        self.0.iter().map(|(slot, owner)| (*slot, &owner.member))
    }
}
