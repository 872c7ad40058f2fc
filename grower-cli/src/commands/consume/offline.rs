//! Tracks partitions that are offline while the others are read, and reports each once until it is served again.

use crate::output::{counted, escaped, stderr_line};
use anyhow::bail;
use grower_client::{ConsumeError, ErrorCode, TopicPartition};
use std::collections::BTreeSet;

/// The known offline partitions, and those that should have been read.
#[derive(Default)]
pub(super) struct OfflinePartitions {
    warned: BTreeSet<TopicPartition>,
    unread: BTreeSet<TopicPartition>,
}

impl OfflinePartitions {
    /// Reports and returns the partition if the error says that it is offline. Returns any other error.
    pub(super) fn handle_error(&mut self, error: ConsumeError) -> Result<TopicPartition, ConsumeError> {
        match error {
            ConsumeError::Failed { topic_partition, source } if source.code() == Some(ErrorCode::PartitionOffline) => {
                self.warn_once(&topic_partition, &source);
                Ok(topic_partition)
            }
            error => Err(error),
        }
    }

    fn warn_once(&mut self, topic_partition: &TopicPartition, why: &dyn std::fmt::Display) {
        if self.warned.insert(topic_partition.clone()) {
            let why = why.to_string();
            stderr_line(format_args!(
                "warning: {topic_partition} is offline; it is read once it is served again: {}",
                escaped(&why)
            ));
        }
    }

    /// Reports a partition that was offline when it should have been read, and marks it as unread.
    pub(super) fn report_unread(&mut self, topic_partition: TopicPartition, why: &dyn std::fmt::Display) {
        if self.warned.insert(topic_partition.clone()) {
            let why = why.to_string();
            stderr_line(format_args!("warning: {topic_partition} is offline and not read: {}", escaped(&why)));
        }
        self.unread.insert(topic_partition);
    }

    /// Marks a reported partition as unread.
    pub(super) fn mark_unread(&mut self, topic_partition: TopicPartition) {
        self.unread.insert(topic_partition);
    }

    /// Records of the partition arrive: its next outage is reported again.
    pub(super) fn partition_returned(&mut self, topic: &str, partition: grower_client::ids::PartitionId) {
        if !self.warned.is_empty() {
            self.warned.retain(|topic_partition| {
                topic_partition.topic.as_str() != topic || topic_partition.partition != partition
            });
        }
    }

    /// Fails if a partition should have been read and was not.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let Some(first) = self.unread.first() else { return Ok(()) };
        match self.unread.len() {
            1 => bail!("{first} was not read: it is offline; all others were read to their end"),
            count => {
                let partitions = counted(count, "partition");
                bail!("{partitions} were not read, first {first}: they are offline; all others were read to their end")
            }
        }
    }
}
