//! Begins epochs of producers in partitions.
//!
//! After the answer each batch of an earlier epoch is in the log or never will be, wherever it waits. The partition's
//! log decides that under the writer's lock; a partition whose lock is held by slow work queues the fence behind its
//! queued appends. The answer waits until the record that it names is committed: a reader of the log sees all that the
//! fence has decided.

use super::{Answered, Api};
use crate::partition::{PartitionFence, QueuedFence};
use futures_util::future::join_all;
use grower_protocol::ids::{PartitionId, ProducerEpoch, TopicId};
use grower_protocol::message::{ErrorCode, Failure, FenceProducer, Part, ProducerFence, Response};
use std::sync::Arc;
use tokio::sync::oneshot;

/// How many partitions are fenced before others get their turn on the thread.
const PARTITIONS_EACH: usize = 64;

/// The fence of one partition.
enum Fence {
    Done(Part<ProducerFence>),
    Queued(oneshot::Receiver<Part<ProducerFence>>),
}

impl Api {
    pub(super) async fn fence_producer(self: Arc<Self>, request: FenceProducer) -> Answered {
        let FenceProducer { producer, partitions } = request;
        if ProducerEpoch::MAX < producer.epoch {
            let (found, max) = (producer.epoch, ProducerEpoch::MAX);
            let detail = format_args!("no batch can have epoch {found}: the largest is {max}");
            return Err(Failure::new(ErrorCode::InvalidRequest, detail));
        }
        let now = self.state.clock.steady();
        let former = self.state.topics.former_ids(producer.id);
        let fence = Arc::new(PartitionFence { producer, former, now });
        let mut fences = Vec::with_capacity(partitions.len());
        for some in partitions.chunks(PARTITIONS_EACH) {
            let begun = some.iter().map(|(topic, partition)| self.begin_fence(*topic, *partition, &fence));
            fences.extend(begun.map(|begun| begun.unwrap_or_else(|failure| Fence::Done(Err(failure)))));
            tokio::task::yield_now().await;
        }
        let parts = fences.into_iter().zip(partitions).map(async |(fence, (topic, partition))| {
            self.committed(topic, partition, fence).await.map_err(|failure| self.state.health.explain(failure))
        });
        Ok(Response::FenceProducer(join_all(parts).await)) // The partitions sync at the same time.
    }

    /// Returns the answer once the record that it names is committed.
    async fn committed(&self, topic: TopicId, partition: PartitionId, fence: Fence) -> Part<ProducerFence> {
        let fence = fence.outcome().await?;
        let Some(last) = fence.last else { return Ok(fence) };
        let partition = self.writable_partition(topic, partition)?;
        let end = last.offset.saturating_add(1);
        if !partition.is_committed(end) {
            self.state.sync_pool.durable_up_to(&partition, end).await?;
        }
        Ok(fence)
    }

    /// Fences one partition, or queues the fence.
    fn begin_fence(&self, topic: TopicId, partition: PartitionId, fence: &Arc<PartitionFence>) -> Part<Fence> {
        let partition = self.writable_partition(topic, partition)?;
        self.check_allocated(fence.producer.id)?;
        if let Some(done) = partition.offer_fence(fence) {
            return Ok(Fence::Done(done));
        }
        let (done, queued) = oneshot::channel();
        self.state.sync_pool.fence_later(&partition, QueuedFence { fence: fence.clone(), done });
        Ok(Fence::Queued(queued))
    }
}

impl Fence {
    async fn outcome(self) -> Part<ProducerFence> {
        let stopped = |_| Err(Failure::new(ErrorCode::ShuttingDown, "the broker is stopping"));
        match self {
            Self::Done(part) => part,
            Self::Queued(queued) => queued.await.unwrap_or_else(stopped),
        }
    }
}
