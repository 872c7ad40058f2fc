//! Prefetches records: one task that keeps a fetch session with each leader.
//!
//! A session has several requests in flight, so records travel while earlier ones are checked and handed out. All of
//! them together, and the records in memory, keep within the memory for prefetched records. The task looks only at
//! partitions that changed or that an answer is about.

mod answers;
mod arrived_answer;
mod leader_session;
mod plan;

use super::fetch_recovery::{self, PartitionFetch};
use crate::backoff;
use crate::cluster::Cluster;
use crate::connection::{BrokerAnswer, BrokerConnection, ConnectionPool};
use crate::consumer::settings::ConsumerSettings;
use crate::consumer::state::{PartitionFetchState, SessionKey, SessionMismatch, SharedSubscription};
use crate::error::{RequestError, unexpected_response};
use arrived_answer::ArrivedAnswer;
use grower_protocol::ids::TopicName;
use grower_protocol::message::{ErrorCode, Failure, Response};
use leader_session::{LeaderSession, SlotOwner};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// The wait of a fetcher without anything to do. An event ends it.
const IDLE_WAIT: Duration = Duration::from_secs(3600);
/// The interval of warnings about partitions that are not read.
const WARN_EACH: Duration = Duration::from_secs(10);

pub(crate) struct Fetcher {
    cluster: Arc<Cluster>,
    pool: Arc<ConnectionPool>,
    shared: Arc<SharedSubscription>,
    prefetch_bytes: usize,
    max_wait: Duration,
    min_bytes: u32,
    sessions: Vec<LeaderSession>,
    last_key: SessionKey,
    /// Carries answers from the connections' tasks, which hold no reference to the fetcher.
    events: mpsc::UnboundedSender<FetcherEvent>,
    /// Aborted when dropped.
    dials: JoinSet<()>,
    /// The number of reads of all sessions.
    reads_sent: u64,
    /// The time of the last warning.
    warned_at: Option<Instant>,
}

enum FetcherEvent {
    Connected(SessionKey, Result<BrokerConnection, RequestError>),
    /// The answer to the request with this number in the session.
    Answered(SessionKey, u64, ArrivedAnswer),
}

/// The reason for the end of a session.
enum SessionEnd {
    /// Its partitions are read on in another session at once.
    Restart,
    /// The session was evicted before its second answer: its partitions wait before another session opens.
    Evicted,
    /// Its partitions are retried later, or report the error.
    Failed(RequestError),
    Mismatch(SessionMismatch),
}

#[expect(clippy::disallowed_methods, reason = "a shell reads the clock")]
impl Fetcher {
    fn new(
        cluster: Arc<Cluster>,
        shared: Arc<SharedSubscription>,
        settings: &ConsumerSettings,
        events: mpsc::UnboundedSender<FetcherEvent>,
    ) -> Self {
        Self {
            pool: Arc::new(ConnectionPool::new(cluster.dialer().clone())),
            cluster,
            shared,
            prefetch_bytes: settings.prefetch_bytes,
            max_wait: settings.fetch_max_wait,
            min_bytes: settings.fetch_min_bytes,
            sessions: Vec::new(),
            last_key: SessionKey::default(),
            events,
            dials: JoinSet::new(),
            reads_sent: 0,
            warned_at: None,
        }
    }

    /// Runs until it is aborted.
    pub(crate) async fn run(cluster: Arc<Cluster>, shared: Arc<SharedSubscription>, settings: ConsumerSettings) {
        let (sender, mut events) = mpsc::unbounded_channel(); // The requests in flight bound it.
        let mut leader_changes = cluster.leader_changes();
        let mut fetcher = Self::new(cluster, shared.clone(), &settings, sender);
        loop {
            let now = Instant::now();
            let (retry_at, unused_until) = (fetcher.plan(now), fetcher.send(now));
            let wake_at = retry_at.into_iter().chain(unused_until).min();
            tokio::select! {
                biased;
                Some(event) = events.recv() => fetcher.handle(event),
                () = shared.fetchable.notified() => {}
                Ok(()) = leader_changes.changed() => fetcher.follow_leaders(),
                () = sleep_until(wake_at.unwrap_or_else(|| Instant::now() + IDLE_WAIT)) => {}
            }
        }
    }

    fn handle(&mut self, event: FetcherEvent) {
        match event {
            FetcherEvent::Connected(key, connected) => {
                while self.dials.try_join_next().is_some() {}
                let Some(at) = self.position(key) else { return };
                match connected {
                    Ok(connection) => self.sessions[at].connected(connection),
                    Err(error) => self.end_session(at, SessionEnd::Failed(error)),
                }
            }
            FetcherEvent::Answered(key, number, answer) => {
                let Some(at) = self.position(key).filter(|at| self.sessions[*at].state.awaits(number)) else { return };
                if let Err(end) = self.take_answer(at, number, answer.take()) {
                    self.end_session(at, end);
                }
            }
        }
    }

