//! Records that a command dropped leave their logs.
//!
//! The command is durable first; the metadata remembers it until every log start has moved, so that a start after a
//! crash drops the records before anybody could read them again.

use super::Topics;
use crate::background;
use crate::disk_failure::code_of_delay;
use crate::metadata::Command;
use grower_protocol::ids::{Offset, PartitionId, TopicId};
use grower_protocol::message::{ErrorCode, Failure};
use grower_storage::log::ChangeError;
use std::sync::Arc;

/// Topic, partition, and the offset before which nothing stays.
type PendingTrim = (TopicId, PartitionId, Offset);

impl Topics {
    /// Carries out what the metadata remembers, and lets it forget what is done. What fails is tried again at the next
    /// look at retention.
    pub(crate) async fn finish_trims(self: &Arc<Self>) -> Result<(), Failure> {
        if self.image().trims().len() == 0 {
            return Ok(());
        }
        let _in_order = self.changing.lock().await; // A backup has a trim either done or still to do.
        let topics = self.clone();
        let trimmed = background::blocking(move || topics.trim_pending()).await;
        let (done, failed) = trimmed.map_err(|error| Failure::new(ErrorCode::Internal, error))?;
        if !done.is_empty() {
            self.propose(Command::ForgetTrims { done }).await?;
        }
        failed.map_or(Ok(()), Err)
    }

    /// Moves log starts. Which are there, and the first thing that went wrong.
    pub(super) fn trim_pending(&self) -> (Vec<PendingTrim>, Option<Failure>) {
        let (mut done, mut failed) = (Vec::new(), None);
        for (topic, number, before) in self.image().trims() {
            let Ok(partition) = self.partition(topic, number) else { continue }; // Deleted meanwhile.
            // A log that lost its files ends before what it was to lose: then all that it has goes.
            match partition.trim(before.min(partition.span().log_end)) {
                Ok(()) => done.push((topic, number, before)),
                Err(error) => {
                    tracing::warn!(%error, topic = %partition.topic_name, partition = %number, %before, "trimming failed; the broker tries again");
                    let told = format_args!(
                        "the trim of {}/{number} to offset {before} is stored, but failed: {error}; the broker tries again",
                        partition.topic_name
                    );
                    let code = match &error {
                        ChangeError::Disk(error) => code_of_delay(error),
                        _ => ErrorCode::StorageFailed,
                    };
                    failed.get_or_insert(Failure::new(code, told));
                }
            }
        }
        (done, failed)
    }
}
