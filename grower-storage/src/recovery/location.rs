//! Where a log lies and whose it is.

use grower_protocol::ids::{PartitionId, TopicId};
use std::path::PathBuf;

/// Where a log lies and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPlace {
    /// The partition's directory; created with the first append.
    pub dir: PathBuf,
    /// The topic's identity.
    pub topic_id: TopicId,
    /// Which of its partitions.
    pub partition: PartitionId,
    /// Where bytes are kept that recovery cuts off and that may have been acknowledged.
    pub cut_dir: Option<PathBuf>,
}
