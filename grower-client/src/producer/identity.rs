//! The producer's identity: its allocation, its renewal, and its loss to another process.

use super::Producer;
use super::engine::{ProducerEngine, now};
use super::in_flight::settle;
use super::topic::{ProducerPartition, ProducerTopic};
use crate::cluster::Cluster;
use crate::deadline::Deadline;
use crate::error::{ProduceError, RequestError};
use crate::record::TopicPartition;
use crate::retry;
use crate::unanswered_claims::ClaimHolder;
use grower_protocol::ids::{LastWritten, PartitionId, ProducerEpoch, ProducerHolder, ProducerIdentity, ProducerName};
use grower_protocol::message::{ErrorCode, Failure, InitProducer, Request, Response};
use std::sync::{Arc, OnceLock};
use tokio::sync::Mutex;
use tokio::time::timeout_at;

/// The identities of a producer, which its partitions share.
pub(super) struct IdentitySource {
    cluster: Arc<Cluster>,
    /// The identity at the start.
    pub(super) first: ProducerIdentity,
    named: Option<NamedIdentity>,
}

/// The hold on a producer name.
struct NamedIdentity {
    name: ProducerName,
    holder: ProducerHolder,
    /// Locked during a renewal: the partitions share it.
    newest: Mutex<ProducerIdentity>,
    /// The error with which another process, or an operator, took the name away.
    lost: OnceLock<RequestError>,
}

impl IdentitySource {
    /// Requests the first identity: that of the name, or an id that was never used.
    pub(super) async fn start(
        cluster: Arc<Cluster>,
        name: Option<ProducerName>,
        deadline: Deadline,
    ) -> Result<Self, RequestError> {
        cluster.require("idempotence", deadline).await?;
        let Some(name) = name else {
            let first = request(&cluster, InitProducer::default(), deadline).await?;
            return Ok(Self { cluster, first, named: None });
        };
        cluster.require("named-producers", deadline).await?;
        cluster.require("producer-fences", deadline).await?;
        let (holder, first) = claim(&cluster, &name, deadline).await?;
        let named = NamedIdentity { name, holder, newest: Mutex::new(first), lost: OnceLock::new() };
        Ok(Self { cluster, first, named: Some(named) })
    }

    /// Whether the identity has a name.
    pub(super) fn is_named(&self) -> bool {
        self.named.is_some()
    }

    /// Returns an identity in place of `old`: with a name its next epoch, which other partitions may have requested
    /// meanwhile; otherwise a new id.
    async fn renew(&self, old: ProducerIdentity) -> Result<ProducerIdentity, RequestError> {
        let Some(named) = &self.named else {
            return request(&self.cluster, InitProducer::default(), self.cluster.deadline()).await;
        };
        let mut newest = named.newest.lock().await;
        if *newest == old {
            let (name, holder) = (Some(named.name.clone()), named.holder);
            let renewal = InitProducer { name, holder, current: Some(old) };
            let renewed = request(&self.cluster, renewal, self.cluster.deadline()).await?;
            if !is_renewal(old, renewed) {
                let name = &named.name;
                let detail = format_args!("another process had producer {name} in between: its records may be there");
                return Err(Failure::new(ErrorCode::FencedProducer, detail).into());
            }
            *newest = renewed;
        }
        Ok(*newest)
    }

    /// Records that the name has another holder, or was deleted; returns whether this call is the first one.
    fn lose(&self, error: RequestError) -> bool {
        self.named.as_ref().is_some_and(|named| named.lost.set(error).is_ok())
    }

    /// The error for records of a producer that has lost its name.
    pub(super) fn lost(&self, in_doubt: bool) -> Option<ProduceError> {
        let named = self.named.as_ref()?;
        let source = named.lost.get()?.clone();
        Some(ProduceError::Fenced { identity: named.name.clone(), source, in_doubt })
    }
}

/// Claims the name. A claim that was never answered is repeated, unless another process claimed the name after it.
async fn claim(
    cluster: &Cluster,
    name: &ProducerName,
    deadline: Deadline,
) -> Result<(ProducerHolder, ProducerIdentity), RequestError> {
    loop {
        let claim = ClaimHolder::take(&cluster.unanswered_claims, name)?;
        let ClaimHolder { holder, is_repeated, .. } = claim;
        let init = InitProducer { name: Some(name.clone()), holder, current: None };
        match request(cluster, init, deadline).await {
            Ok(identity) => {
                claim.answered();
                return Ok((holder, identity));
            }
            Err(error) if is_repeated && retry::is_identity_lost(&error) => claim.answered(),
            Err(error) => return Err(error),
        }
    }
}

