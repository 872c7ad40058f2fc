//! Recovers from fetches that failed: damage, an offset outside the log, or a changed topic.

use super::start::look_up_offsets;
use crate::backoff;
use crate::cluster::Cluster;
use crate::consumer::state::{FetchDamage, FetchVersion, PartitionFetchState, SharedSubscription};
use crate::error::{ConsumeError, RequestError, single_part};
use crate::record::TopicPartition;
use crate::retry::{self, FetchAction};
use grower_protocol::ids::{Offset, TopicId, TopicName};
use grower_protocol::message::{ErrorCode, OffsetSpec, ReportDamage, Request, Response, TopicMetadata};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::time::Instant;

/// A fetch of one partition that failed.
#[derive(Clone, Debug)]
pub(crate) struct PartitionFetch {
    pub(crate) topic_partition: TopicPartition,
    version: FetchVersion,
    topic: TopicId,
    offset: Offset,
}

impl PartitionFetch {
    /// The fetch at a partition's current position.
    pub(crate) fn of(partition: &PartitionFetchState) -> Self {
        Self {
            topic_partition: partition.topic_partition.clone(),
            version: partition.version,
            topic: partition.topic,
            offset: partition.next_fetch().offset,
        }
    }
}

/// The recovery of one fetch, in the background. Its result is dropped if the partition moved or was revoked meanwhile.
pub(crate) struct FetchRecovery {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) shared: Arc<SharedSubscription>,
    pub(crate) fetch: PartitionFetch,
}

#[expect(clippy::disallowed_methods, reason = "a shell reads the clock")]
impl FetchRecovery {
    /// Investigates damage. Compaction may cause missing offsets; other damage is reported to the broker, which checks
    /// its file. Then the fetch is repeated, and damage at the same offset is reported to the reader.
    pub(crate) fn investigate_damage(self, damage: FetchDamage) {
        tokio::spawn(async move {
            let compacted = damage.is_gap && self.is_compacted().await.unwrap_or(false);
            if !compacted {
                self.report(&damage).await;
            }
            let PartitionFetch { topic_partition, version, .. } = &self.fetch;
            self.shared.change_partition(topic_partition, *version, |partition, _| {
                partition.gaps_allowed |= compacted;
                partition.is_recovering = false;
            });
        });
    }

    /// Handles an offset outside the log. If retention deleted it, fetching continues at the log start, and the reader
    /// gets the gap after its buffered records. An offset beyond the end is an error, since a jump would silently
    /// repeat or skip records.
    pub(crate) fn resolve_out_of_range(self) {
        tokio::spawn(async move {
            let PartitionFetch { topic_partition, version, offset, .. } = &self.fetch;
            let requested = *offset;
            let span = self.span().await;
            let now = Instant::now();
            self.shared.change_partition(topic_partition, *version, |partition, _| match span {
                Ok((log_start, _)) if requested < log_start => partition.dropped_up_to(requested, log_start),
                Ok((log_start, high_watermark)) if high_watermark < requested => {
                    let topic_partition = topic_partition.clone();
                    partition.set_error(ConsumeError::OffsetOutOfRange {
                        topic_partition,
                        requested,
                        log_start,
                        high_watermark,
                    });
                }
                Ok(_) => partition.retry_later(None, now, backoff::random()), // The log changed meanwhile.
                Err(error) => partition.retry_later(Some(&error), now, backoff::random()),
            });
        });
    }

    /// Continues with the topic that was `found` under the name, or with the error of an `offline` partition.
    fn follow_topic(&self, found: &Result<Arc<TopicMetadata>, RequestError>, offline: Option<RequestError>) {
        let PartitionFetch { topic_partition, version, topic, .. } = &self.fetch;
        let now = Instant::now();
        self.shared.change_partition(topic_partition, *version, |partition, _| match (found, offline) {
            (_, Some(error)) => partition.fail(error, now),
            (Ok(metadata), _) if metadata.id != *topic => partition.recreated_as(metadata.id),
            (Ok(_), _) => partition.retry_later(None, now, backoff::random()),
            (Err(error), _) if error.is_retriable() => partition.retry_later(Some(error), now, backoff::random()),
            (Err(source), _) => {
                let topic = topic_partition.topic.clone();
                partition.set_error(ConsumeError::Topic { topic, source: source.clone() });
            }
        });
    }

