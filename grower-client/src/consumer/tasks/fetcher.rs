//! Keeps records at hand: one task that asks each leader, over connections of its own, for whatever has room.
//!
//! A partition is asked for once at a time, and again as soon as an answer's headers tell where it ends: the next records
//! are on their way while these are checked. Several requests may be waiting at one leader, so that a partition that is
//! read fast does not wait for the long poll of those that are idle.

use super::fetch_recovery::Inquiry;
use super::fetch_response::Arrival;
use crate::cluster::Cluster;
use crate::connection::ConnectionPool;
use crate::consumer::settings::Settings;
use crate::consumer::state::{Shared, Slot, Version, foresee, take_in};
use crate::error::RequestError;
use crate::record::TopicPartition;
use bytes::Bytes;
use grower_protocol::ids::{LeaderEpoch, Offset, TopicId};
use grower_protocol::message::{
    ErrorCode, Failure, FetchAfter, FetchPartition, FetchPosition, FetchedPartition, Request, TopicMetadata,
};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

/// The most that is asked of a partition at once, in bytes.
const FETCH_BYTES: usize = 4 << 20;
/// Every partition may have this much at hand, however many there are, in bytes.
const SHARE_MIN: usize = 64 << 10;
/// From so many bytes on, checking them takes longer than asking for the next.
const WORTH_FORESEEING: usize = 64 << 10;

/// What was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) place: TopicPartition,
    pub(crate) version: Version,
    pub(crate) topic: TopicId,
    pub(crate) offset: Offset,
    gaps_allowed: bool,
    max_bytes: usize,
    leader_epoch: Option<LeaderEpoch>,
    /// That of the record before `offset`.
    last_epoch: Option<LeaderEpoch>,
}

pub(crate) struct Fetcher {
    cluster: Arc<Cluster>,
    pool: ConnectionPool,
    shared: Arc<Shared>,
    prefetch_bytes: usize,
    max_wait: Duration,
    min_bytes: u32,
    /// For connections' tasks, which check nothing themselves. They hold no fetcher: it ends although they wait.
    arrivals: mpsc::UnboundedSender<Vec<Arrival>>,
}

/// What to ask whom, and when to look again.
#[derive(Default)]
struct Plan {
    requests: BTreeMap<Option<Arc<str>>, Vec<Wanted>>,
    wake_at: Option<Instant>,
}

impl Fetcher {
    fn new(
        cluster: Arc<Cluster>,
        shared: Arc<Shared>,
        settings: &Settings,
        arrivals: mpsc::UnboundedSender<Vec<Arrival>>,
    ) -> Self {
        Self {
            pool: ConnectionPool::new(cluster.dialer().clone()),
            cluster,
            shared,
            prefetch_bytes: settings.prefetch_bytes,
            max_wait: settings.fetch_max_wait,
            min_bytes: settings.fetch_min_bytes,
            arrivals,
        }
    }

    /// Runs until it is aborted.
    pub(crate) async fn run(cluster: Arc<Cluster>, shared: Arc<Shared>, settings: Settings) {
        let (sender, mut arrivals) = mpsc::unbounded_channel(); // Bounded by what is asked for.
        let fetcher = Arc::new(Self::new(cluster, shared, &settings, sender));
        let mut unchecked = VecDeque::new();
        loop {
            while let Ok(arrived) = arrivals.try_recv() {
                unchecked.extend(arrived.into_iter().map(|arrival| fetcher.foresee(arrival)));
            }
            while let Some(small) = unchecked.pop_front_if(|arrival| arrival.len() < WORTH_FORESEEING) {
                fetcher.take(small);
            }
            let plan = fetcher.plan(Instant::now());
            for (leader, wanted) in plan.requests {
                fetcher.ask(leader, wanted);
            }
            if let Some(large) = unchecked.pop_front() {
                yield_now().await; // The next request leaves before this is checked.
                fetcher.take(large);
                continue;
            }
            let wake_at = plan.wake_at.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
            tokio::select! {
                Some(arrived) = arrivals.recv() => {
                    unchecked.extend(arrived.into_iter().map(|arrival| fetcher.foresee(arrival)));
                }
                () = fetcher.shared.fetchable.notified() => {}
                () = sleep_until(wake_at) => {}
            }
        }
    }

