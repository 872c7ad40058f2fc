//! ChangeResult configs reach the partitions: with the command, and if that failed, with each look at retention until they have.

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
    /// Lets the partitions take over a changed config. Blocking is allowed there: what was written under `flush=os` has to
    /// reach the disk before acks say that it did.
    pub(super) async fn configure(&self, topic: &Topic) -> Result<(), Failure> {
        let (partitions, config) = (self.of(topic.id), topic.config.clone());
        let (index, now) = (self.index.clone(), self.clock.steady());
        let configured = background::blocking(move || configure_all(&partitions, &config, &index, now));
        let configured = configured.await.map_err(|error| Failure::new(ErrorCode::Internal, error))?;
        if configured.is_ok() {
            self.look_at_retention(); // What failed waits for the next look, and must not be the reason for one.
        }
        configured.map_err(|error| {
            let name = &topic.name;
            let told = format_args!(
                "the new config of {name} is stored, but a partition still uses the old one: {error}; the broker tries again"
            );
            let code = match &error {
                ChangeError::Disk(error) => code_of_delay(error),
                _ => ErrorCode::StorageFailed,
            };
            Failure::new(code, told)
        })
    }

    /// Lets partitions take over configs that they could not take over before.
    pub(super) async fn finish_configs(&self) {
        let _in_order = self.changing.lock().await;
        for topic in self.image().topics() {
            if self.of(topic.id).iter().any(|partition| *partition.config() != topic.config)
                && let Err(failure) = self.configure(topic).await
            {
                tracing::warn!(%failure, topic = %topic.name, "a changed config is not applied yet");
            }
        }
    }
}

/// All of them take it over, whatever becomes of one.
fn configure_all(
    partitions: &[Arc<Partition>],
    config: &TopicConfig,
    index: &IndexKind,
    now: Timestamp,
) -> Result<(), ChangeError> {
    let configure = |partition: &Arc<Partition>| partition.configure(config, config.log_options(index), now);
    partitions.iter().map(configure).fold(Ok(()), Result::and)
}
