//! Looks up the start of partitions in the background until it is known, because heartbeats must not wait or a
//! partition is offline.

use super::{PartitionStart, StartPolicy};
use crate::backoff;
use crate::cluster::Cluster;
use crate::consumer::state::{FetchVersion, SharedSubscription};
use crate::deadline::Deadline;
use crate::error::RequestError;
use crate::record::TopicPartition;
use crate::retry::{self, StartAction};
use grower_protocol::ids::TopicId;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The default interval of warnings about failures.
const WARN_EACH: Duration = Duration::from_secs(10);

/// Partitions with unknown starts; each leaves the list when it starts.
pub(crate) struct StartLookup {
    cluster: Arc<Cluster>,
    shared: Arc<SharedSubscription>,
    policy: StartPolicy,
    topic_partitions: Vec<(TopicPartition, TopicId)>,
    versions: Vec<FetchVersion>,
    warn_each: Duration,
}

#[expect(clippy::disallowed_methods, reason = "a shell reads the clock")]
impl StartLookup {
    pub(crate) fn new(
        cluster: &Arc<Cluster>,
        shared: &Arc<SharedSubscription>,
        policy: &StartPolicy,
        topic_partitions: impl IntoIterator<Item = ((TopicPartition, TopicId), FetchVersion)>,
    ) -> Self {
        let (topic_partitions, versions) = topic_partitions.into_iter().unzip();
        let (cluster, shared, policy) = (cluster.clone(), shared.clone(), policy.clone());
        Self { cluster, shared, policy, topic_partitions, versions, warn_each: WARN_EACH }
    }

    /// Sets the interval of warnings about failures.
    pub(crate) fn warn_each(self, warn_each: Duration) -> Self {
        Self { warn_each, ..self }
    }

    /// Starts the partitions with a known start, all at once, and reports offline ones to the reader. Returns another
    /// error, if any.
    pub(crate) fn take(&mut self, starts: Vec<Result<PartitionStart, RequestError>>) -> Option<RequestError> {
        debug_assert_eq!(self.topic_partitions.len(), starts.len(), "each partition has a start or an error");
        let topic_partitions =
            std::mem::take(&mut self.topic_partitions).into_iter().zip(std::mem::take(&mut self.versions));
        let mut last_error = None;
        let mut subscription = self.shared.lock();
        subscription.note_progress();
        for (((topic_partition, topic), version), start) in topic_partitions.zip(starts) {
            match start {
                Ok(start) => {
                    super::start_partition(&mut subscription, &start, version);
                    continue;
                }
                Err(error) if retry::after_start_lookup(&error) == StartAction::ReportAndRetry => {
                    if let Some(mut partition) = subscription.current(&topic_partition, version) {
                        partition.fail(error, Instant::now());
                    }
                }
                Err(error) => last_error = Some(error),
            }
            if let Some(mut partition) = subscription.current(&topic_partition, version) {
                partition.start_failed = true;
            }
            self.topic_partitions.push((topic_partition, topic));
            self.versions.push(version);
        }
        last_error
    }

    pub(crate) fn is_done(&self) -> bool {
        self.topic_partitions.is_empty()
    }

    /// Retries until all partitions have started or were revoked. A group that answers nothing for a session timeout
    /// revokes them too.
    pub(crate) async fn run(mut self) {
        let mut warn_at = Deadline::after(self.warn_each).end();
        for failures in 1.. {
            let (cluster, deadline) = (&self.cluster, self.cluster.deadline());
            let starts = super::resolve(cluster, &self.shared, &self.topic_partitions, &self.policy, deadline).await;
            let last_error = self.take(starts.unwrap_or_else(|error| vec![Err(error); self.topic_partitions.len()]));
            if self.is_done() || !self.are_wanted() {
                return;
            }
            if let Some(error) = &last_error {
                tracing::debug!(%error, "cannot find out where to start; trying again");
                if warn_at <= Instant::now() {
                    let (first, partitions) = (
                        self.topic_partitions.first().map(|(topic_partition, _)| topic_partition.to_string()),
                        self.topic_partitions.len(),
                    );
                    tracing::warn!(%error, first, partitions, "partitions are not read: cannot find out where to start");
                    warn_at = Deadline::after(self.warn_each).end();
                }
            }
            sleep(retry::wait(last_error.as_ref(), failures, backoff::random())).await;
        }
    }

    fn are_wanted(&self) -> bool {
        let mut subscription = self.shared.lock();
        let mut lookups = self.topic_partitions.iter().zip(&self.versions);
        lookups.any(|((topic_partition, _), version)| subscription.current(topic_partition, *version).is_some())
    }
}
