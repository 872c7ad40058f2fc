//! Prefetches records: one task that asks each leader, over its own connections, for partitions with free memory.
//!
//! Each partition has one fetch in flight. The next one starts as soon as the headers of an answer show its end, so
//! records travel while earlier ones are checked. A leader may hold several requests, so a busy partition does not wait
//! for the long poll of idle ones.

use super::fetch_recovery::FetchRecovery;
use super::fetch_response::FetchResponse;
use crate::backoff;
use crate::cluster::Cluster;
use crate::connection::ConnectionPool;
use crate::consumer::settings::ConsumerSettings;
use crate::consumer::state::{FetchVersion, PartitionFetchState, SharedSubscription, check_batches, end_by_headers};
use crate::error::RequestError;
use crate::record::TopicPartition;
use crate::retry::{self, FetchAction};
use bytes::Bytes;
use grower_protocol::ids::{LeaderEpoch, Offset, TopicId};
use grower_protocol::message::{Failure, Fetch, FetchPartition, FetchedRecords, Request, TopicMetadata};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

/// The most bytes to fetch of a partition at once.
const FETCH_BYTES: usize = 4 << 20;
/// The smallest memory share of a partition, however many there are, in bytes.
const SHARE_MIN: usize = 64 << 10;
/// From this size on, the next fetch starts before the bytes are checked.
const PREFETCH_BYTES_MIN: usize = 64 << 10;

/// One partition's part of a fetch.
#[derive(Clone, Debug)]
pub(crate) struct PartitionFetch {
    pub(crate) topic_partition: TopicPartition,
    pub(crate) version: FetchVersion,
    pub(crate) topic: TopicId,
    pub(crate) offset: Offset,
    gaps_allowed: bool,
    max_bytes: usize,
    leader_epoch: Option<LeaderEpoch>,
    /// The leader epoch of the record before `offset`.
    last_epoch: Option<LeaderEpoch>,
}

pub(crate) struct Fetcher {
    cluster: Arc<Cluster>,
    pool: ConnectionPool,
    shared: Arc<SharedSubscription>,
    prefetch_bytes: usize,
    max_wait: Duration,
    min_bytes: u32,
    /// The way from the connections' tasks, which check nothing themselves. They hold no fetcher, so it can end while
    /// they wait.
    responses: mpsc::UnboundedSender<Vec<FetchResponse>>,
}

/// The requests to send now, by leader, and the time of the next plan.
#[derive(Default)]
struct FetchPlan {
    requests: BTreeMap<Option<Arc<str>>, Vec<PartitionFetch>>,
    wake_at: Option<Instant>,
}

#[expect(clippy::disallowed_methods, reason = "a shell reads the clock")]
impl Fetcher {
    fn new(
        cluster: Arc<Cluster>,
        shared: Arc<SharedSubscription>,
        settings: &ConsumerSettings,
        responses: mpsc::UnboundedSender<Vec<FetchResponse>>,
    ) -> Self {
        Self {
            pool: ConnectionPool::new(cluster.dialer().clone()),
            cluster,
            shared,
            prefetch_bytes: settings.prefetch_bytes,
            max_wait: settings.fetch_max_wait,
            min_bytes: settings.fetch_min_bytes,
            responses,
        }
    }

    /// Runs until it is aborted.
    pub(crate) async fn run(cluster: Arc<Cluster>, shared: Arc<SharedSubscription>, settings: ConsumerSettings) {
        let (sender, mut responses) = mpsc::unbounded_channel(); // The requests in flight bound it.
        let fetcher = Arc::new(Self::new(cluster, shared, &settings, sender));
        let mut unchecked = VecDeque::new();
        loop {
            while let Ok(received) = responses.try_recv() {
                unchecked.extend(received.into_iter().map(|response| fetcher.prefetch(response)));
            }
            while let Some(small) = unchecked.pop_front_if(|response| response.len() < PREFETCH_BYTES_MIN) {
                fetcher.handle(small);
            }
            let plan = fetcher.plan(Instant::now());
            for (leader, fetches) in plan.requests {
                fetcher.request(leader, fetches);
            }
            if let Some(large) = unchecked.pop_front() {
                yield_now().await; // The next request leaves before these bytes are checked.
                fetcher.handle(large);
                continue;
            }
            let wake_at = plan.wake_at.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
            tokio::select! {
                Some(received) = responses.recv() => {
                    unchecked.extend(received.into_iter().map(|response| fetcher.prefetch(response)));
                }
                () = fetcher.shared.fetchable.notified() => {}
                () = sleep_until(wake_at) => {}
            }
        }
    }

