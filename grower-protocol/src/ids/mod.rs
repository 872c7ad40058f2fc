//! The numbers and names of the log, each a type of its own.
//!
//! `from_wire` turns a wire sentinel (`-1` for "none") into an `Option`. A name is checked when it is made, so a
//! [`TopicName`] is always safe as a directory name.

mod names;
mod numbers;
mod producer;
mod topic_id;

pub use names::{CommitterId, GroupId, MemberId, NAME_LENGTH_MAX, NameError, ProducerName, TopicName};
pub use numbers::{
    LeaderEpoch, MemberEpoch, NodeId, Offset, PartitionId, ProducerEpoch, ProducerHolder, ProducerId, Sequence,
    Timestamp,
};
pub use producer::{LastWritten, ProducerIdentity};
pub use topic_id::TopicId;

use serde::{Deserialize, Serialize};
use std::fmt;

/// Displays a number of partitions: `1 partition`, `3 partitions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionCount(pub u32);

impl fmt::Display for PartitionCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} partition{}", self.0, if self.0 == 1 { "" } else { "s" })
    }
}

/// A partition and its topic's name, displayed as `topic/partition`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicPartition {
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: PartitionId,
}

impl TopicPartition {
    /// Names a partition of `topic`.
    pub fn new(topic: impl AsRef<str>, partition: impl Into<PartitionId>) -> Result<Self, NameError> {
        Ok(Self { topic: TopicName::new(topic.as_ref())?, partition: partition.into() })
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}
