//! What is served of one topic: its partitions by number, each open or shut.
//!
//! A partition whose files are another's, or of a later version, or not readable at all, is shut: its files stay as they
//! are, requests for it learn why, and everything else is served. It is tried again now and then ([`shut`](super::shut)).

use crate::partition::Partition;
use grower_protocol::ids::{PartitionCount, PartitionId, TopicName};
use grower_protocol::message::{ErrorCode, Failure, Part};
use grower_storage::log::OpenError;
use std::io::ErrorKind;
use std::sync::Arc;

/// One topic's partitions, by number.
pub(crate) struct ServedTopic {
    pub(crate) name: TopicName,
    pub(crate) partitions: Vec<ServedPartition>,
}

/// A partition, or why it cannot be had. One that was open is as good as shut once its files are gone ([`ServedPartition::open`]).
#[derive(Clone)]
pub(crate) enum ServedPartition {
    /// It is served.
    Online(Arc<Partition>),
    /// It is not, and nothing touches its files.
    Offline(Arc<str>),
}

impl ServedTopic {
    /// The partition of that number.
    pub(crate) fn partition(&self, number: PartitionId) -> Part<Arc<Partition>> {
        match self.partitions.get(number.value() as usize) {
            Some(partition) => partition.online().cloned().map_err(|why| {
                let told = format_args!("partition {number} of topic {} cannot be opened: {why}", self.name);
                Failure::new(ErrorCode::PartitionShut, told)
            }),
            None => {
                let (name, count) = (&self.name, PartitionCount(self.partitions.len() as u32));
                let detail = format_args!("topic {name} has {count}, counted from 0, and no partition {number}");
                Err(Failure::new(ErrorCode::UnknownPartition, detail))
            }
        }
    }

    /// Those that are open.
    pub(crate) fn online(&self) -> impl Iterator<Item = Arc<Partition>> {
        self.partitions.iter().filter_map(|partition| partition.online().ok().cloned())
    }

    /// Those that are led, although their files may be gone.
    pub(super) fn led(&self) -> impl Iterator<Item = &Arc<Partition>> {
        self.partitions.iter().filter_map(|partition| match partition {
            ServedPartition::Online(partition) => Some(partition),
            ServedPartition::Offline(_) => None,
        })
    }
}

impl ServedPartition {
    /// The partition if it is served, or why it is not.
    pub(super) fn online(&self) -> Result<&Arc<Partition>, Arc<str>> {
        match self {
            Self::Online(partition) => partition.gone().map_or(Ok(partition), Err),
            Self::Offline(why) => Err(why.clone()),
        }
    }
}

/// Whether what is wrong is wrong with this partition's files alone. All else (a full disk, a failed sync, no more
/// descriptors) would soon be wrong with the others too, and a broker that cannot work does not start.
pub(super) fn concerns_one_partition(error: &OpenError) -> bool {
    match error {
        OpenError::Foreign { .. } | OpenError::Newer { .. } | OpenError::Lost { .. } => true,
        OpenError::Failed { .. } => false,
        OpenError::Disk(error) => {
            matches!(error.kind(), ErrorKind::NotADirectory | ErrorKind::IsADirectory | ErrorKind::PermissionDenied)
        }
    }
}
