//! Where a log lies and which partition it is.

use grower_protocol::ids::{PartitionId, TopicId};
use std::path::PathBuf;

/// Where a log lies and which partition it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLocation {
    /// The partition's directory; created with the first append.
    pub dir: PathBuf,
    /// The topic's identity.
    pub topic_id: TopicId,
    /// Which of its partitions.
    pub partition: PartitionId,
    /// Where recovery keeps the bytes that it cuts off: they may have been acknowledged.
    pub cut_dir: Option<PathBuf>,
}
