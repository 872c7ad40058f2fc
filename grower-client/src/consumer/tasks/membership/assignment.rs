//! Follows an assignment: first revokes the partitions that leave, then starts the new ones.

use super::{MembershipTask, in_time};
use crate::consumer::settings::RebalanceEvent;
use crate::consumer::state::FetchVersion;
use crate::consumer::tasks::start::StartLookup;
use crate::deadline::Deadline;
use crate::error::RequestError;
use crate::record::TopicPartition;
use grower_protocol::ids::{TopicId, TopicName};
use grower_protocol::message::{HeartbeatAnswer, Metadata, TopicPartitions};
use std::collections::{BTreeMap, BTreeSet};
use tokio::time::Instant;

#[expect(clippy::disallowed_methods, reason = "a shell reads the clock")]
impl MembershipTask {
    /// Follows the assignment of a heartbeat's answer.
    pub(super) async fn apply_assignment(&mut self, answer: &HeartbeatAnswer) -> Result<(), RequestError> {
        let deadline = self.session.revocation_deadline();
        let target = in_time(deadline, self.topic_partitions(&answer.assignment, self.cluster.deadline())).await?;
        self.shared.lock().revoke_all_but(&target, Instant::now() + self.session.rebalance_timeout());
        let revoked = self.release_revoked().await;
        let added = self.add_new(target);
        let assigned = added.iter().map(|(topic_partition, ..)| topic_partition.clone()).collect();
        self.notify_rebalance(RebalanceEvent { assigned, revoked });
        self.look_up_starts(added);
        Ok(())
    }

    /// Returns the partitions of an assignment by name.
    async fn topic_partitions(
        &self,
        assignment: &[TopicPartitions],
        deadline: Deadline,
    ) -> Result<BTreeMap<TopicPartition, TopicId>, RequestError> {
        if assignment.iter().any(|topic| self.cluster.topic_name(topic.topic).is_none()) {
            self.refresh_topics(deadline).await?;
        }
        let mut topic_partitions = BTreeMap::new();
        for TopicPartitions { topic, partitions } in assignment {
            // Still unknown: the topic was deleted, and the next answer omits it.
            let Some(name) = self.cluster.topic_name(*topic) else { continue };
            let topic_partition =
                |partition: &_| (TopicPartition { topic: name.clone(), partition: *partition }, *topic);
            topic_partitions.extend(partitions.iter().map(topic_partition));
        }
        Ok(topic_partitions)
    }

    fn add_new(&self, target: BTreeMap<TopicPartition, TopicId>) -> Vec<(TopicPartition, TopicId, FetchVersion)> {
        let mut subscription = self.shared.lock();
        let new: Vec<_> = target
            .into_iter()
            .filter(|(topic_partition, _)| !subscription.partitions.contains(topic_partition))
            .collect();
        new.into_iter()
            .map(|(topic_partition, topic)| {
                let version = subscription.add(topic_partition.clone(), topic);
                (topic_partition, topic, version)
            })
            .collect()
    }

    /// Looks up the starts of new partitions in the background, until the membership ends.
    fn look_up_starts(&mut self, added: Vec<(TopicPartition, TopicId, FetchVersion)>) {
        while self.start_lookups.try_join_next().is_some() {}
        if added.is_empty() {
            return;
        }
        let topic_partitions =
            added.into_iter().map(|(topic_partition, topic, version)| ((topic_partition, topic), version));
        let lookup = StartLookup::new(&self.cluster, &self.shared, &self.policy, topic_partitions);
        self.start_lookups.spawn(lookup.warn_each(self.session.timeout()).run());
    }

    pub(super) fn notify_rebalance(&self, event: RebalanceEvent) {
        let changed = event != RebalanceEvent::default();
        if let Some(callback) = self.on_rebalance.as_ref().filter(|_| changed) {
            callback(event);
        }
    }

    /// Refreshes the subscribed topics, and keeps the id and number of partitions of each at first sight (none if it is
    /// missing).
    pub(super) async fn refresh_topics(&self, deadline: Deadline) -> Result<(), RequestError> {
        let names: BTreeSet<TopicName> = self.member.topics.iter().cloned().collect();
        let names: Vec<TopicName> = names.into_iter().collect();
        let asked = Metadata { topics: Some(names.clone()), create_missing: false };
        let (_, answer) = self.cluster.metadata(asked, deadline).await?;
        let mut subscription = self.shared.lock();
        for (name, topic) in names.into_iter().zip(answer.topics) {
            let seen = topic.map_or((None, 0), |topic| (Some(topic.id), topic.partitions.len() as u32));
            subscription.first_seen.entry(name).or_insert(seen);
        }
        Ok(())
    }
}
