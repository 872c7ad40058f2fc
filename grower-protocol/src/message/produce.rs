//! Appending batches.

use crate::ids::{Offset, PartitionId, TopicId};
use serde::{Deserialize, Serialize};

/// The point at which the broker answers a producer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Acks {
    /// The broker sends no answer.
    None,
    /// The leader has written the batches.
    Leader,
    /// Every in-sync replica has fsynced the batches.
    #[default]
    All,
}

/// The durability that an ack guarantees. A topic with `flush=os` guarantees less than the producer requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Durability {
    /// The ack guarantees nothing.
    None,
    /// The batch is in the operating system's memory. It survives a crash of the broker, but not a power failure.
    Written,
    /// The batch is on the disk of every in-sync replica.
    Fsynced,
}

/// Appends one batch to each of some partitions. No partition may occur twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Produce {
    /// The point at which to answer.
    pub acks: Acks,
    /// The longest time to wait for other replicas. Reserved: a broker without followers ignores it.
    pub timeout_ms: u32,
    /// The partitions. The attachment holds their batches in the same order.
    pub partitions: Vec<ProducePartition>,
}

/// One batch of a [`Produce`] request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducePartition {
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: PartitionId,
    /// The length of the batch in bytes.
    pub length: u32,
    /// Appends the batch only if the partition ends at this offset; otherwise
    /// [`ErrorCode::UnexpectedEnd`](super::ErrorCode::UnexpectedEnd) with the log end. A retry of a batch that is
    /// already in the log succeeds.
    pub expected_end: Option<Offset>,
}

/// The result for an appended batch. A retry of a batch that is already in the log gets the original offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Produced {
    /// The offset of the batch's first record.
    pub base_offset: Offset,
    /// The first offset that the log still holds.
    pub log_start: Offset,
    /// The durability that this ack guarantees.
    pub durability: Durability,
}
