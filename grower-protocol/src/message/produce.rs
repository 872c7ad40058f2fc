//! Appending.

use crate::ids::{Offset, PartitionId, ProducerEpoch, ProducerId, TopicId};
use serde::{Deserialize, Serialize};

/// When a producer wants its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Acks {
    /// Never: there is none.
    None,
    /// Once the leader has written it.
    Leader,
    /// Once it is fsynced on every in-sync replica.
    #[default]
    All,
}

/// What an ack vouches for. A topic with `flush=os` gives less than was asked, and says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Durability {
    /// Nothing.
    None,
    /// In the operating system's memory: survives a crash of the broker, not a power cut.
    Written,
    /// On disk, on every in-sync replica.
    Fsynced,
}

/// Appends one batch to each of some partitions. No partition may be named twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Produce {
    /// When to answer.
    pub acks: Acks,
    /// How long to wait for replicas.
    pub timeout_ms: u32,
    /// The partitions; their batches follow each other in the attachment, in this order.
    pub partitions: Vec<ProducePartition>,
}

/// One batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducePartition {
    /// For which topic.
    pub topic: TopicId,
    /// For which partition.
    pub partition: PartitionId,
    /// Its length in the attachment, in bytes.
    pub length: u32,
}

/// Where a batch went. A retry of a batch that is in the log already gets the original answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Produced {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// The first offset that the log still holds.
    pub log_start: Offset,
    /// What this ack vouches for.
    pub durability: Durability,
}

/// Who an idempotent producer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerIdentity {
    /// Its id.
    pub id: ProducerId,
    /// Its incarnation.
    pub epoch: ProducerEpoch,
}
