//! Committed offsets: how far a group has read.

use super::GroupRefusal;
use super::limits::GroupLimits;
use super::record::{GroupRecord, StoredOffset};
use super::size;
use super::topic_id_partition::TopicIdPartition;
use grower_protocol::ids::{GroupId, Offset, PartitionId, TopicId};
use grower_protocol::message::{CommittedOffset, OffsetToCommit};
use std::collections::{BTreeMap, BTreeSet};

/// Offsets that are in the log.
///
/// Invariant: `bytes` is the sum of the entries' estimates.
#[derive(Clone, Debug, Default)]
pub(super) struct Offsets {
    by_partition: BTreeMap<TopicIdPartition, StoredOffset>,
    /// Estimated memory of all entries.
    bytes: usize,
}

/// Whether an offset is new, and not in the log yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IsNew(pub(super) bool);

/// The log end of a partition; none for a partition that does not exist.
pub type LogEnds<'a> = dyn Fn(TopicId, PartitionId) -> Option<Offset> + 'a;

impl Offsets {
    pub(super) fn set(&mut self, partition: TopicIdPartition, state: Option<StoredOffset>) {
        self.bytes += state.as_ref().map_or(0, offset_bytes);
        let before = match state {
            Some(state) => self.by_partition.insert(partition, state),
            None => self.by_partition.remove(&partition),
        };
        self.bytes -= before.as_ref().map_or(0, offset_bytes);
        debug_assert!(!self.by_partition.is_empty() || self.bytes == 0, "no offsets take no memory");
    }

    /// Estimated memory of all entries.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of the metadata text of a partition's offset; none without an offset.
    pub(super) fn text_length(&self, request: &OffsetToCommit) -> Option<usize> {
        let partition = TopicIdPartition { topic: request.topic, partition: request.partition };
        self.by_partition.get(&partition).map(|state| state.metadata.len())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_partition.is_empty()
    }

    /// The topics of all offsets, each once or more.
    pub(super) fn topics(&self) -> impl Iterator<Item = TopicId> {
        self.by_partition.keys().map(|partition| partition.topic)
    }

    /// Committed offsets of these partitions, or of all, sorted.
    pub(super) fn fetch(&self, partitions: Option<&[(TopicId, PartitionId)]>) -> Vec<CommittedOffset> {
        self.known(partitions).map(|(partition, state)| committed(partition, state)).collect()
    }

    fn known(
        &self,
        partitions: Option<&[(TopicId, PartitionId)]>,
    ) -> impl Iterator<Item = (TopicIdPartition, &StoredOffset)> {
        let wanted = partitions.map(|wanted| {
            wanted
                .iter()
                .map(|(topic, partition)| TopicIdPartition { topic: *topic, partition: *partition })
                .collect::<BTreeSet<_>>()
        });
        let all = wanted.is_none().then(|| self.by_partition.iter().map(|(partition, state)| (*partition, state)));
        let named =
            wanted.into_iter().flatten().filter_map(|partition| Some((partition, self.by_partition.get(&partition)?)));
        all.into_iter().flatten().chain(named)
    }

    /// An offset for each of these partitions. A committed one stays. In a topic where the group has committed offsets
    /// already, a partition without one is new and starts at its first record.
    pub(super) fn start(
        &self,
        starts: &[OffsetToCommit],
        log_ends: &LogEnds<'_>,
    ) -> Result<BTreeMap<TopicIdPartition, (StoredOffset, IsNew)>, GroupRefusal> {
        let known: BTreeSet<TopicId> = self.by_partition.keys().map(|partition| partition.topic).collect();
        let mut offsets = BTreeMap::new();
        for request in starts {
            let partition = TopicIdPartition { topic: request.topic, partition: request.partition };
            let log_end = log_ends(request.topic, request.partition).ok_or(GroupRefusal::UnknownPartition)?;
            let state = match self.by_partition.get(&partition) {
                Some(state) => (state.clone(), IsNew(false)),
                None if known.contains(&partition.topic) => (StoredOffset::default(), IsNew(true)),
                None if log_end < request.offset => {
                    return Err(GroupRefusal::PastLogEnd { offset: request.offset, log_end });
                }
                None => (StoredOffset { metadata: String::new(), ..state_of(request) }, IsNew(true)),
            };
            offsets.insert(partition, state);
        }
        Ok(offsets)
    }

    /// Records that delete all offsets, or those of one topic.
    pub(super) fn forget(&self, group: &GroupId, topic: Option<TopicId>) -> Vec<GroupRecord> {
        let gone = self.by_partition.keys().filter(|partition| topic.is_none_or(|topic| topic == partition.topic));
        gone.map(|partition| record(group, *partition, None)).collect()
    }
}

/// Checks each offset of a commit alone. `owned` refuses partitions that the sender may not commit for.
pub(super) fn check_commit(
    requests: &[OffsetToCommit],
    limits: &GroupLimits,
    log_ends: &LogEnds<'_>,
    owned: impl Fn(TopicIdPartition) -> Result<(), GroupRefusal>,
) -> Vec<Result<(TopicIdPartition, StoredOffset), GroupRefusal>> {
    let mut named = BTreeSet::new();
    let check = |request: &OffsetToCommit| {
        let partition = TopicIdPartition { topic: request.topic, partition: request.partition };
        if !named.insert(partition) {
            return Err(GroupRefusal::NamedTwice);
        }
        owned(partition)?;
        let (bytes, max) = (request.metadata.len(), limits.metadata_bytes);
        if max < bytes {
            return Err(GroupRefusal::MetadataTooLarge { bytes, max });
        }
        let log_end = log_ends(request.topic, request.partition).ok_or(GroupRefusal::UnknownPartition)?;
        if log_end < request.offset {
            return Err(GroupRefusal::PastLogEnd { offset: request.offset, log_end });
        }
        Ok((partition, state_of(request)))
    };
    requests.iter().map(check).collect()
}

fn state_of(request: &OffsetToCommit) -> StoredOffset {
    StoredOffset { offset: request.offset, leader_epoch: request.leader_epoch, metadata: request.metadata.clone() }
}

pub(super) fn record(group: &GroupId, partition: TopicIdPartition, state: Option<StoredOffset>) -> GroupRecord {
    GroupRecord::Offset { group: group.clone(), partition, state }
}

fn offset_bytes(state: &StoredOffset) -> usize {
    size::OFFSET + state.metadata.len()
}

/// A committed offset as clients see it. The shell fills in `lost_from`, since it knows the logs.
pub(super) fn committed(partition: TopicIdPartition, state: &StoredOffset) -> CommittedOffset {
    CommittedOffset {
        topic: partition.topic,
        partition: partition.partition,
        offset: state.offset,
        leader_epoch: state.leader_epoch,
        metadata: state.metadata.clone(),
        lost_from: None,
    }
}
