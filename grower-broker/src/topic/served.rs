//! The served partitions of one topic, each online or offline.
//!
//! A partition is offline if its files are foreign, of a newer version, or unreadable. The files stay as they are,
//! requests get the reason, and all other partitions are served. The broker tries to open it again
//! ([`offline`](super::offline)).

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

/// A partition, or the reason why it is offline. An online one counts as offline once its files are gone
/// ([`ServedPartition::online`]).
#[derive(Clone)]
pub(crate) enum ServedPartition {
    /// It is served.
    Online(Arc<Partition>),
    /// It is not served, and nothing touches its files.
    Offline(Arc<str>),
}

impl ServedTopic {
    /// The partition of that number.
    pub(crate) fn partition(&self, number: PartitionId) -> Part<Arc<Partition>> {
        match self.partitions.get(number.value() as usize) {
            Some(partition) => partition.online().cloned().map_err(|why| {
                let detail = format_args!("partition {number} of topic {} cannot be opened: {why}", self.name);
                Failure::new(ErrorCode::PartitionOffline, detail)
            }),
            None => {
                let (name, count) = (&self.name, PartitionCount(self.partitions.len() as u32));
                let detail = format_args!("topic {name} has {count}, counted from 0, and no partition {number}");
                Err(Failure::new(ErrorCode::UnknownPartition, detail))
            }
        }
    }

    /// The online partitions.
    pub(crate) fn online(&self) -> impl Iterator<Item = Arc<Partition>> {
        self.partitions.iter().filter_map(|partition| partition.online().ok().cloned())
    }

    /// The partitions that are led, even if their files are gone.
    pub(super) fn led(&self) -> impl Iterator<Item = &Arc<Partition>> {
        self.partitions.iter().filter_map(|partition| match partition {
            ServedPartition::Online(partition) => Some(partition),
            ServedPartition::Offline(_) => None,
        })
    }
}

impl ServedPartition {
    /// The partition if it is online, or the reason why not.
    pub(super) fn online(&self) -> Result<&Arc<Partition>, Arc<str>> {
        match self {
            Self::Online(partition) => partition.gone().map_or(Ok(partition), Err),
            Self::Offline(why) => Err(why.clone()),
        }
    }
}

/// Whether an error concerns this partition's files alone. Other errors (a full disk, a failed sync, no descriptors)
/// would soon affect all partitions, so the start fails.
pub(super) fn concerns_one_partition(error: &OpenError) -> bool {
    match error {
        OpenError::Foreign { .. } | OpenError::Newer { .. } | OpenError::Lost { .. } => true,
        OpenError::Failed { .. } => false,
        OpenError::Disk(error) => {
            matches!(error.kind(), ErrorKind::NotADirectory | ErrorKind::IsADirectory | ErrorKind::PermissionDenied)
        }
    }
}
