//! The partitions of a consumer, and what follows from their state: which ones have something for the reader, which
//! ones need another fetch, and how much memory they hold.
//!
//! Each change goes through [`PartitionMut`], which updates the queues and the memory account when it is dropped. So a
//! call costs as much as the partitions that it touches, however many there are, and no change can forget a queue.

use super::super::partition::{FetchVersion, HeldBytes, PartitionFetchState};
use crate::record::TopicPartition;
use grower_protocol::message::FetchSlot;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::{Deref, DerefMut};
use tokio::time::Instant;

/// A partition's place in the set. A later partition may get the place of a removed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PartitionIndex(u32);

/// The slot of a fetch session that reads a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FetchPlacement {
    /// The position that the slot reads from.
    pub(crate) version: FetchVersion,
    pub(crate) session: SessionKey,
    pub(crate) slot: FetchSlot,
}

/// Identifies a fetch session of a consumer. A key is used once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct SessionKey(pub(crate) u64);

/// The partitions of a consumer.
#[derive(Debug, Default)]
pub(crate) struct ConsumerPartitions {
    by_name: BTreeMap<TopicPartition, PartitionIndex>,
    entries: Vec<Option<PartitionEntry>>,
    free: Vec<PartitionIndex>,
    /// The partitions with something for the reader, in the order of their turns. Entries may be outdated.
    ready: VecDeque<PartitionIndex>,
    /// The partitions whose slot differs from the wanted one.
    to_plan: VecDeque<PartitionIndex>,
    /// Slots to drop: their partitions were removed.
    orphans: Vec<FetchPlacement>,
    /// The times at which partitions want a slot again.
    retries: BTreeSet<(Instant, PartitionIndex)>,
    held: HeldBytes,
    /// A partition became ready, or an event of one is due.
    has_news: bool,
    /// Events of partitions may be due.
    has_events: bool,
    /// The fetcher has something to do.
    has_changes: bool,
    /// The number of changes of partitions.
    #[cfg(test)]
    pub(super) changes: usize,
}

#[derive(Debug)]
struct PartitionEntry {
    partition: PartitionFetchState,
    placement: Option<FetchPlacement>,
    /// The share of the partition in the memory account.
    counted: HeldBytes,
    is_ready: bool,
    is_to_plan: bool,
    retry_at: Option<Instant>,
}