    /// Plans the fetches of all fetchable partitions and marks them as in flight.
    fn plan(&self, now: Instant) -> FetchPlan {
        let mut plan = FetchPlan::default();
        let mut subscription = self.shared.lock();
        let share = (self.prefetch_bytes / subscription.partitions.len().max(1)).max(SHARE_MIN);
        for partition in subscription.partitions.values_mut() {
            if !partition.is_fetchable(share, now) {
                plan.wake_at = plan.wake_at.into_iter().chain(partition.wakes_at()).min();
                continue;
            }
            partition.is_fetching = true;
            let topic =
                self.cluster.cached_topic(&partition.topic_partition.topic).filter(|topic| topic.id == partition.topic);
            let next = partition.next_fetch();
            let fetch = PartitionFetch {
                topic_partition: partition.topic_partition.clone(),
                version: partition.version,
                topic: partition.topic,
                offset: next.offset,
                gaps_allowed: partition.gaps_allowed,
                last_epoch: next.epoch,
                max_bytes: (share - partition.held_bytes()).min(FETCH_BYTES),
                leader_epoch: topic.as_ref().and_then(|topic| leader_epoch(topic, &partition.topic_partition)),
            };
            let leader = topic.and_then(|topic| self.cluster.leader(&topic, partition.topic_partition.partition));
            plan.requests.entry(leader).or_default().push(fetch);
        }
        plan
    }

    fn request(self: &Arc<Self>, leader: Option<Arc<str>>, mut fetches: Vec<PartitionFetch>) {
        // The first partition of a request may get a batch larger than its share, so a random one is first.
        let first = getrandom::u32().unwrap_or(0) as usize % fetches.len().max(1);
        fetches.rotate_left(first);
        let fetcher = self.clone();
        match leader.as_ref().and_then(|leader| self.pool.open_connection(leader)) {
            Some(connection) => self.submit(&connection, fetches),
            None => drop(tokio::spawn(async move { fetcher.connect(leader, fetches).await })),
        }
    }

    async fn connect(self: Arc<Self>, leader: Option<Arc<str>>, fetches: Vec<PartitionFetch>) {
        let Some(leader) = leader else {
            // Their leader is unknown, or the topic was recreated.
            return fetches.iter().for_each(|fetch| self.recovery(fetch).refresh_topic());
        };
        match self.pool.connect(&leader).await {
            Ok(connection) => self.submit(&connection, fetches),
            Err(error) => self.handle_error(&fetches, &error.into()),
        }
    }

    fn submit(self: &Arc<Self>, connection: &crate::connection::BrokerConnection, fetches: Vec<PartitionFetch>) {
        let total: usize = fetches.iter().map(|fetch| fetch.max_bytes).sum();
        let request = Request::Fetch(Fetch {
            max_wait_ms: u32::try_from(self.max_wait.as_millis()).unwrap_or(u32::MAX),
            min_bytes: self.min_bytes,
            max_bytes: u32::try_from(total).unwrap_or(u32::MAX),
            partitions: fetches.iter().map(PartitionFetch::to_message).collect(),
        });
        let (responses, address) = (self.responses.clone(), connection.address().clone());
        let done = Box::new(move |answer| {
            drop(responses.send(FetchResponse::of(&address, fetches, answer))); // The consumer may be dropped.
        });
        connection.submit(&request, Bytes::new(), self.max_wait, done);
    }

    /// Starts the partition's next fetch before these bytes are checked, if checking takes long.
    fn prefetch(&self, mut response: FetchResponse) -> FetchResponse {
        let length = response.len();
        if let FetchResponse::Answered { fetch, part: Ok((fetched, bytes)), unchecked_bytes } = &mut response
            && PREFETCH_BYTES_MIN <= length
            && fetched.damaged.is_none()
            && let Some(next) = end_by_headers(bytes, fetch.offset)
            && let Some(partition) = self.shared.lock().current(&fetch.topic_partition, fetch.version)
            && partition.begin_prefetch(fetch.offset, next, length)
        {
            *unchecked_bytes = length;
        }
        response
    }

