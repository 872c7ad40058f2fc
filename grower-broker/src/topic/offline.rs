//! Offline partitions are opened again: a mount may come late, or a permission be corrected. Online partitions are
//! checked: their files may have been removed or moved away while nothing is written that would notice.
//!
//! The reason is logged once; later attempts are silent until one succeeds. A log that is ahead of the metadata stays
//! offline until a start, which raises all epochs before it leads.

use super::open::ahead_of;
use super::{ServedPartition, Topics};
use crate::metadata::{Image, Topic};
use crate::partition::Partition;
use grower_protocol::ids::{LeaderEpoch, PartitionId, Timestamp};
use grower_storage::log::Log;
use std::sync::Arc;

/// The interval between two attempts, in milliseconds. Opening may read a good part of a log; looking at ten thousand
/// takes some 20 ms.
const RETRY_INTERVAL_MS: u64 = 5_000;

impl Topics {
    /// Opens offline partitions that can be opened now, and takes partitions without files offline, at most once per
    /// interval. The caller holds the lock for changes.
    pub(super) fn retry_offline(&self, image: &Image, now: Timestamp) {
        let mut tried = self.offline_retried.lock();
        if tried.is_some_and(|tried| now.millis_since(tried) < RETRY_INTERVAL_MS) {
            return;
        }
        *tried = Some(now);
        self.all().iter().for_each(|partition| partition.check_in_place());
        if self.offline_count() == 0 {
            return;
        }
        for topic in image.topics() {
            let Some(served) = self.served.load().get(&topic.id).cloned() else { continue };
            let mut partitions = served.partitions.clone();
            let mut opened = false;
            for (served, (number, partition)) in partitions.iter_mut().zip(topic.numbered()) {
                if served.online().is_err()
                    && let Some(open) = self.reopen(image, topic, number, partition.leader_epoch)
                {
                    *served = ServedPartition::Online(open);
                    opened = true;
                }
            }
            if opened {
                self.put(topic, partitions);
            }
        }
    }

    fn reopen(&self, image: &Image, topic: &Topic, number: PartitionId, epoch: LeaderEpoch) -> Option<Arc<Partition>> {
        let options = topic.config.log_options(&self.index);
        let opened = self.logs.open(&Self::identity(topic, number), options, self.clock.steady());
        let log: Box<dyn Log> = opened.ok().filter(|log| ahead_of(&**log, epoch).is_none())?;
        let ServedPartition::Online(partition) = self.lead(topic, number, epoch, Ok(log)) else { return None };
        let trims = image.trims().filter(|(id, trimmed, _)| (*id, *trimmed) == (topic.id, number));
        for (.., before) in trims {
            partition.trim(before.min(partition.span().log_end)).ok()?; // Before the first read.
        }
        tracing::info!(topic = %topic.name, partition = %number, "an offline partition is online again");
        Some(partition)
    }
}
