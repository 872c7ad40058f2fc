//! The identity of an idempotent producer, and the last record that it wrote.

use super::{Offset, ProducerEpoch, ProducerId, Sequence};
use serde::{Deserialize, Serialize};

/// The identity of an idempotent producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerIdentity {
    /// The producer's id.
    pub id: ProducerId,
    /// The producer's epoch.
    pub epoch: ProducerEpoch,
}

/// The last record that a producer wrote to a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastWritten {
    /// The identity that wrote it.
    pub producer: ProducerIdentity,
    /// Its sequence. Sequences continue over the epochs of a named producer, and wrap at 2^31.
    pub sequence: Sequence,
    /// Its offset.
    pub offset: Offset,
}