    /// Marks what is worth fetching as being fetched.
    fn plan(&self, now: Instant) -> Plan {
        let mut plan = Plan::default();
        let mut shelf = self.shared.lock();
        let share = (self.prefetch_bytes / shelf.slots.len().max(1)).max(SHARE_MIN);
        for slot in shelf.slots.values_mut() {
            if !slot.is_fetchable(share, now) {
                plan.wake_at = plan.wake_at.into_iter().chain(slot.wakes_at()).min();
                continue;
            }
            slot.is_fetching = true;
            let topic = self.cluster.cached_topic(&slot.place.topic).filter(|topic| topic.id == slot.topic);
            let wanted = Wanted {
                place: slot.place.clone(),
                version: slot.version,
                topic: slot.topic,
                offset: slot.fetch_from,
                gaps_allowed: slot.gaps_allowed,
                last_epoch: slot.fetch_epoch,
                max_bytes: share.saturating_sub(slot.held_bytes()).min(FETCH_BYTES),
                leader_epoch: topic.as_ref().and_then(|topic| leader_epoch(topic, &slot.place)),
            };
            let leader = topic.and_then(|topic| self.cluster.leader(&topic, slot.place.partition));
            plan.requests.entry(leader).or_default().push(wanted);
        }
        plan
    }

    fn ask(self: &Arc<Self>, leader: Option<Arc<str>>, mut wanted: Vec<Wanted>) {
        // The first of a request may have a batch that is larger than its share: each has its turn to be first.
        let first = getrandom::u32().unwrap_or(0) as usize % wanted.len().max(1);
        wanted.rotate_left(first);
        let fetcher = self.clone();
        match leader.as_ref().and_then(|leader| self.pool.open_connection(leader)) {
            Some(connection) => self.submit(&connection, wanted),
            None => drop(tokio::spawn(async move { fetcher.connect(leader, wanted).await })),
        }
    }

    async fn connect(self: Arc<Self>, leader: Option<Arc<str>>, wanted: Vec<Wanted>) {
        let Some(leader) = leader else {
            // Nobody is known to lead them, or their topic is another one by now.
            return wanted.iter().for_each(|wanted| self.inquiry(wanted).find_topic());
        };
        match self.pool.connect(&leader).await {
            Ok(connection) => self.submit(&connection, wanted),
            Err(error) => self.failed(&wanted, &error.into()),
        }
    }

    fn submit(self: &Arc<Self>, connection: &crate::connection::BrokerConnection, wanted: Vec<Wanted>) {
        let total: usize = wanted.iter().map(|wanted| wanted.max_bytes).sum();
        let request = Request::FetchAfter(FetchAfter {
            max_wait_ms: u32::try_from(self.max_wait.as_millis()).unwrap_or(u32::MAX),
            min_bytes: self.min_bytes,
            max_bytes: u32::try_from(total).unwrap_or(u32::MAX),
            partitions: wanted.iter().map(Wanted::to_message).collect(),
        });
        let (arrivals, address) = (self.arrivals.clone(), connection.address().clone());
        let done = Box::new(move |answer| {
            drop(arrivals.send(Arrival::of(&address, wanted, answer))); // The consumer may be gone.
        });
        let is_known = request.needs().is_none_or(|feature| connection.require(feature).is_ok());
        let request = if is_known { request } else { request.for_older_brokers().unwrap_or(request) };
        connection.submit(&request, Bytes::new(), self.max_wait, done);
    }

    /// Has the partition asked for what comes after these bytes, if there are so many that checking them takes a while.
    fn foresee(&self, mut arrival: Arrival) -> Arrival {
        let length = arrival.len();
        if let Arrival::Brought { wanted, part: Ok((fetched, bytes)), foreseen } = &mut arrival
            && WORTH_FORESEEING <= length
            && fetched.damaged.is_none()
            && let Some((next, epoch)) = foresee(bytes, wanted.offset)
            && let Some(slot) = self.shared.lock().current(&wanted.place, wanted.version)
            && slot.foresee(wanted.offset, (next, epoch), length)
        {
            *foreseen = length;
        }
        arrival
    }

