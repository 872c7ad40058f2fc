//! Drops a topic's oldest records on request.
//!
//! Only committed records are dropped, and they are synced before the command is stored. So after a crash the log never
//! ends before the new start, and no later record falls below it.

use super::{Answered, Api};
use crate::background;
use crate::partition::Partition;
use grower_protocol::ids::{Offset, PartitionId, TopicName};
use grower_protocol::message::{ErrorCode, Failure, Response};
use std::sync::Arc;

impl Api {
    pub(super) async fn trim_topic(self: Arc<Self>, name: TopicName, before: Vec<(PartitionId, Offset)>) -> Answered {
        let topic = self.state.topics.image().topic(&name).map(|topic| topic.id);
        let id = topic.ok_or_else(|| super::topics::unknown(&name))?;
        let mut partitions = Vec::with_capacity(before.len());
        for (number, before) in &before {
            let partition = self.state.topics.partition(id, *number)?;
            check_committed(&partition, *before)?;
            partitions.push(partition);
        }
        self.make_durable(partitions).await?;
        // By id: a topic created meanwhile under the name keeps its records.
        let wished = before.clone();
        self.state.topics.change(move |image| Ok(image.trim_topic(id, &wished)?)).await?;
        self.state.topics.finish_trims().await?;
        let before: Vec<String> = before.iter().map(|(number, before)| format!("{number}:{before}")).collect();
        tracing::info!(topic = %name, before = before.join(" "), "topic trimmed on request");
        Ok(Response::Done)
    }

    /// Syncs the partitions: with `flush=os`, committed records may be in the system's memory only.
    async fn make_durable(&self, partitions: Vec<Arc<Partition>>) -> Result<(), Failure> {
        let now = self.state.clock.steady();
        let written =
            background::blocking(move || partitions.iter().try_for_each(|partition| partition.checkpoint(now)));
        let written = written.await.map_err(|error| Failure::new(ErrorCode::Internal, error))?;
        written.map_err(|error| Failure::new(ErrorCode::StorageFailed, error))
    }
}

fn check_committed(partition: &Partition, before: Offset) -> Result<(), Failure> {
    let high_watermark = partition.high_watermark();
    if before <= high_watermark {
        return Ok(());
    }
    let (topic, number) = (&partition.topic_name, partition.partition);
    Err(Failure::new(
        ErrorCode::OffsetOutOfRange,
        format_args!(
            "{topic}/{number} cannot be trimmed up to offset {before}: it is committed up to {high_watermark} only; nothing was changed"
        ),
    ))
}