    /// Returns the log start and the high watermark.
    async fn span(&self) -> Result<(Offset, Offset), RequestError> {
        let topic_partition = &self.fetch.topic_partition;
        let lookups = [(topic_partition, OffsetSpec::Beginning), (topic_partition, OffsetSpec::End)];
        let mut offsets = look_up_offsets(&self.cluster, &lookups, self.cluster.deadline()).await?.into_iter();
        let mut next = || offsets.next().unwrap_or(Ok(Offset::ZERO));
        Ok((next()?, next()?))
    }

    async fn is_compacted(&self) -> Result<bool, RequestError> {
        let topics = Some(vec![self.fetch.topic_partition.topic.clone()]);
        let request = Request::DescribeTopics { topics, segments: false };
        let described = match self.cluster.ask_retrying(&request, self.cluster.deadline()).await? {
            (connection, Response::DescribeTopics(parts)) => {
                single_part(connection.address(), "describe topics", parts)?
            }
            (connection, other) => return Err(connection.unexpected("describe topics", other)),
        };
        let policy = described.configs.iter().find(|config| config.key == "cleanup.policy");
        Ok(policy.is_some_and(|policy| policy.value.contains("compact")))
    }

    /// Reports damage to the broker. The fetch is repeated whether the broker answers or not.
    async fn report(&self, damage: &FetchDamage) {
        let PartitionFetch { topic_partition, topic, .. } = &self.fetch;
        tracing::warn!(partition = %topic_partition, start = %damage.offsets.start, end = %damage.offsets.end, damage.reason, "received damaged records");
        let (start, end) = (damage.offsets.start, damage.offsets.end);
        let report = ReportDamage { topic: *topic, partition: topic_partition.partition, start, end };
        match self.cluster.ask_retrying(&Request::ReportDamage(report), self.cluster.deadline()).await {
            Ok(_) => {}
            Err(error) if error.code() == Some(ErrorCode::Unsupported) => {}
            Err(error) => {
                tracing::debug!(partition = %topic_partition, %error, "cannot report the damage to the broker")
            }
        }
    }
}

/// Handles partitions of changed topics, after one lookup of each topic. A recreated topic is another topic and is read
/// from its beginning, after the buffered records of the old one.
pub(crate) fn refresh_topics(cluster: &Arc<Cluster>, shared: &Arc<SharedSubscription>, fetches: Vec<PartitionFetch>) {
    let mut by_topic: BTreeMap<TopicName, Vec<FetchRecovery>> = BTreeMap::new();
    for fetch in fetches {
        let recovery = FetchRecovery { cluster: cluster.clone(), shared: shared.clone(), fetch };
        by_topic.entry(recovery.fetch.topic_partition.topic.clone()).or_default().push(recovery);
    }
    for (topic, recoveries) in by_topic {
        let cluster = cluster.clone();
        tokio::spawn(async move {
            let found = cluster.refresh(&topic, false, cluster.deadline()).await;
            let mut offline = offline_partitions(&cluster, &found, &recoveries).await;
            for recovery in recoveries {
                let offline = offline.remove(&recovery.fetch.topic_partition);
                recovery.follow_topic(&found, offline);
            }
        });
    }
}

/// Returns the errors of the partitions that are offline. A partition without a leader has either an election or
/// unusable files: any broker knows which.
async fn offline_partitions(
    cluster: &Cluster,
    found: &Result<Arc<TopicMetadata>, RequestError>,
    recoveries: &[FetchRecovery],
) -> BTreeMap<TopicPartition, RequestError> {
    let Ok(metadata) = found else { return BTreeMap::new() };
    let has_no_leader = |fetch: &&PartitionFetch| {
        metadata.id == fetch.topic && cluster.leader(metadata, fetch.topic_partition.partition).is_none()
    };
    let fetches = recoveries.iter().map(|recovery| &recovery.fetch).filter(has_no_leader);
    let lookups: Vec<_> = fetches.map(|fetch| (&fetch.topic_partition, OffsetSpec::End)).collect();
    let Ok(ends) = look_up_offsets(cluster, &lookups, cluster.deadline()).await else { return BTreeMap::new() };
    let errors = lookups.iter().zip(ends).filter_map(|((topic_partition, _), end)| Some((topic_partition, end.err()?)));
    let offline = errors.filter(|(_, error)| retry::after_fetch(error) == FetchAction::ReportOnce);
    offline.map(|(topic_partition, error)| ((*topic_partition).clone(), error)).collect()
}
