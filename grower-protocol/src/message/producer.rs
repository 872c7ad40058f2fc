//! The identities of idempotent producers: their allocation, names and fences.
//!
//! An identity is an id and an epoch. A producer without a name gets an id of its own. A *named* producer keeps its id
//! over restarts: each process that claims the name gets the next epoch, and all earlier epochs are refused in every
//! partition from then on.
//!
//! A producer fences itself, too. If the outcome of a batch is unknown, the batch may still wait in a connection. The
//! producer begins its next epoch in the partition with a [`FenceProducer`]: the answer tells the last record that is in
//! the log, and no batch of an earlier epoch follows. So each batch is either in the log by then or never.

pub use crate::ids::{LastWritten, ProducerIdentity};

use crate::ids::{PartitionId, ProducerHolder, ProducerName, Timestamp, TopicId};
use serde::{Deserialize, Serialize};

/// Gets an identity. With a name it has the next epoch of that name, durably, and earlier ones are refused everywhere.
///
/// A request whose answer was lost may be repeated, and may still wait in an earlier connection: the holder of a name
/// gets its identity again and no other epoch, except that `current` renews it. A process that lost the name to another one
/// does not get it back: the broker remembers the last 32 holders.
///
/// | holder | `current` | answer |
/// | --- | --- | --- |
/// | another, after the caller | any | [`ErrorCode::FencedProducer`](super::ErrorCode::FencedProducer) |
/// | another | none | the next epoch; the caller is the holder |
/// | another | any | [`ErrorCode::FencedProducer`](super::ErrorCode::FencedProducer) |
/// | the caller | the registered identity | the next epoch |
/// | the caller | none, or another identity | the registered identity |
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitProducer {
    /// The producer's name; none for an id that was never used.
    pub name: Option<ProducerName>,
    /// The process that claims the name; ignored without a name.
    pub holder: ProducerHolder,
    /// The identity that the caller holds under the name and wants to renew; none claims the name.
    pub current: Option<ProducerIdentity>,
}

/// Begins an epoch of a producer in some partitions. From the answer on, they refuse all batches of the producer's
/// earlier epochs, and the last record in the answer is committed. An epoch that has begun already has the same answer;
/// an older one fails with [`ErrorCode::FencedProducer`](super::ErrorCode::FencedProducer).
///
/// The first batch of the epoch continues after the last sequence of the answer, or begins at 0 if there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceProducer {
    /// The producer with the epoch to begin.
    pub producer: ProducerIdentity,
    /// The partitions.
    pub partitions: Vec<(TopicId, PartitionId)>,
}

/// The answer to a [`FenceProducer`] for one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerFence {
    /// The last record that the producer wrote in an earlier epoch; none if the partition remembers none.
    pub last: Option<LastWritten>,
}

/// A named producer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedProducerDescription {
    /// The name.
    pub name: ProducerName,
    /// The current identity.
    pub identity: ProducerIdentity,
    /// The time of the latest claim.
    pub claimed: Timestamp,
}

/// A named producer with its progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerDescription {
    /// The producer.
    pub producer: NamedProducerDescription,
    /// The last record in each partition that it wrote to, sorted by topic and partition.
    pub written: Vec<(TopicId, PartitionId, LastWritten)>,
}
