//! Identities of producers: ids for those without a name, and claims of names.

use super::{Answered, Api};
use crate::background;
use crate::metadata::{Applied, Command, ProducerClaim, minimum_producer_id};
use grower_protocol::ids::{ProducerEpoch, ProducerHolder, ProducerId, ProducerName, Timestamp};
use grower_protocol::message::{ErrorCode, Failure, InitProducer, ProducerDescription, ProducerIdentity, Response};
use std::sync::Arc;

/// The largest number of producers in a page.
const PAGE: usize = 1_000;
/// The largest size of a described producer.
const DESCRIPTION_BYTES: usize = 512;

impl Api {
    pub(super) async fn init_producer(self: Arc<Self>, request: InitProducer) -> Answered {
        let InitProducer { name, holder, current } = request;
        let identity = match name {
            Some(name) => self.claim_producer(ProducerClaim { name, holder, current }).await?,
            None => {
                let id = self.producer_ids.next(&self.state.topics, self.state.clock.wall()).await?;
                ProducerIdentity { id: ProducerId::new(id), epoch: ProducerEpoch::new(0) }
            }
        };
        Ok(Response::InitProducer(identity))
    }

    pub(super) async fn describe_producer(self: Arc<Self>, name: ProducerName) -> Answered {
        let producer = self.state.topics.image().named_producer(&name)?.clone();
        let described = background::blocking(move || {
            let written = self.state.topics.last_written(&producer);
            ProducerDescription { producer: producer.describe(), written }
        });
        let described = described.await.map_err(|error| Failure::new(ErrorCode::Internal, error))?;
        Ok(Response::DescribeProducer(described))
    }

    pub(super) async fn delete_producer(self: Arc<Self>, name: ProducerName) -> Answered {
        self.state.topics.delete_producer(name).await?;
        Ok(Response::Done)
    }

    pub(super) async fn list_producers(self: Arc<Self>, after: Option<ProducerName>, most: u32) -> Answered {
        let image = self.state.topics.image();
        // The page in memory and its encoded form share the memory reserved for listings.
        let page = (self.state.memory.listing_bytes() / 2 / DESCRIPTION_BYTES).clamp(1, PAGE);
        let most = (most as usize).clamp(1, page);
        let mut producers: Vec<_> =
            image.named_producers_after(after.as_ref()).take(most + 1).map(|producer| producer.describe()).collect();
        let more = most < producers.len();
        producers.truncate(most);
        let next = producers.last().filter(|_| more).map(|last| last.name.clone());
        Ok(Response::ListProducers { producers, next })
    }

    async fn claim_producer(&self, claim: ProducerClaim) -> Result<ProducerIdentity, Failure> {
        if claim.holder == ProducerHolder::default() {
            // Two processes with the same number would take each other's claims for repeats of their own.
            let detail = format_args!("a claim of producer {} needs a random holder, not 0", claim.name);
            return Err(Failure::new(ErrorCode::InvalidRequest, detail));
        }
        self.state.topics.claim_producer(claim, self.state.settings.now().broker.producers).await
    }
}

/// Producer ids, handed out one by one from blocks that the metadata has written down before. Each block begins at the
/// clock's floor or above it, so a data directory that was rolled back unnoticed gives no id to a second producer.
#[derive(Default)]
pub(crate) struct ProducerIds {
    block: tokio::sync::Mutex<std::ops::Range<u64>>,
}

const BLOCK: u32 = 1_000;

impl ProducerIds {
    async fn next(&self, topics: &crate::topic::Topics, now: Timestamp) -> Result<u64, Failure> {
        let mut block = self.block.lock().await;
        if block.is_empty() {
            let allocate = Command::AllocateProducerIdsFrom { first: minimum_producer_id(now), count: BLOCK };
            if let Applied::ProducerIds(fresh) = topics.propose(allocate).await? {
                *block = fresh;
            }
        }
        block.next().ok_or_else(|| Failure::new(ErrorCode::LimitReached, "all producer ids are allocated"))
    }
}