/// Whether no process but this one had the name from `old` to `renewed`: the next epoch, or a fresh id.
fn is_renewal(old: ProducerIdentity, renewed: ProducerIdentity) -> bool {
    let ProducerIdentity { id, epoch } = renewed;
    if id == old.id { epoch == old.epoch.next() } else { epoch == ProducerEpoch::new(0) }
}

async fn request(
    cluster: &Cluster,
    request: InitProducer,
    deadline: Deadline,
) -> Result<ProducerIdentity, RequestError> {
    match cluster.ask_retrying(&Request::InitProducer(request), deadline).await? {
        (_, Response::InitProducer(identity)) => Ok(identity),
        (connection, other) => Err(connection.unexpected("init producer", other)),
    }
}

impl ProducerEngine {
    /// Names the cause if the producer was closed.
    pub(super) fn explained(&self, error: ProduceError) -> ProduceError {
        if let ProduceError::Closed = error { self.closed_error() } else { error }
    }

    /// Requests an identity in place of `old` for one partition, in the background.
    pub(super) fn identify(
        self: &Arc<Self>,
        topic: &Arc<ProducerTopic>,
        partition: &Arc<ProducerPartition>,
        old: ProducerIdentity,
    ) {
        let (engine, topic, partition) = (self.clone(), topic.clone(), partition.clone());
        self.runtime.spawn(async move {
            let Some(identities) = &engine.identities else { return };
            let renewed = identities.renew(old).await;
            tracing::debug!(topic = %topic.name, partition = %partition.number, ?renewed, "requested an identity");
            let lost = renewed.as_ref().err().filter(|error| retry::is_identity_lost(error)).cloned();
            partition.lock().queue.set_identity(renewed, now());
            match lost.filter(|_| identities.is_named()) {
                Some(error) => engine.lose_identity(error),
                None => engine.drain(&topic, &partition),
            }
        });
    }

    /// Fails all records and accepts no more: the name of the producer has another holder.
    fn lose_identity(self: &Arc<Self>, error: RequestError) {
        let Some(identities) = self.identities.as_ref().filter(|identities| identities.lose(error)) else { return };
        self.close();
        let error = |_: &TopicPartition, in_doubt| identities.lost(in_doubt).unwrap_or(ProduceError::Closed);
        for topic in self.topics() {
            for partition in topic.partitions() {
                let mut state = partition.lock();
                let released = settle(state.queue.fail_each(error));
                drop(state);
                self.release(released);
            }
        }
        self.epoch_changed.notify_waiters();
    }

    async fn last_written(
        self: &Arc<Self>,
        topic: &str,
        partition: PartitionId,
    ) -> Result<Option<LastWritten>, ProduceError> {
        if !self.identities.as_ref().is_some_and(IdentitySource::is_named) {
            return Ok(None);
        }
        let deadline = Deadline::after(self.settings.delivery_timeout);
        loop {
            let (topic, partition) = self.find_partition(topic, partition, deadline).await?;
            let changed = self.epoch_changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable(); // Before the look, so that no change is missed.
            if self.is_closed() {
                return Err(self.closed_error());
            }
            if let Some(last) = partition.lock().queue.request_last_written() {
                return Ok(last);
            }
            self.drain(&topic, &partition);
            if timeout_at(deadline.end(), changed).await.is_err() {
                let (after, queue) = (deadline.limit(), &partition.lock().queue);
                let topic_partition = topic.topic_partition(partition.number);
                return Err(ProduceError::timed_out(&topic_partition, after, false, queue.last_error()));
            }
        }
    }
}

impl Producer {
    /// Returns the last record that earlier holders of the producer's [identity](crate::ProducerBuilder::identity) wrote
    /// to a partition. `None` if they wrote none, and for a producer without an identity.
    ///
    /// The record is committed, and no later one of an earlier holder follows: their batches that still wait in
    /// connections are refused. Records of this producer do not change the answer. The producer asks the broker once
    /// for each partition, at the latest before its first batch there, and waits at most the delivery timeout.
    pub async fn last_written(
        &self,
        topic: impl AsRef<str>,
        partition: impl Into<PartitionId>,
    ) -> Result<Option<LastWritten>, ProduceError> {
        Box::pin(self.handle.engine.last_written(topic.as_ref(), partition.into())).await
    }
}
