//! Applies changed configs to partitions: after the command, and after a failure with each retention check until it
//! succeeds.

use super::{IndexKind, Topics};
use crate::background;
use crate::config::topic::TopicConfig;
use crate::disk_failure::code_of_delay;
use crate::metadata::Topic;
use crate::partition::Partition;
use grower_protocol::ids::Timestamp;
use grower_protocol::message::{ErrorCode, Failure};
use grower_storage::log::ChangeError;
use std::sync::Arc;

impl Topics {
    /// Applies a changed config to the partitions. This may block: records written under `flush=os` must reach the
    /// disk before acks promise it.
    pub(super) async fn configure(&self, topic: &Topic) -> Result<(), Failure> {
        let (partitions, config) = (self.of(topic.id), topic.config.clone());
        let (index, now) = (self.index.clone(), self.clock.steady());
        let configured = background::blocking(move || configure_all(&partitions, &config, &index, now));
        let configured = configured.await.map_err(|error| Failure::new(ErrorCode::Internal, error))?;
        if configured.is_ok() {
            self.request_retention(); // A failure waits for the next check, and must not cause one.
        }
        configured.map_err(|error| {
            let name = &topic.name;
            let detail = format_args!(
                "the new config of {name} is stored, but a partition still uses the old one: {error}; the broker tries again"
            );
            let code = match &error {
                ChangeError::Disk(error) => code_of_delay(error),
                _ => ErrorCode::StorageFailed,
            };
            Failure::new(code, detail)
        })
    }

    /// Applies configs again that could not be applied before.
    pub(super) async fn finish_configs(&self) {
        let _in_order = self.changes.order.lock().await;
        for topic in self.image().topics() {
            if self.of(topic.id).iter().any(|partition| *partition.config() != topic.config)
                && let Err(failure) = self.configure(topic).await
            {
                tracing::warn!(%failure, topic = %topic.name, "a changed config is not applied yet");
            }
        }
    }
}

/// Applies the config to all partitions, even after a failure of one.
fn configure_all(
    partitions: &[Arc<Partition>],
    config: &TopicConfig,
    index: &IndexKind,
    now: Timestamp,
) -> Result<(), ChangeError> {
    let configure = |partition: &Arc<Partition>| partition.configure(config, config.log_options(index), now);
    partitions.iter().map(configure).fold(Ok(()), Result::and)
}
