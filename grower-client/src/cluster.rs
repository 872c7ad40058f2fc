//! Caches the cluster's metadata: broker addresses, topics, and the leader of each partition.
//!
//! A caller that gets an answer that contradicts the cache refreshes it.

use crate::backoff;
use crate::connection::{BrokerConnection, ConnectionPool, Dialer};
use crate::deadline::Deadline;
use crate::error::{ConnectError, RequestError, single_part};
use crate::events::ClientEvent;
use crate::random_name::random_committer;
use crate::record::TopicPartition;
use crate::retry::Attempts;
use crate::unanswered_claims::UnansweredClaims;
use futures_core::future::BoxFuture;
use grower_protocol::ids::{CommitterId, GroupId, NodeId, PartitionId, TopicId, TopicName};
use grower_protocol::message::{
    BrokerAddress, CommitterIdentity, Metadata, MetadataAnswer, OffsetCommit, OffsetToCommit, Part, Request, Response,
    TopicMetadata,
};
use parking_lot::RwLock;
use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep};

/// The cluster as one client sees it; shared by its producers, consumers and admin.
pub(crate) struct Cluster {
    bootstrap: Vec<Arc<str>>,
    control: ConnectionPool,
    shared: ConnectionPool,
    view: RwLock<ClusterView>,
    /// Counts the answers that showed another leader of a partition.
    leader_changes: watch::Sender<u64>,
    /// The identity under which this client sets the offsets of groups.
    resetter: CommitterId,
    /// The sequence number of the newest reset. Locked during a reset, so that resets keep their order.
    newest_reset: Mutex<u64>,
    pub(crate) unanswered_claims: UnansweredClaims,
}

#[derive(Default)]
struct ClusterView {
    /// The addresses that brokers advertise.
    advertised: BTreeMap<NodeId, Arc<str>>,
    /// The addresses at which brokers answered. They take precedence, since a tunnel or a container may translate
    /// addresses.
    answered: BTreeMap<NodeId, Arc<str>>,
    topics: HashMap<TopicName, Arc<TopicMetadata>>,
    /// The address that answered last.
    preferred: Option<Arc<str>>,
}

impl Cluster {
    /// Creates a cluster without connections; fails without random bytes of the operating system.
    pub(crate) fn new(dialer: Arc<Dialer>, bootstrap: Vec<Arc<str>>) -> Result<Self, ConnectError> {
        let resetter = random_committer().map_err(ConnectError::no_randomness)?;
        let shared = ConnectionPool::new(dialer.clone());
        let (control, view) = (ConnectionPool::new(dialer), RwLock::default());
        let (leader_changes, newest_reset) = (watch::Sender::default(), Mutex::default());
        let unanswered_claims = UnansweredClaims::default();
        Ok(Self { bootstrap, control, shared, view, leader_changes, resetter, newest_reset, unanswered_claims })
    }

    pub(crate) fn dialer(&self) -> &Arc<Dialer> {
        self.control.dialer()
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        self.dialer().settings.request_timeout
    }

    /// The connections for small requests that must not wait behind records.
    pub(crate) fn control_pool(&self) -> &ConnectionPool {
        &self.control
    }

    /// The connections for the small batches of all producers.
    pub(crate) fn shared_pool(&self) -> &ConnectionPool {
        &self.shared
    }

    /// Returns the deadline of a call that starts now and has no time limit of its own.
    pub(crate) fn deadline(&self) -> Deadline {
        Deadline::after(self.request_timeout())
    }

    /// Returns a connection to any broker. The addresses share the time: one that hangs leaves some to the others.
    #[expect(clippy::disallowed_methods, reason = "a shell reads the clock")]
    pub(crate) async fn any_broker(&self, deadline: Deadline) -> Result<BrokerConnection, ConnectError> {
        let candidates = self.candidates();
        if let Some(connection) = candidates.first().and_then(|address| self.control.open_connection(address)) {
            return Ok(connection);
        }
        let mut errors = Vec::new();
        for (address, left) in candidates.iter().zip((1..=candidates.len()).rev()) {
            match self.control.connect(address, deadline.part(Instant::now(), left)).await {
                Ok(connection) => {
                    self.answered(&connection);
                    return Ok(connection);
                }
                Err(error) => errors.push(error),
            }
        }
        Err(match <[ConnectError; 1]>::try_from(errors) {
            Ok([error]) => error,
            Err(errors) if errors.is_empty() => ConnectError::NoAddress,
            Err(errors) => ConnectError::All(errors),
        })
    }