    fn handle(self: &Arc<Self>, response: FetchResponse) {
        match response {
            FetchResponse::Answered { fetch, part: Ok((fetched, bytes)), unchecked_bytes } => {
                self.accept_records(fetch, &fetched, bytes, unchecked_bytes);
            }
            FetchResponse::Answered { fetch, part: Err(failure), .. } => self.handle_failure(&fetch, failure),
            FetchResponse::Diverged(fetch, divergence) => {
                let diverged = |partition: &mut PartitionFetchState, _| partition.diverged(fetch.offset, &divergence);
                self.shared.change_partition(&fetch.topic_partition, fetch.version, Instant::now(), diverged);
            }
            FetchResponse::Failed(fetches, error) => self.handle_error(&fetches, &error),
        }
    }

    fn accept_records(
        &self,
        mut fetch: PartitionFetch,
        fetched: &FetchedRecords,
        bytes: Bytes,
        unchecked_bytes: usize,
    ) {
        let checked = check_batches(bytes, fetch.offset, fetch.gaps_allowed);
        let damage = self.shared.change_partition(
            &fetch.topic_partition,
            fetch.version,
            Instant::now(),
            |partition, on_damage| {
                partition.high_watermark = Some(fetched.high_watermark);
                partition.log_start = Some(fetched.log_start);
                let next = checked.next;
                let damage = partition.accept(fetch.offset, unchecked_bytes, checked, on_damage);
                // An investigation of damaged bytes fetches again, so the broker repeats its report.
                if let Some((start, end)) = fetched.damaged.filter(|(_, end)| damage.is_none() && next < *end) {
                    partition.damaged(start.max(next)..end, "on the broker's disk".to_owned(), on_damage);
                }
                damage.zip(Some(partition.version))
            },
        );
        if let Some((damage, version)) = damage.flatten() {
            fetch.version = version;
            self.recovery(&fetch).investigate_damage(damage);
        }
    }

    fn handle_failure(self: &Arc<Self>, fetch: &PartitionFetch, failure: Failure) {
        let error = RequestError::from(failure);
        match retry::after_fetch(&error) {
            FetchAction::LookUpLog => self.recovery(fetch).resolve_out_of_range(),
            FetchAction::RefreshTopic => self.recovery(fetch).refresh_topic(),
            FetchAction::Retry => self.handle_error(std::slice::from_ref(fetch), &error),
            FetchAction::Report | FetchAction::ReportOnce => {
                let now = Instant::now();
                let fail = |partition: &mut PartitionFetchState, _| partition.fail(error, now);
                self.shared.change_partition(&fetch.topic_partition, fetch.version, now, fail);
            }
        }
    }

    /// Handles a failed request: schedules retries of retriable errors and refreshes the metadata.
    fn handle_error(self: &Arc<Self>, fetches: &[PartitionFetch], error: &RequestError) {
        tracing::debug!(%error, partitions = fetches.len(), "a fetch failed");
        for fetch in fetches {
            let now = Instant::now();
            self.shared.change_partition(&fetch.topic_partition, fetch.version, now, |partition, _| {
                match retry::after_fetch(error) {
                    // The refresh below brings the topic's new state.
                    FetchAction::Retry | FetchAction::RefreshTopic if error.is_retriable() => {
                        partition.retry_later(Some(error), now, backoff::random());
                    }
                    _ => partition.fail(error.clone(), now),
                }
            });
        }
        let (cluster, topics) = (self.cluster.clone(), topics_of(fetches));
        tokio::spawn(async move {
            for topic in topics {
                drop(cluster.refresh(&topic, false).await); // The next fetch uses the result.
            }
        });
    }

    fn recovery(&self, fetch: &PartitionFetch) -> FetchRecovery {
        FetchRecovery { cluster: self.cluster.clone(), shared: self.shared.clone(), fetch: fetch.clone() }
    }
}

impl PartitionFetch {
    fn to_message(&self) -> FetchPartition {
        FetchPartition {
            topic: self.topic,
            partition: self.topic_partition.partition,
            offset: self.offset,
            max_bytes: u32::try_from(self.max_bytes).unwrap_or(u32::MAX),
            leader_epoch: self.leader_epoch,
            last_epoch: self.last_epoch,
        }
    }
}

fn leader_epoch(topic: &TopicMetadata, topic_partition: &TopicPartition) -> Option<LeaderEpoch> {
    topic.partitions.get(topic_partition.partition.value() as usize).map(|partition| partition.leader_epoch)
}

fn topics_of(fetches: &[PartitionFetch]) -> Vec<grower_protocol::ids::TopicName> {
    let mut topics: Vec<_> = fetches.iter().map(|fetch| fetch.topic_partition.topic.clone()).collect();
    topics.dedup();
    topics
}
