//! How far a group has read.

use super::GroupRefusal;
use super::limits::GroupLimits;
use super::record::{GroupRecord, OffsetState};
use super::size;
use super::slot::Slot;
use grower_protocol::ids::{GroupId, Offset, PartitionId, TopicId};
use grower_protocol::message::{CommittedOffset, PositionToCommit};
use std::collections::{BTreeMap, BTreeSet};

/// Offsets that are in the coordinator's log.
#[derive(Clone, Debug, Default)]
pub(super) struct Offsets {
    by_slot: BTreeMap<Slot, OffsetState>,
    /// What they take of memory.
    bytes: usize,
}

/// Where the logs that offsets belong to end: none for a partition that is not there.
pub type LogEnds<'a> = dyn Fn(TopicId, PartitionId) -> Option<Offset> + 'a;

impl Offsets {
    pub(super) fn set(&mut self, slot: Slot, state: Option<OffsetState>) {
        self.bytes += state.as_ref().map_or(0, size_of_offset);
        let before = match state {
            Some(state) => self.by_slot.insert(slot, state),
            None => self.by_slot.remove(&slot),
        };
        self.bytes -= before.as_ref().map_or(0, size_of_offset);
    }

    /// An estimate of what they take of memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of text beside the offset of a partition; none if none was ever committed.
    pub(super) fn text_length(&self, wish: &PositionToCommit) -> Option<usize> {
        let slot = Slot { topic: wish.topic, partition: wish.partition };
        self.by_slot.get(&slot).map(|state| state.metadata.len())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_slot.is_empty()
    }

    /// The topics of the partitions, each once or more.
    pub(super) fn topics(&self) -> impl Iterator<Item = TopicId> {
        self.by_slot.keys().map(|slot| slot.topic)
    }

    /// Of these partitions, or all; those that were ever committed, sorted.
    pub(super) fn fetch(&self, partitions: Option<&[(TopicId, PartitionId)]>) -> Vec<CommittedOffset> {
        match partitions {
            None => self.by_slot.iter().map(|(slot, state)| committed(*slot, state)).collect(),
            Some(wanted) => {
                let slots: BTreeSet<Slot> =
                    wanted.iter().map(|(topic, partition)| Slot { topic: *topic, partition: *partition }).collect();
                slots.iter().filter_map(|slot| Some(committed(*slot, self.by_slot.get(slot)?))).collect()
            }
        }
    }

    /// Records that forget everything, or one topic.
    pub(super) fn forget(&self, group: &GroupId, topic: Option<TopicId>) -> Vec<GroupRecord> {
        let gone = self.by_slot.keys().filter(|slot| topic.is_none_or(|topic| topic == slot.topic));
        gone.map(|slot| record(group, *slot, None)).collect()
    }
}

/// Checks the positions of one commit, each alone; `owned` says whether the sender may commit for a partition.
pub(super) fn check_commit(
    positions: &[PositionToCommit],
    limits: &GroupLimits,
    log_ends: &LogEnds<'_>,
    owned: impl Fn(Slot) -> Result<(), GroupRefusal>,
) -> Vec<Result<(Slot, OffsetState), GroupRefusal>> {
    let mut named = BTreeSet::new();
    let check = |wish: &PositionToCommit| {
        let slot = Slot { topic: wish.topic, partition: wish.partition };
        if !named.insert(slot) {
            return Err(GroupRefusal::NamedTwice);
        }
        owned(slot)?;
        let (bytes, max) = (wish.metadata.len(), limits.metadata_bytes);
        if max < bytes {
            return Err(GroupRefusal::MetadataTooLarge { bytes, max });
        }
        let log_end = log_ends(wish.topic, wish.partition).ok_or(GroupRefusal::UnknownPartition)?;
        if log_end < wish.offset {
            return Err(GroupRefusal::PastLogEnd { offset: wish.offset, log_end });
        }
        Ok((slot, OffsetState { offset: wish.offset, metadata: wish.metadata.clone() }))
    };
    positions.iter().map(check).collect()
}

pub(super) fn record(group: &GroupId, slot: Slot, state: Option<OffsetState>) -> GroupRecord {
    GroupRecord::Offset { group: group.clone(), slot, state }
}

fn size_of_offset(state: &OffsetState) -> usize {
    size::OFFSET + state.metadata.len()
}

fn committed(slot: Slot, state: &OffsetState) -> CommittedOffset {
    CommittedOffset {
        topic: slot.topic,
        partition: slot.partition,
        offset: state.offset,
        metadata: state.metadata.clone(),
    }
}