    /// Waits for a broker until the deadline.
    #[expect(clippy::disallowed_methods, reason = "a shell reads the clock")]
    pub(crate) async fn wait_for_broker(&self, deadline: Deadline) -> Result<(), ConnectError> {
        let mut failures = 0;
        loop {
            let Err(error) = self.any_broker(deadline).await else { return Ok(()) };
            failures += 1;
            let wait = backoff::delay(failures, backoff::random());
            if !error.is_retriable() || deadline.end() <= Instant::now() + wait {
                return Err(error);
            }
            sleep(wait).await;
        }
    }

    /// Asks any broker once. A broker that lacks the request does not get it. The future is boxed, so that this crate
    /// compiles its code once, and not each crate that awaits an admin's future.
    pub(crate) fn ask<'a>(
        &'a self,
        request: &'a Request,
        deadline: Deadline,
    ) -> BoxFuture<'a, Result<(BrokerConnection, Response), RequestError>> {
        Box::pin(self.ask_once(request, deadline))
    }

    async fn ask_once(
        &self,
        request: &Request,
        deadline: Deadline,
    ) -> Result<(BrokerConnection, Response), RequestError> {
        let connection = self.any_broker(deadline).await?;
        request.kind().feature.map_or(Ok(()), |feature| connection.require(feature))?;
        let response = connection.ask(request, deadline).await?;
        Ok((connection, response))
    }

    /// Asks any broker and retries until the deadline. Only for requests that may be carried out twice.
    pub(crate) async fn ask_retrying(
        &self,
        request: &Request,
        deadline: Deadline,
    ) -> Result<(BrokerConnection, Response), RequestError> {
        let is_commit = matches!(request, Request::CommitOffsets(_));
        let attempts = Attempts::until(deadline.end()).keeping_doubt(is_commit);
        Self::repeat(attempts, || self.ask(request, deadline)).await
    }

    /// Fails if the broker that answers first lacks the feature `name`. Waits for a broker until the deadline.
    pub(crate) async fn require(&self, name: &str, deadline: Deadline) -> Result<(), RequestError> {
        self.retrying(deadline, || async {
            let connection = self.any_broker(deadline).await?;
            connection.require(name).map_err(RequestError::from)
        })
        .await
    }

    /// Repeats `attempt` until it succeeds, fails for good, or the deadline is too near for another one.
    pub(crate) async fn retrying<T, F: Future<Output = Result<T, RequestError>>>(
        &self,
        deadline: Deadline,
        attempt: impl Fn() -> F,
    ) -> Result<T, RequestError> {
        Self::repeat(Attempts::until(deadline.end()), attempt).await
    }

    /// Repeats `attempt` as these attempts allow.
    #[expect(clippy::disallowed_methods, reason = "a shell reads the clock")]
    async fn repeat<T, F: Future<Output = Result<T, RequestError>>>(
        mut attempts: Attempts,
        attempt: impl Fn() -> F,
    ) -> Result<T, RequestError> {
        loop {
            let error = match attempt().await {
                Err(error) => error,
                answered => return answered,
            };
            match attempts.wait_after(&error, Instant::now(), backoff::random()) {
                Some(wait) => sleep(wait).await,
                None => return Err(attempts.final_error(error)),
            }
        }
    }

    /// Sets committed offsets of a group without being a member, after all earlier resets of this client.
    pub(crate) async fn set_offsets(
        &self,
        group: &GroupId,
        offsets: Vec<OffsetToCommit>,
        deadline: Deadline,
    ) -> Result<(BrokerConnection, Response), RequestError> {
        let late = || RequestError::NotSentInTime { after: deadline.limit() };
        let mut newest = deadline.wait(self.newest_reset.lock()).await.ok_or_else(late)?;
        *newest += 1;
        let (committer, sequence) = (CommitterIdentity::Outside(self.resetter.clone()), *newest);
        let commit = OffsetCommit { group: group.clone(), committer, sequence, offsets };
        self.ask(&Request::CommitOffsets(commit), deadline).await
    }

    /// Asks for a topic's metadata and caches it.
    pub(crate) async fn refresh(
        &self,
        name: &TopicName,
        create: bool,
        deadline: Deadline,
    ) -> Result<Arc<TopicMetadata>, RequestError> {
        let asked = Metadata { topics: Some(vec![name.clone()]), create_missing: create };
        let (connection, answer) = self.metadata(asked, deadline).await?;
        single_part(connection.address(), "metadata", answer.topics).map(Arc::new)
    }

    /// Like [`Cluster::refresh`], without retries.
    pub(crate) async fn refresh_once(
        &self,
        name: &TopicName,
        create: bool,
        deadline: Deadline,
    ) -> Result<Arc<TopicMetadata>, RequestError> {
        let asked = Metadata { topics: Some(vec![name.clone()]), create_missing: create };
        let (connection, answer) = self.metadata_once(&Request::Metadata(asked), deadline).await?;
        single_part(connection.address(), "metadata", answer.topics).map(Arc::new)
    }

    /// Asks for metadata and caches it.
    pub(crate) async fn metadata(
        &self,
        asked: Metadata,
        deadline: Deadline,
    ) -> Result<(BrokerConnection, MetadataAnswer), RequestError> {
        let request = Request::Metadata(asked);
        self.retrying(deadline, || self.metadata_once(&request, deadline)).await
    }

    async fn metadata_once(
        &self,
        request: &Request,
        deadline: Deadline,
    ) -> Result<(BrokerConnection, MetadataAnswer), RequestError> {
        let names = if let Request::Metadata(asked) = request { asked.topics.as_deref() } else { None };
        match self.ask(request, deadline).await? {
            (connection, Response::Metadata(answer)) if is_answer_to(names, &answer) => {
                self.learn(names, &answer);
                Ok((connection, answer))
            }
            (connection, other) => Err(connection.unexpected("metadata", other)),
        }
    }

    /// Returns a topic's cached metadata.
    pub(crate) fn cached_topic(&self, name: &TopicName) -> Option<Arc<TopicMetadata>> {
        self.view.read().topics.get(name).cloned()
    }

    /// Returns the name of a cached topic.
    pub(crate) fn topic_name(&self, id: TopicId) -> Option<TopicName> {
        self.view.read().topics.values().find(|topic| topic.id == id).map(|topic| topic.name.clone())
    }

    /// Returns the address of a partition's leader according to `topic`; `None` during an election.
    pub(crate) fn leader(&self, topic: &TopicMetadata, partition: PartitionId) -> Option<Arc<str>> {
        let leader = topic.partitions.get(partition.value() as usize)?.leader?;
        let view = self.view.read();
        view.answered.get(&leader).or_else(|| view.advertised.get(&leader)).cloned()
    }

    /// Returns a receiver that is told when a partition has another leader.
    pub(crate) fn leader_changes(&self) -> watch::Receiver<u64> {
        self.leader_changes.subscribe()
    }

    /// Returns all known addresses, the most likely first.
    fn candidates(&self) -> Vec<Arc<str>> {
        let view = self.view.read();
        let mut candidates: Vec<Arc<str>> = Vec::new();
        for address in view.preferred.iter().chain(&self.bootstrap).chain(view.advertised.values()) {
            if !candidates.contains(address) {
                candidates.push(address.clone());
            }
        }
        candidates
    }

    fn answered(&self, connection: &BrokerConnection) {
        let mut view = self.view.write();
        view.preferred = Some(connection.address().clone());
        view.answered.insert(connection.hello().node, connection.address().clone());
    }

    fn learn(&self, asked: Option<&[TopicName]>, answer: &MetadataAnswer) {
        let mut view = self.view.write();
        let address = |broker: &BrokerAddress| (broker.node, Arc::from(broker.address.as_str()));
        view.advertised = answer.brokers.iter().map(address).collect();
        // The answer below puts a topic back if it still exists.
        let mut earlier: HashMap<_, _> =
            asked.unwrap_or_default().iter().filter_map(|name| view.topics.remove_entry(name)).collect();
        let (mut has_moved, mut moved) = (false, Vec::new());
        for topic in answer.topics.iter().flatten() {
            let known = view.topics.insert(topic.name.clone(), Arc::new(topic.clone()));
            let known = known.or_else(|| earlier.remove(&topic.name));
            let Some(known) = known else { continue };
            has_moved |= has_other_leader(&known, topic);
            moved.extend(moved_leaders(&known, topic));
        }
        drop(view);
        if has_moved {
            self.leader_changes.send_modify(|changes| *changes += 1);
        }
        for (topic_partition, leader) in moved {
            self.dialer().events.tell(|| ClientEvent::LeaderMoved { topic_partition, leader });
        }
    }
}

