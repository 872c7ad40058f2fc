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
pub(crate) struct Served {
    pub(crate) name: TopicName,
    pub(crate) partitions: Vec<Place>,
}

/// A partition, or why it cannot be had. One that was open is as good as shut once its files are gone ([`Place::open`]).
#[derive(Clone)]
pub(crate) enum Place {
    /// It is served.
    Open(Arc<Partition>),
    /// It is not, and nothing touches its files.
    Shut(Arc<str>),
}

impl Served {
    /// The partition of that number.
    pub(crate) fn partition(&self, number: PartitionId) -> Part<Arc<Partition>> {
        match self.partitions.get(number.value() as usize) {
            Some(place) => place.open().cloned().map_err(|why| {
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
    pub(crate) fn open(&self) -> impl Iterator<Item = Arc<Partition>> {
        self.partitions.iter().filter_map(|place| place.open().ok().cloned())
    }

    /// Those that are led, although their files may be gone.
    pub(super) fn led(&self) -> impl Iterator<Item = &Arc<Partition>> {
        self.partitions.iter().filter_map(|place| match place {
            Place::Open(partition) => Some(partition),
            Place::Shut(_) => None,
        })
    }
}

impl Place {
    /// The partition if it is served, or why it is not.
    pub(super) fn open(&self) -> Result<&Arc<Partition>, Arc<str>> {
        match self {
            Self::Open(partition) => partition.gone().map_or(Ok(partition), Err),
            Self::Shut(why) => Err(why.clone()),
        }
    }
}

/// Whether what is wrong is wrong with this partition's files alone. All else (a full disk, a failed sync, no more
/// descriptors) would soon be wrong with the others too, and a broker that cannot work does not start.
pub(super) fn concerns_one(error: &OpenError) -> bool {
    match error {
        OpenError::Foreign { .. } | OpenError::Newer { .. } | OpenError::Lost { .. } => true,
        OpenError::Failed { .. } => false,
        OpenError::Disk(error) => {
            matches!(error.kind(), ErrorKind::NotADirectory | ErrorKind::IsADirectory | ErrorKind::PermissionDenied)
        }
    }
}
