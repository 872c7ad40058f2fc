//! How far a group has read.

use super::GroupRefusal;
use super::limits::GroupLimits;
use super::record::{GroupRecord, OffsetState};
use super::size;
use super::slot::Slot;
use grower_protocol::ids::{GroupId, Offset, PartitionId, TopicId};
use grower_protocol::message::{CommittedOffset, CommittedPosition, PositionToCommit};
use std::collections::{BTreeMap, BTreeSet};

/// Offsets that are in the coordinator's log.
#[derive(Clone, Debug, Default)]
pub(super) struct Offsets {
    by_slot: BTreeMap<Slot, OffsetState>,
    /// What they take of memory.
    bytes: usize,
}

/// Whether a position is not in the log yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IsNew(pub(super) bool);

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
        self.known(partitions).map(|(slot, state)| committed(slot, state)).collect()
    }

    /// The same with leader epochs.
    pub(super) fn positions(&self, partitions: Option<&[(TopicId, PartitionId)]>) -> Vec<CommittedPosition> {
        self.known(partitions).map(|(slot, state)| position(slot, state)).collect()
    }

    fn known(&self, partitions: Option<&[(TopicId, PartitionId)]>) -> impl Iterator<Item = (Slot, &OffsetState)> {
        let wanted = partitions.map(|wanted| {
            wanted
                .iter()
                .map(|(topic, partition)| Slot { topic: *topic, partition: *partition })
                .collect::<BTreeSet<_>>()
        });
        let all = wanted.is_none().then(|| self.by_slot.iter().map(|(slot, state)| (*slot, state)));
        let named = wanted.into_iter().flatten().filter_map(|slot| Some((slot, self.by_slot.get(&slot)?)));
        all.into_iter().flatten().chain(named)
    }

    /// What to write down so that each of these partitions has a position, and all those positions. Where the group has one
    /// it stays. In a topic in which it has others, a partition without one came later: it begins at its first record.
    pub(super) fn start(
        &self,
        starts: &[PositionToCommit],
        log_ends: &LogEnds<'_>,
    ) -> Result<BTreeMap<Slot, (OffsetState, IsNew)>, GroupRefusal> {
        let known: BTreeSet<TopicId> = self.by_slot.keys().map(|slot| slot.topic).collect();
        let mut positions = BTreeMap::new();
        for wish in starts {
            let slot = Slot { topic: wish.topic, partition: wish.partition };
            let log_end = log_ends(wish.topic, wish.partition).ok_or(GroupRefusal::UnknownPartition)?;
            let state = match self.by_slot.get(&slot) {
                Some(state) => (state.clone(), IsNew(false)),
                None if known.contains(&slot.topic) => (OffsetState::default(), IsNew(true)),
                None if log_end < wish.offset => {
                    return Err(GroupRefusal::PastLogEnd { offset: wish.offset, log_end });
                }
                None => (OffsetState { metadata: String::new(), ..state_of(wish) }, IsNew(true)),
            };
            positions.insert(slot, state);
        }
        Ok(positions)
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
        Ok((slot, state_of(wish)))
    };
    positions.iter().map(check).collect()
}

fn state_of(wish: &PositionToCommit) -> OffsetState {
    OffsetState { offset: wish.offset, leader_epoch: wish.leader_epoch, metadata: wish.metadata.clone() }
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

/// Whether the log still has what was read is the shell's to say.
pub(super) fn position(slot: Slot, state: &OffsetState) -> CommittedPosition {
    CommittedPosition {
        topic: slot.topic,
        partition: slot.partition,
        offset: state.offset,
        leader_epoch: state.leader_epoch,
        metadata: state.metadata.clone(),
        lost_from: None,
    }
}