    fn take(self: &Arc<Self>, arrival: Arrival) {
        match arrival {
            Arrival::Brought { wanted, part: Ok((fetched, bytes)), foreseen } => {
                self.fetched(wanted, &fetched, bytes, foreseen);
            }
            Arrival::Brought { wanted, part: Err(failure), .. } => self.refused(&wanted, failure),
            Arrival::Diverged(wanted, divergence) => {
                let diverged = |slot: &mut Slot, _| slot.diverged(wanted.offset, &divergence);
                self.shared.with(&wanted.place, wanted.version, diverged);
            }
            Arrival::Failed(wanted, error) => self.failed(&wanted, &error),
        }
    }

    fn fetched(&self, mut wanted: Wanted, fetched: &FetchedPartition, bytes: Bytes, foreseen: usize) {
        let intake = take_in(bytes, wanted.offset, wanted.gaps_allowed);
        let damage = self.shared.with(&wanted.place, wanted.version, |slot, on_damage| {
            slot.high_watermark = Some(fetched.high_watermark);
            slot.log_start = Some(fetched.log_start);
            let next = intake.next;
            let damage = slot.fetched(wanted.offset, foreseen, intake, on_damage);
            if let Some((start, end)) = fetched.damaged.filter(|(_, end)| next < *end) {
                slot.damaged(start.max(next)..end, "on the broker's disk".to_owned(), on_damage);
            }
            damage.zip(Some(slot.version))
        });
        if let Some((damage, version)) = damage.flatten() {
            wanted.version = version;
            self.inquiry(&wanted).look_into(damage);
        }
    }

    fn refused(self: &Arc<Self>, wanted: &Wanted, failure: Failure) {
        match failure.code {
            ErrorCode::OffsetOutOfRange => self.inquiry(wanted).relocate(),
            ErrorCode::UnknownTopic | ErrorCode::UnknownTopicId | ErrorCode::UnknownPartition => {
                self.inquiry(wanted).find_topic();
            }
            code if code.is_retriable() => self.failed(std::slice::from_ref(wanted), &failure.into()),
            _ => drop(
                self.shared.with(&wanted.place, wanted.version, |slot, _| slot.failed(failure.into(), Instant::now())),
            ),
        }
    }

    /// The request brought nothing. What a retry helps against is tried again, with another look at the cluster.
    fn failed(self: &Arc<Self>, wanted: &[Wanted], error: &RequestError) {
        tracing::debug!(%error, partitions = wanted.len(), "a fetch failed");
        for wanted in wanted {
            self.shared.with(&wanted.place, wanted.version, |slot, _| {
                if error.is_retriable() {
                    slot.hindered(Instant::now())
                } else {
                    slot.failed(error.clone(), Instant::now())
                }
            });
        }
        let (cluster, topics) = (self.cluster.clone(), topics_of(wanted));
        tokio::spawn(async move {
            for topic in topics {
                drop(cluster.refresh(&topic, false).await); // Whoever fetches next sees what came of it.
            }
        });
    }

    fn inquiry(&self, wanted: &Wanted) -> Inquiry {
        Inquiry { cluster: self.cluster.clone(), shared: self.shared.clone(), wanted: wanted.clone() }
    }
}

impl Wanted {
    fn to_message(&self) -> FetchPosition {
        let partition = FetchPartition {
            topic: self.topic,
            partition: self.place.partition,
            offset: self.offset,
            max_bytes: u32::try_from(self.max_bytes).unwrap_or(u32::MAX),
            leader_epoch: self.leader_epoch,
        };
        FetchPosition { partition, last_epoch: self.last_epoch }
    }
}

fn leader_epoch(topic: &TopicMetadata, place: &TopicPartition) -> Option<LeaderEpoch> {
    topic.partitions.get(place.partition.value() as usize).map(|partition| partition.leader_epoch)
}

fn topics_of(wanted: &[Wanted]) -> Vec<grower_protocol::ids::TopicName> {
    let mut topics: Vec<_> = wanted.iter().map(|wanted| wanted.place.topic.clone()).collect();
    topics.dedup();
    topics
}