/// Whether a partition of the topic has another leader than before, or the same one in another epoch.
fn has_other_leader(before: &TopicMetadata, now: &TopicMetadata) -> bool {
    let mut both = before.partitions.iter().zip(&now.partitions);
    both.any(|(before, now)| (before.leader, before.leader_epoch) != (now.leader, now.leader_epoch))
}

/// The partitions of the topic whose leader is another node than before, with that node.
fn moved_leaders(
    before: &TopicMetadata,
    now: &TopicMetadata,
) -> impl Iterator<Item = (TopicPartition, Option<NodeId>)> {
    let is_same_topic = before.id == now.id;
    let both = before.partitions.iter().zip(&now.partitions).filter(move |_| is_same_topic);
    both.filter(|(before, now)| before.leader != now.leader).map(|(_, partition)| {
        (TopicPartition { topic: now.name.clone(), partition: partition.partition }, partition.leader)
    })
}

/// Whether the answer has each topic of `names` in order, and the partitions of each topic in order from 0.
fn is_answer_to(names: Option<&[TopicName]>, answer: &MetadataAnswer) -> bool {
    let in_order =
        |topic: &TopicMetadata| (0..).zip(&topic.partitions).all(|(n, of)| of.partition == PartitionId::new(n));
    let named =
        |(name, part): (&TopicName, &Part<TopicMetadata>)| part.as_ref().map_or(true, |topic| topic.name == *name);
    answer.topics.iter().flatten().all(in_order)
        && names.is_none_or(|names| names.len() == answer.topics.len() && names.iter().zip(&answer.topics).all(named))
}