    /// Takes an answer, and all that waited for it.
    fn take_answer(
        &mut self,
        at: usize,
        number: u64,
        answer: Result<BrokerAnswer, RequestError>,
    ) -> Result<(), SessionEnd> {
        let session = &mut self.sessions[at];
        let answer = match answer {
            Ok(answer) => answer,
            Err(error @ (RequestError::Lost(_) | RequestError::NotSent(_))) => return self.lose_connection(at, &error),
            Err(error) => return Err(SessionEnd::Failed(error)),
        };
        match answer.response {
            Response::FetchSession(parts) => session.state.answered(parts, answer.attachment)?,
            Response::Failed(failure) if failure.code == ErrorCode::UnknownFetchSession => {
                return Err(if session.state.has_continued() { SessionEnd::Restart } else { SessionEnd::Evicted });
            }
            Response::Failed(failure) if failure.code == ErrorCode::MemoryFull && session.state.is_open() => {
                return self.give_up_refused(at, number, failure);
            }
            Response::Failed(failure) => return Err(SessionEnd::Failed(failure.into())),
            other => return Err(SessionEnd::Failed(unexpected_response(&session.leader, "fetch", other))),
        }
        while let Some(answer) = self.sessions[at].next_answer() {
            self.take_in(at, answer)?;
        }
        Ok(())
    }

    /// Handles a request that the broker has no memory for: the session reads on without the slots that it adds, and
    /// their partitions are retried later.
    fn give_up_refused(&mut self, at: usize, number: u64, failure: Failure) -> Result<(), SessionEnd> {
        let session = &mut self.sessions[at];
        let (key, refused) = (session.key, session.state.take_refused(number));
        let is_resumable = session.state.lose_link();
        let error = RequestError::from(failure);
        self.warn_of(&error, at, refused.len());
        let (now, random) = (Instant::now(), backoff::random()); // One, so that they come back in one request.
        self.release(key, refused, |partition| partition.retry_later(Some(&error), now, random));
        if is_resumable { Ok(()) } else { Err(SessionEnd::Restart) }
    }

    /// Warns of partitions that are not read, now and then.
    fn warn_of(&mut self, error: &RequestError, at: usize, partitions: usize) {
        let now = Instant::now();
        if self.warned_at.is_none_or(|warned_at| warned_at + WARN_EACH <= now) {
            let leader = &self.sessions[at].leader;
            tracing::warn!(%error, %leader, partitions, "partitions are not read");
            self.warned_at = Some(now);
        }
    }

    /// Handles a lost connection: the session is resumed over another one. The leader may have moved.
    fn lose_connection(&mut self, at: usize, error: &RequestError) -> Result<(), SessionEnd> {
        let is_resumable = self.sessions[at].lose_connection();
        tracing::debug!(%error, leader = %self.sessions[at].leader, "lost the connection of a fetch session");
        if self.sessions[at].is_stuck() {
            self.warn_of(error, at, self.sessions[at].state.slots().count());
        }
        self.refresh(self.topics_of(at));
        if is_resumable { Ok(()) } else { Err(SessionEnd::Restart) }
    }

    /// Removes a session; its partitions are to be placed again.
    fn end_session(&mut self, at: usize, end: SessionEnd) {
        if let SessionEnd::Failed(error) = &end
            && error.code() == Some(ErrorCode::MemoryFull)
        {
            self.warn_of(error, at, self.sessions[at].state.slots().count());
        }
        let (topics, session) = (self.topics_of(at), self.sessions.swap_remove(at));
        session.close();
        self.shared.lock().note_session_end(session.key);
        let error = match end {
            SessionEnd::Restart => None,
            SessionEnd::Evicted => Some(None),
            SessionEnd::Failed(error) => {
                tracing::debug!(%error, leader = %session.leader, "a fetch session failed");
                self.refresh(topics);
                Some(Some(error))
            }
            SessionEnd::Mismatch(mismatch) => {
                tracing::error!(%mismatch, leader = %session.leader, "the answer of a fetch session contradicts its state; opening another one");
                Some(None)
            }
        };
        let now = Instant::now();
        self.release(session.key, session.state.slots().map(|slot| slot.owner), |partition| match &error {
            None => {}
            Some(Some(error)) if !error.is_retriable() => partition.fail(error.clone(), now),
            Some(cause) => partition.retry_later(cause.as_ref(), now, backoff::random()),
        });
    }

    /// Takes the slots of these owners from their partitions and changes the partitions.
    fn release(
        &self,
        session: SessionKey,
        owners: impl IntoIterator<Item = SlotOwner>,
        change: impl Fn(&mut PartitionFetchState),
    ) {
        let mut subscription = self.shared.lock();
        for owner in owners {
            let Some(mut partition) = subscription.partitions.update_at(owner.partition) else { continue };
            if partition.placement().is_some_and(|placement| owner.is_placed_by(&placement, session)) {
                partition.place(None);
                change(&mut partition);
            }
        }
    }

    fn position(&self, key: SessionKey) -> Option<usize> {
        self.sessions.iter().position(|session| session.key == key)
    }

    /// Returns the topics that a session reads.
    fn topics_of(&self, at: usize) -> BTreeSet<TopicName> {
        let subscription = self.shared.lock();
        let mut topics = BTreeSet::new();
        for slot in self.sessions[at].state.slots() {
            if let Some(partition) = subscription.partitions.at(slot.owner.partition)
                && !topics.contains(&partition.topic_partition.topic)
            {
                topics.insert(partition.topic_partition.topic.clone());
            }
        }
        topics
    }

    /// Refreshes topics in the background: later placements use the result.
    fn refresh(&self, topics: BTreeSet<TopicName>) {
        if topics.is_empty() {
            return;
        }
        let cluster = self.cluster.clone();
        tokio::spawn(async move {
            for topic in topics {
                drop(cluster.refresh(&topic, false, cluster.deadline()).await);
            }
        });
    }
}

impl From<SessionMismatch> for SessionEnd {
    fn from(mismatch: SessionMismatch) -> Self {
        Self::Mismatch(mismatch)
    }
}