impl ConsumerPartitions {
    /// Adds a partition that the set does not have.
    pub(super) fn insert(&mut self, partition: PartitionFetchState) {
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            PartitionIndex(self.entries.len() as u32 - 1)
        });
        let earlier = self.by_name.insert(partition.topic_partition.clone(), index);
        debug_assert!(earlier.is_none(), "a partition is added twice: {}", partition.topic_partition);
        let counted = HeldBytes::default();
        let entry =
            PartitionEntry { partition, placement: None, counted, is_ready: false, is_to_plan: false, retry_at: None };
        debug_assert!(self.entries[index.0 as usize].is_none(), "{index:?} is free");
        self.entries[index.0 as usize] = Some(entry);
        self.file(index);
    }

    /// Removes the partitions for which `stays` returns false.
    pub(super) fn retain(&mut self, mut stays: impl FnMut(&TopicPartition, &mut PartitionFetchState) -> bool) {
        let names = std::mem::take(&mut self.by_name);
        let mut removed = BTreeSet::new();
        for (name, index) in names {
            let stays = stays(&name, &mut self.update_at(index).expect("a named partition is in the set"));
            if stays {
                self.by_name.insert(name, index);
            } else {
                removed.insert(index);
            }
        }
        for &index in &removed {
            let entry = self.entries[index.0 as usize].take().expect("a named partition is in the set");
            self.held -= entry.counted;
            self.orphans.extend(entry.placement);
            self.free.push(index);
        }
        if !removed.is_empty() {
            self.has_changes |= !self.orphans.is_empty();
            self.ready.retain(|index| !removed.contains(index));
            self.to_plan.retain(|index| !removed.contains(index));
            self.retries.retain(|(_, index)| !removed.contains(index));
        }
    }

    pub(crate) fn get(&self, name: &TopicPartition) -> Option<&PartitionFetchState> {
        let index = self.by_name.get(name)?;
        self.entry(*index).map(|entry| &entry.partition)
    }

    /// Returns a partition to change.
    pub(crate) fn update(&mut self, name: &TopicPartition) -> Option<PartitionMut<'_>> {
        let index = *self.by_name.get(name)?;
        self.update_at(index)
    }

    pub(crate) fn at(&self, index: PartitionIndex) -> Option<&PartitionFetchState> {
        self.entry(index).map(|entry| &entry.partition)
    }

    /// Returns a partition to change.
    pub(crate) fn update_at(&mut self, index: PartitionIndex) -> Option<PartitionMut<'_>> {
        self.entry(index)?;
        Some(PartitionMut { set: self, index })
    }

    pub(crate) fn contains(&self, name: &TopicPartition) -> bool {
        self.by_name.contains_key(name)
    }

    /// Iterates over all partitions with their placements.
    pub(super) fn placed(&self) -> impl Iterator<Item = (&PartitionFetchState, Option<FetchPlacement>)> {
        self.entries.iter().flatten().map(|entry| (&entry.partition, entry.placement))
    }

    /// Returns the partitions, sorted by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &PartitionFetchState> {
        self.by_name.values().filter_map(|index| self.entry(*index)).map(|entry| &entry.partition)
    }

    /// Changes all partitions that `picks` selects; returns their number.
    pub(crate) fn update_all(
        &mut self,
        picks: impl Fn(&PartitionFetchState) -> bool,
        mut change: impl FnMut(&mut PartitionFetchState),
    ) -> usize {
        let picked = |(index, entry): (usize, &Option<PartitionEntry>)| {
            entry.as_ref().filter(|entry| picks(&entry.partition)).map(|_| PartitionIndex(index as u32))
        };
        let picked: Vec<_> = self.entries.iter().enumerate().filter_map(picked).collect();
        for index in &picked {
            change(&mut self.update_at(*index).expect("the partition was picked"));
        }
        picked.len()
    }

    /// The memory that all partitions hold.
    pub(crate) fn held(&self) -> HeldBytes {
        self.held
    }

    /// The partition whose turn it is to hand something out.
    pub(super) fn current_turn(&mut self) -> Option<PartitionIndex> {
        while let Some(&index) = self.ready.front() {
            let entry = self.entries[index.0 as usize].as_mut().expect("a ready partition is in the set");
            debug_assert!(entry.is_ready, "{} is in the queue", entry.partition.topic_partition);
            if entry.partition.has_something() {
                return Some(index);
            }
            entry.is_ready = false;
            self.ready.pop_front();
        }
        None
    }

    /// Ends the turn of the partition whose turn it is.
    pub(super) fn end_turn(&mut self) {
        if let Some(index) = self.ready.pop_front() {
            self.ready.push_back(index);
        }
    }

    /// Whether a partition may have something for the reader.
    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The number of partitions that may have something for the reader.
    pub(super) fn ready_count(&self) -> usize {
        self.ready.len()
    }

    /// Whether a partition became ready since the last call.
    pub(super) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.has_news)
    }

    /// Whether an event of a partition may be due since the last call.
    pub(super) fn take_events(&mut self) -> bool {
        std::mem::take(&mut self.has_events)
    }

    /// Lets the next call look for events.
    pub(super) fn expect_events(&mut self) {
        self.has_events = true;
    }

    /// Whether a slot is to be added or dropped, now or later, since the last call.
    pub(super) fn take_changes(&mut self) -> bool {
        std::mem::take(&mut self.has_changes)
    }

    /// Returns a slot whose partition was removed.
    pub(crate) fn next_orphan(&mut self) -> Option<FetchPlacement> {
        self.orphans.pop()
    }

    /// Returns the next partition whose slot differs from the wanted one.
    pub(crate) fn next_to_plan(&mut self, now: Instant) -> Option<PartitionIndex> {
        while let Some(&(at, index)) = self.retries.first()
            && at <= now
        {
            self.retries.pop_first();
            if let Some(mut partition) = self.update_at(index) {
                partition.end_wait(now);
            }
        }
        while let Some(index) = self.to_plan.pop_front() {
            let entry = self.entries[index.0 as usize].as_mut().expect("a partition to plan is in the set");
            entry.is_to_plan = false;
            if entry.is_misplaced() {
                return Some(index);
            }
        }
        None
    }

    /// The time at which a partition wants a slot again.
    pub(crate) fn next_retry(&self) -> Option<Instant> {
        self.retries.first().map(|(at, _)| *at)
    }

    fn entry(&self, index: PartitionIndex) -> Option<&PartitionEntry> {
        self.entries.get(index.0 as usize)?.as_ref()
    }

    /// Updates the queues and the memory account after a change of a partition.
    fn file(&mut self, index: PartitionIndex) {
        #[cfg(test)]
        (self.changes += 1);
        let entry = self.entries[index.0 as usize].as_mut().expect("the partition is in the set");
        let held = entry.partition.held();
        self.held -= std::mem::replace(&mut entry.counted, held);
        self.held += held;
        if entry.partition.has_something() && !std::mem::replace(&mut entry.is_ready, true) {
            self.ready.push_back(index);
            self.has_news = true;
        }
        if entry.partition.assignment_is_due() || entry.partition.revocation_is_due() {
            (self.has_news, self.has_events) = (true, true);
        }
        if entry.is_misplaced() && !std::mem::replace(&mut entry.is_to_plan, true) {
            self.to_plan.push_back(index);
            self.has_changes = true;
        }
        let retry_at = entry.partition.wakes_at();
        if retry_at != entry.retry_at {
            if let Some(earlier) = std::mem::replace(&mut entry.retry_at, retry_at) {
                self.retries.remove(&(earlier, index));
            }
            self.has_changes |= retry_at.is_some();
            self.retries.extend(retry_at.map(|at| (at, index)));
        }
    }

    /// Asserts that the memory account and the queues agree with the partitions.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let mut held = HeldBytes::default();
        for entry in self.entries.iter().flatten() {
            held += entry.partition.held();
            assert!(entry.is_ready || !entry.partition.has_something(), "a ready partition is not queued: {entry:?}");
            assert!(entry.is_to_plan || !entry.is_misplaced(), "a changed partition is not queued: {entry:?}");
        }
        assert_eq!(held, self.held, "the memory account is wrong");
    }
}

