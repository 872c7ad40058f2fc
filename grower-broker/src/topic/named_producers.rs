//! Claims and deletions of producers' names: made durable together, apart from changes of topics, which may take long.

use super::Topics;
use super::changes::Decide;
use crate::background;
use crate::config::ProducerLimits;
use crate::memory::{Memory, StateKind};
use crate::metadata::{Applied, Command, Image, MetadataStore, NamedProducer, ProducerClaim, minimum_named_id};
use crate::partition::{Partition, ProducerRegistry};
use grower_protocol::ids::{LastWritten, PartitionId, ProducerId, ProducerName, TopicId};
use grower_protocol::message::{ErrorCode, Failure, ProducerIdentity};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// How many expired names one command removes.
const EXPIRED_EACH: usize = 1_000;

/// The registry as the partitions see it.
pub(super) struct RegisteredProducers(pub(super) Arc<dyn MetadataStore>);

impl ProducerRegistry for RegisteredProducers {
    fn check(&self, identity: ProducerIdentity) -> Result<(), Failure> {
        self.0.image().check_named(identity).map_err(|refusal| Failure::new(refusal.code(), refusal))
    }

    fn knows(&self, id: ProducerId) -> bool {
        self.0.image().producer_with_id(id).is_some()
    }
}

impl Topics {
    /// Gives a name its next identity, durably. From then on all earlier ones are refused. A repeated claim of the
    /// holder has no effect.
    pub(crate) async fn claim_producer(
        self: &Arc<Self>,
        claim: ProducerClaim,
        limits: ProducerLimits,
    ) -> Result<ProducerIdentity, Failure> {
        if let Some(identity) = self.image().repeated_claim(&claim) {
            return Ok(identity);
        }
        let (memory, clock) = (self.memory.clone(), self.clock.clone());
        let decide = move |image: &Image| {
            check_memory(&memory, image, &claim.name)?;
            let now = clock.wall();
            Ok(image.claim_producer(&claim, minimum_named_id(now), now, limits.named)?)
        };
        match self.change_producers(Box::new(decide)).await? {
            Applied::ProducerClaimed(identity) => Ok(identity),
            other => Err(Failure::new(ErrorCode::Internal, format_args!("a claim ended as {other:?}"))),
        }
    }

    /// Deletes a name, durably. From then on its holder is refused.
    pub(crate) async fn delete_producer(self: &Arc<Self>, name: ProducerName) -> Result<(), Failure> {
        self.change_producers(Box::new(move |image: &Image| Ok(image.delete_producer(&name)?))).await.map(drop)
    }

    async fn change_producers(self: &Arc<Self>, decide: Decide) -> Result<Applied, Failure> {
        let changed =
            self.change_in(|topics| &topics.producer_changes, vec![decide], Self::carry_out_claims).await.pop();
        changed.unwrap_or_else(|| Err(super::changes::unanswered()))
    }

    /// Ids that the name of this id had before it.
    pub(crate) fn former_ids(&self, id: ProducerId) -> Vec<ProducerId> {
        let image = self.image();
        let producer = image.producer_with_id(id).filter(|producer| producer.identity.id == id);
        producer.map(|producer| producer.former.clone()).unwrap_or_default()
    }

    /// The last record of a producer in each partition that it wrote to, sorted by topic and partition. It may not be
    /// committed yet. Blocks while a partition's disk stalls.
    pub(crate) fn last_written(&self, producer: &NamedProducer) -> Vec<(TopicId, PartitionId, LastWritten)> {
        let ids: Vec<ProducerId> = producer.former.iter().copied().chain([producer.identity.id]).collect();
        let of_partition =
            |partition: &Arc<Partition>| Some((partition.topic, partition.partition, partition.last_written(&ids)?));
        let mut written: Vec<_> = self.all().iter().filter_map(of_partition).collect();
        written.sort_unstable_by_key(|(topic, partition, _)| (*topic, *partition));
        written
    }

    /// Deletes named producers that were neither claimed nor wrote for longer than `retention`. The claim is dated by
    /// the time of day, and the last batch by the clock for ages: the younger of both counts.
    pub(super) async fn expire_named_producers(self: &Arc<Self>, retention: Duration) -> Result<(), Failure> {
        if self.image().named_producer_count() == 0 {
            return Ok(());
        }
        let topics = self.clone();
        let unused = background::blocking(move || topics.unused_producers(retention)).await;
        let unused = unused.map_err(|error| Failure::new(ErrorCode::Internal, error))?;
        for some in unused.chunks(EXPIRED_EACH) {
            for (name, _) in some {
                tracing::info!(producer = %name, "a named producer was not used for long and is deleted");
            }
            let producers = some.to_vec();
            let forget = move |_: &Image| Ok(Command::ForgetProducers { producers: producers.clone() });
            self.change_producers(Box::new(forget)).await?;
        }
        Ok(())
    }

    fn unused_producers(&self, retention: Duration) -> Vec<(ProducerName, ProducerIdentity)> {
        let retention_ms = u64::try_from(retention.as_millis()).unwrap_or(u64::MAX);
        let image = self.image();
        let (steady, date) = (self.clock.steady(), self.clock.cautious());
        let claimed_long_ago = |producer: &Arc<NamedProducer>| retention_ms < date.millis_since(producer.claimed);
        let old: Vec<_> = image.named_producers_after(None).filter(|producer| claimed_long_ago(producer)).collect();
        if old.is_empty() {
            return Vec::new();
        }
        let mut writing = HashSet::new();
        for partition in self.all() {
            let named = partition.named_producers().into_iter();
            writing.extend(named.filter(|(_, seen)| steady.millis_since(*seen) <= retention_ms).map(|(id, _)| id));
        }
        let is_used = |producer: &&Arc<NamedProducer>| {
            producer.former.iter().chain([&producer.identity.id]).any(|id| writing.contains(id))
        };
        let unused = old.into_iter().filter(|producer| !is_used(producer));
        unused.map(|producer| (producer.name.clone(), producer.identity)).collect()
    }

    /// Counts the memory of the registry.
    pub(super) fn count_named_producers(&self) {
        self.named_producers_memory.lock().set(self.image().named_producer_bytes());
    }
}

/// Refuses another name while the registry has half of the memory for producers: the rest is for their states.
fn check_memory(memory: &Memory, image: &Image, name: &ProducerName) -> Result<(), Failure> {
    let most = memory.state_bytes_max(StateKind::Producers) / 2;
    if image.named_producer_bytes() < most || image.named_producer(name).is_ok() {
        return Ok(());
    }
    let detail = "the named producers use all memory that they may: delete those that are not used any more \
                  (grower-cli producer delete NAME), or raise broker.memory";
    Err(Failure::new(ErrorCode::MemoryFull, detail))
}
