//! Partitions that leave: revoked ones once the reader is done with them, all of them if the membership is lost.

use super::SubscriptionState;
use crate::consumer::state::partition::{Announcement, PartitionFetchState, RevocationNotice};
use crate::record::TopicPartition;
use grower_protocol::ids::TopicId;
use std::collections::BTreeMap;
use tokio::time::Instant;

/// The revoked partitions that left.
#[derive(Debug, Default)]
pub(crate) struct ReleasedPartitions {
    pub(crate) all: Vec<TopicPartition>,
    /// Those with records that the reader was not done with in time.
    pub(crate) unfinished: Vec<TopicPartition>,
}

impl SubscriptionState {
    /// Begins to revoke the partitions that are not in `target`. They hand out nothing more, and stay until
    /// [`SubscriptionState::release_revoked`] finds them done, or until the deadline.
    pub(crate) fn revoke_all_but(&mut self, target: &BTreeMap<TopicPartition, TopicId>, deadline: Instant) {
        let takes_events = self.takes_events();
        self.partitions.retain(|name, partition| {
            if !partition.update_topic(target.get(name).copied()) {
                let is_told = takes_events && partition.announcement == Announcement::Told;
                partition.revoke(deadline, if is_told { RevocationNotice::Due } else { RevocationNotice::None });
            }
            true
        });
    }

    pub(crate) fn is_revoking(&self) -> bool {
        self.partitions.iter().any(PartitionFetchState::is_revoking)
    }

    /// Whether a revoked partition is done, or would be after an automatic commit.
    pub(crate) fn can_release(&self, auto_commit: bool) -> bool {
        self.partitions
            .iter()
            .filter(|partition| partition.is_revoking())
            .any(|partition| partition.is_done(self.commits) || auto_commit && partition.wants_automatic_commit())
    }

    /// Removes the revoked partitions whose records are done, or whose time is up.
    pub(crate) fn release_revoked(&mut self, now: Instant) -> ReleasedPartitions {
        let commits = self.commits;
        let leaves = |partition: &PartitionFetchState| {
            partition.is_revoking() && (partition.is_done(commits) || partition.is_overdue(now))
        };
        let unfinished = self.partitions.iter().filter(|partition| leaves(partition) && !partition.is_done(commits));
        let unfinished = unfinished.map(|partition| partition.topic_partition.clone()).collect();
        ReleasedPartitions { unfinished, all: self.remove(leaves) }
    }

    /// Removes all partitions at once: another member may be reading them.
    pub(crate) fn lose_all(&mut self) -> Vec<TopicPartition> {
        self.remove(|_| true)
    }

    /// Removes partitions. The next commit names those with records that were not committed, and an event those that
    /// the reader was not done with.
    fn remove(&mut self, leaves: impl Fn(&PartitionFetchState) -> bool) -> Vec<TopicPartition> {
        let (mut removed, mut uncommitted, mut lost) = (Vec::new(), Vec::new(), Vec::new());
        let commits = self.commits;
        self.partitions.retain(|name, partition| {
            if !leaves(partition) {
                return true;
            }
            removed.push(name.clone());
            uncommitted.extend(partition.has_uncommitted().then(|| (name.clone(), partition.position().offset)));
            let is_lost = partition.announcement == Announcement::Told;
            let is_released = partition.is_revoking() && partition.is_done(commits);
            lost.extend((is_lost && !is_released).then(|| name.clone()));
            false
        });
        self.revoked_uncommitted.extend(uncommitted);
        self.add_lost(lost);
        removed
    }
}
