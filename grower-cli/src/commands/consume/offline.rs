//! Partitions that are offline while the others are read: each is told once, until it is read again.

use crate::output::{counted, escaped, stderr_line};
use anyhow::bail;
use grower_client::{ConsumeError, ErrorCode, TopicPartition};
use std::collections::BTreeSet;

/// The partitions that are offline, as far as is known, and those of them that should have been read by now.
#[derive(Default)]
pub(super) struct OfflinePartitions {
    told: BTreeSet<TopicPartition>,
    unread: BTreeSet<TopicPartition>,
}

impl OfflinePartitions {
    /// Takes note if the error says that a partition is offline, and returns which; any other error is returned.
    pub(super) fn note(&mut self, error: ConsumeError) -> Result<TopicPartition, ConsumeError> {
        match error {
            ConsumeError::Failed { place, source } if source.code() == Some(ErrorCode::PartitionShut) => {
                self.tell(&place, &source);
                Ok(place)
            }
            error => Err(error),
        }
    }

    fn tell(&mut self, place: &TopicPartition, why: &dyn std::fmt::Display) {
        if self.told.insert(place.clone()) {
            let why = why.to_string();
            stderr_line(format_args!(
                "warning: {place} is offline; it is read once it is served again: {}",
                escaped(&why)
            ));
        }
    }

    /// It was offline when it should have been read.
    pub(super) fn is_unread(&mut self, place: TopicPartition, why: &dyn std::fmt::Display) {
        if self.told.insert(place.clone()) {
            let why = why.to_string();
            stderr_line(format_args!("warning: {place} is offline and not read: {}", escaped(&why)));
        }
        self.unread.insert(place);
    }

    /// The same of one that was told.
    pub(super) fn stays_unread(&mut self, place: TopicPartition) {
        self.unread.insert(place);
    }

    /// Records come from it: the next time that it is offline is told again.
    pub(super) fn is_served(&mut self, topic: &str, partition: grower_client::ids::PartitionId) {
        if !self.told.is_empty() {
            self.told.retain(|place| place.topic.as_str() != topic || place.partition != partition);
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
