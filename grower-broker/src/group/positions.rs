//! Positions of groups compared with their logs: leader epochs make them exact, and show records that the log has
//! lost.

use super::Groups;
use crate::partition::Partition;
use grower_protocol::ids::Offset;
use grower_protocol::message::{CommittedOffset, ErrorCode, Failure, OffsetToCommit};

impl Groups {
    /// Fills in missing leader epochs: the epoch of the record before the position.
    pub(crate) fn fill_in_epochs(&self, positions: &mut [OffsetToCommit]) {
        for position in positions.iter_mut().filter(|position| position.leader_epoch.is_none()) {
            if let Ok(partition) = self.topics.partition(position.topic, position.partition) {
                position.leader_epoch = partition.epoch_before(position.offset);
            }
        }
    }

    /// The reason why a partition is offline, if a refusal calls it unknown although it exists.
    pub(crate) fn why_offline(&self, position: &OffsetToCommit, refused: &Failure) -> Option<Failure> {
        let is_missing = refused.code == ErrorCode::UnknownPartition;
        let why = is_missing.then(|| self.topics.partition(position.topic, position.partition).err()).flatten();
        why.filter(|why| why.code == ErrorCode::PartitionOffline)
    }

    /// Fills in `lost_from` where the log has lost records before the committed offset.
    pub(crate) fn compare_with_logs(&self, offsets: &mut [CommittedOffset]) {
        for committed in offsets {
            if let Ok(partition) = self.topics.partition(committed.topic, committed.partition) {
                committed.lost_from = lost_from(&partition, committed);
            }
        }
    }

    /// Warns, after a start, of groups that have read records that the logs lost.
    pub(crate) fn warn_of_lost_records(&self) {
        for live in &self.shards {
            let positions = {
                let shard = live.shard.lock();
                let groups = shard.list().into_iter();
                groups.map(|(group, _)| (shard.fetch_offsets(&group, None), group)).collect::<Vec<_>>()
            };
            for (positions, group) in positions {
                for position in positions {
                    self.warn_if_lost(group.as_str(), &position);
                }
            }
        }
    }

    fn warn_if_lost(&self, group: &str, position: &CommittedOffset) {
        let Ok(partition) = self.topics.partition(position.topic, position.partition) else { return };
        if let Some(lost_from) = lost_from(&partition, position) {
            let (topic, number, committed) = (&partition.topic_name, partition.partition, position.offset);
            tracing::warn!(group, %topic, partition = %number, %committed, %lost_from, "a group has read records that the log lost; it resumes at the start of the loss");
        }
    }
}

fn lost_from(partition: &Partition, position: &CommittedOffset) -> Option<Offset> {
    partition.divergence(position.offset, position.leader_epoch).map(|divergence| divergence.end)
}
