//! The numbers and names of the log, each its own type.
//!
//! A wire sentinel (`-1` for "none") ends at `from_wire`; inside we say `Option`. Names are checked when they are
//! made, so whoever holds a [`TopicName`] may use it as a directory name.

mod names;
mod numbers;
mod topic_id;

pub use names::{CommitterId, GroupId, MemberId, NAME_LENGTH_MAX, NameError, TopicName};
pub use numbers::{
    LeaderEpoch, MemberEpoch, NodeId, Offset, PartitionId, ProducerEpoch, ProducerId, Sequence, Timestamp,
};
pub use topic_id::TopicId;

use serde::{Deserialize, Serialize};
use std::fmt;

/// How many partitions there are, for people: `1 partition`, `3 partitions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionCount(pub u32);

impl fmt::Display for PartitionCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} partition{}", self.0, if self.0 == 1 { "" } else { "s" })
    }
}

/// A partition by its topic's name: what people say and configs use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicPartition {
    /// The topic.
    pub topic: TopicName,
    /// Which of its partitions.
    pub partition: PartitionId,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}
