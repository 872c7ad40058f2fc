//! `partition.meta`: the identity of the partition.

use super::{FieldReader, FieldWriter, StateFile};
use grower_index::HeaderChecksum;
use grower_protocol::ids::{PartitionId, TopicId};
use std::fmt;

/// Which partition a log belongs to. Body: topic id, 16 bytes | partition u32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogIdentity {
    pub(crate) topic_id: TopicId,
    pub(crate) partition: PartitionId,
}

impl LogIdentity {
    /// The seed of this partition's header checksums.
    pub(crate) fn checksum_seed(&self) -> u32 {
        let mut bytes = [0; 20];
        bytes[..16].copy_from_slice(self.topic_id.as_bytes());
        bytes[16..].copy_from_slice(&self.partition.value().to_be_bytes());
        HeaderChecksum::seed(&bytes)
    }
}

impl fmt::Display for LogIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic_id, self.partition)
    }
}

impl StateFile for LogIdentity {
    const KIND: [u8; 4] = *b"GWpm";
    const VERSION: u16 = 1;
    const NAME: &'static str = "partition.meta";

    fn write(&self, into: &mut FieldWriter) {
        into.bytes(self.topic_id.as_bytes());
        into.u32(self.partition.value());
    }

    fn read(fields: &mut FieldReader<'_>) -> Option<Self> {
        let topic_id = TopicId::from_bytes(fields.array()?);
        Some(Self { topic_id, partition: PartitionId::new(fields.u32()?) })
    }
}