#[cfg(test)]
mod tests {
    use super::*;
    use grower_protocol::ids::LeaderEpoch;
    use grower_protocol::message::{ErrorCode, Failure, PartitionMetadata};

    fn topic(name: &str, partitions: &[u32]) -> Part<TopicMetadata> {
        let partition = |n: &u32| PartitionMetadata {
            partition: PartitionId::new(*n),
            leader: None,
            leader_epoch: LeaderEpoch::default(),
            replicas: Vec::new(),
            in_sync: Vec::new(),
        };
        let partitions = partitions.iter().map(partition).collect();
        Ok(TopicMetadata { name: TopicName::new(name).unwrap(), id: TopicId::from_bytes([1; 16]), partitions })
    }

    #[test]
    fn metadata_of_other_topics_or_with_a_partition_twice_is_no_answer() {
        let names = ["a", "b"].map(|name| TopicName::new(name).unwrap());
        let check = |names: Option<&[TopicName]>, topics: Vec<Part<TopicMetadata>>| {
            is_answer_to(names, &MetadataAnswer { topics, brokers: Vec::new() })
        };
        let unknown = || Err(Failure::new(ErrorCode::UnknownTopic, "no"));
        assert!(check(Some(&names), vec![topic("a", &[0, 1]), unknown()]));
        assert!(check(None, vec![topic("c", &[])]));
        assert!(!check(Some(&names), vec![topic("a", &[0, 1])]));
        assert!(!check(Some(&names), vec![topic("a", &[0]), topic("a", &[0])]));
        assert!(!check(None, vec![topic("a", &[0, 0])]));
        assert!(!check(None, vec![topic("a", &[1])]));
    }
}
