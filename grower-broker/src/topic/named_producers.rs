//! Claims and deletions of producers' names: made durable together, apart from changes of topics, which may take long.

use super::Topics;
use super::changes::Decide;
use crate::config::ProducerLimits;
use crate::memory::{Memory, StateKind};
use crate::metadata::{Applied, Image, MetadataStore, ProducerClaim, minimum_named_id};
use crate::partition::ProducerRegistry;
use grower_protocol::ids::ProducerName;
use grower_protocol::message::{ErrorCode, Failure, ProducerIdentity};
use std::sync::Arc;

/// The registry as the partitions see it.
pub(super) struct RegisteredProducers(pub(super) Arc<dyn MetadataStore>);

impl ProducerRegistry for RegisteredProducers {
    fn check(&self, identity: ProducerIdentity) -> Result<(), Failure> {
        self.0.image().check_named(identity).map_err(|refusal| Failure::new(refusal.code(), refusal))
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
