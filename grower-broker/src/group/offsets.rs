//! How far a group has read.

use super::GroupRefusal;
use super::limits::GroupLimits;
use super::record::{GroupRecord, OffsetState};
use super::slot::Slot;
use grower_protocol::ids::{GroupId, Offset, PartitionId, TopicId};
use grower_protocol::message::{CommittedOffset, OffsetToCommit};
use std::collections::{BTreeMap, BTreeSet};

/// Offsets that are in the coordinator's log.
#[derive(Clone, Debug, Default)]
pub(super) struct Offsets(BTreeMap<Slot, OffsetState>);

/// Where the logs that offsets belong to end: none for a partition that is not there.
pub type LogEnds<'a> = dyn Fn(TopicId, PartitionId) -> Option<Offset> + 'a;

impl Offsets {
    pub(super) fn set(&mut self, slot: Slot, state: Option<OffsetState>) {
        match state {
            Some(state) => self.0.insert(slot, state),
            None => self.0.remove(&slot),
        };
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Of these partitions, or all; those that were ever committed, sorted.
    pub(super) fn fetch(&self, partitions: Option<&[(TopicId, PartitionId)]>) -> Vec<CommittedOffset> {
        match partitions {
            None => self.0.iter().map(|(slot, state)| committed(*slot, state)).collect(),
            Some(wanted) => {
                let slots: BTreeSet<Slot> =
                    wanted.iter().map(|(topic, partition)| Slot { topic: *topic, partition: *partition }).collect();
                slots.iter().filter_map(|slot| Some(committed(*slot, self.0.get(slot)?))).collect()
            }
        }
    }

    /// Records that forget everything, or one topic.
    pub(super) fn forget(&self, group: &GroupId, topic: Option<TopicId>) -> Vec<GroupRecord> {
        let gone = self.0.keys().filter(|slot| topic.is_none_or(|topic| topic == slot.topic));
        gone.map(|slot| record(group, *slot, None)).collect()
    }
}

/// Checks the offsets of one commit, each alone; `owned` says whether the sender may commit for a partition.
pub(super) fn check_commit(
    offsets: &[OffsetToCommit],
    limits: &GroupLimits,
    log_ends: &LogEnds<'_>,
    owned: impl Fn(Slot) -> Result<(), GroupRefusal>,
) -> Vec<Result<(Slot, OffsetState), GroupRefusal>> {
    let mut named = BTreeSet::new();
    let check = |wish: &OffsetToCommit| {
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
    offsets.iter().map(check).collect()
}

pub(super) fn record(group: &GroupId, slot: Slot, state: Option<OffsetState>) -> GroupRecord {
    GroupRecord::Offset { group: group.clone(), slot, state }
}

fn committed(slot: Slot, state: &OffsetState) -> CommittedOffset {
    CommittedOffset {
        topic: slot.topic,
        partition: slot.partition,
        offset: state.offset,
        metadata: state.metadata.clone(),
    }
}