impl PartitionEntry {
    /// Whether the partition has another slot than it wants.
    fn is_misplaced(&self) -> bool {
        self.placement.map(|placement| placement.version) != self.partition.wanted_version()
    }
}

/// A partition that is being changed.
pub(crate) struct PartitionMut<'a> {
    set: &'a mut ConsumerPartitions,
    index: PartitionIndex,
}

impl PartitionMut<'_> {
    pub(crate) fn placement(&self) -> Option<FetchPlacement> {
        self.entry().placement
    }

    pub(crate) fn place(&mut self, placement: Option<FetchPlacement>) {
        self.set.entries[self.index.0 as usize].as_mut().expect("the partition is in the set").placement = placement;
    }

    fn entry(&self) -> &PartitionEntry {
        self.set.entry(self.index).expect("the partition is in the set")
    }
}

impl Deref for PartitionMut<'_> {
    type Target = PartitionFetchState;

    fn deref(&self) -> &PartitionFetchState {
        &self.entry().partition
    }
}

impl DerefMut for PartitionMut<'_> {
    fn deref_mut(&mut self) -> &mut PartitionFetchState {
        &mut self.set.entries[self.index.0 as usize].as_mut().expect("the partition is in the set").partition
    }
}

impl Drop for PartitionMut<'_> {
    fn drop(&mut self) {
        self.set.file(self.index);
    }
}
