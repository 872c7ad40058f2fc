//! Trims: records that a command dropped are removed from their logs.
//!
//! The command is durable first. The metadata keeps it until every log start has moved: a start after a crash drops
//! the records before they could be read again.

use super::Topics;
use crate::background;
use crate::disk_failure::code_of_delay;
use crate::metadata::Command;
use grower_protocol::ids::{Offset, PartitionId, TopicId};
use grower_protocol::message::{ErrorCode, Failure};
use grower_storage::log::ChangeError;
use std::sync::Arc;

/// Topic, partition, and its new log start offset.
type PendingTrim = (TopicId, PartitionId, Offset);

impl Topics {
    /// Carries out pending trims, and removes finished ones from the metadata. Failures are repeated with the next
    /// retention check.
    pub(crate) async fn finish_trims(self: &Arc<Self>) -> Result<(), Failure> {
        if self.image().trims().len() == 0 {
            return Ok(());
        }
        let _in_order = self.changes.order.lock().await; // A backup has each trim either done or pending.
        let topics = self.clone();
        let trimmed = background::blocking(move || topics.trim_pending()).await;
        let (done, failed) = trimmed.map_err(|error| Failure::new(ErrorCode::Internal, error))?;
        if !done.is_empty() {
            self.propose(Command::ForgetTrims { done }).await?;
        }
        failed.map_or(Ok(()), Err)
    }

    /// Moves log starts. Returns the finished trims and the first failure.
    pub(super) fn trim_pending(&self) -> (Vec<PendingTrim>, Option<Failure>) {
        let (mut done, mut failed) = (Vec::new(), None);
        for (topic, number, before) in self.image().trims() {
            let Ok(partition) = self.partition(topic, number) else { continue }; // The topic was deleted meanwhile.
            // A log that lost its files ends before the trim's offset: then all of its records are dropped.
            match partition.trim(before.min(partition.span().log_end)) {
                Ok(()) => done.push((topic, number, before)),
                Err(error) => {
                    tracing::warn!(%error, topic = %partition.topic_name, partition = %number, %before, "trimming failed; the broker tries again");
                    let detail = format_args!(
                        "the trim of {}/{number} to offset {before} is stored, but failed: {error}; the broker tries again",
                        partition.topic_name
                    );
                    let code = match &error {
                        ChangeError::Disk(error) => code_of_delay(error),
                        _ => ErrorCode::StorageFailed,
                    };
                    failed.get_or_insert(Failure::new(code, detail));
                }
            }
        }
        (done, failed)
    }
}
