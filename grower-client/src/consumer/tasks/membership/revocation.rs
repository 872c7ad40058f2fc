//! Gives partitions up: revoked ones once the reader is done with their records, all of them when the membership ends.

use super::MembershipTask;
use crate::consumer::settings::RebalanceEvent;
use crate::consumer::state::PartitionFetchState;
use crate::consumer::tasks::commit::UncommittedOffset;
use crate::error::RequestError;
use crate::record::TopicPartition;
use grower_protocol::ids::MemberEpoch;
use tokio::time::{Instant, sleep_until, timeout_at};

#[expect(clippy::disallowed_methods, reason = "a shell reads the clock")]
impl MembershipTask {
    /// Waits until the next heartbeat is due: at once when it can release a revoked partition.
    pub(super) async fn until_heartbeat_is_due(&self) {
        let due = self.session.next_heartbeat(Instant::now());
        if self.shared.lock().is_revoking() {
            timeout_at(due, self.shared.until_can_release(self.auto_commit)).await.ok();
        } else {
            sleep_until(due).await;
        }
    }

    /// Removes the revoked partitions that are done, or whose time is up: the next heartbeat releases them. With
    /// automatic commits, their consumed offsets are committed before.
    pub(super) async fn release_revoked(&self) -> Vec<TopicPartition> {
        if self.auto_commit {
            self.commit_revoked().await;
        }
        let released = self.shared.lock().release_revoked(Instant::now());
        for partition in &released.unfinished {
            tracing::warn!(group = %self.member.group, %partition, "the reader is not done with a revoked partition: its next owner reads uncommitted records again");
        }
        released.all
    }

    /// Commits the consumed offsets of revoked partitions that wait for nothing else.
    async fn commit_revoked(&self) {
        let now = Instant::now();
        let waits_for_commit = |partition: &&PartitionFetchState| {
            partition.awaits_automatic_commit() || partition.is_overdue(now) && partition.has_uncommitted()
        };
        let progress: Vec<_> = {
            let subscription = self.shared.lock();
            subscription.partitions.iter().filter(waits_for_commit).filter_map(UncommittedOffset::consumed).collect()
        };
        let names: Vec<_> = progress.iter().map(|progress| progress.topic_partition.clone()).collect();
        if !self.commit_in_time(progress).await {
            let mut subscription = self.shared.lock();
            for name in names {
                subscription.partitions.update(&name).iter_mut().for_each(|partition| partition.note_failed_commit());
            }
        }
    }

    /// Commits the offsets of revoked or lost partitions; returns whether that succeeded.
    async fn commit_in_time(&self, progress: Vec<UncommittedOffset>) -> bool {
        if progress.is_empty() {
            return true;
        }
        let until = self.session.revocation_deadline();
        if until <= Instant::now() {
            return false; // The next heartbeat comes first, and another commit after it.
        }
        let error = match timeout_at(until, self.committer.commit(&self.shared, || progress)).await {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        tracing::warn!(group = %self.member.group, %error, "offsets of revoked partitions were not committed");
        false
    }

    /// Drops all partitions and restarts with epoch 0. Their offsets cannot be committed any more.
    pub(super) fn lose_partitions(&mut self, error: &RequestError) {
        tracing::warn!(group = %self.member.group, %error, "lost all partitions; rejoining the group");
        let revoked = self.shared.lock().lose_all();
        *self.member.epoch.lock() = MemberEpoch::default();
        self.notify_rebalance(RebalanceEvent { assigned: Vec::new(), revoked });
    }

    /// Leaves the group while the reader is stuck, so that others read its partitions.
    pub(super) async fn leave_until_reader_polls(&mut self) {
        let (group, limit) = (&self.member.group, self.session.max_poll_interval);
        tracing::warn!(%group, ?limit, "the reader has not polled within max_poll_interval; leaving the group");
        let (progress, revoked) = {
            let mut subscription = self.shared.lock();
            let progress = subscription.partitions.iter().filter_map(UncommittedOffset::consumed).collect();
            (progress, subscription.lose_all())
        };
        if self.auto_commit {
            self.session.begin_revocations(Instant::now());
            self.commit_in_time(progress).await;
        }
        self.notify_rebalance(RebalanceEvent { assigned: Vec::new(), revoked });
        if let Err(error) = self.member.leave(&self.cluster, self.cluster.deadline()).await {
            tracing::debug!(%error, "cannot leave the group; its session will expire");
        }
        *self.member.epoch.lock() = MemberEpoch::default();
        self.shared.until_reader_waits().await;
    }
}
