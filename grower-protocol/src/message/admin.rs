//! Making, changing and looking at topics.

use crate::ids::{LeaderEpoch, NodeId, Offset, PartitionId, Timestamp, TopicId, TopicName};
use serde::{Deserialize, Serialize};

/// Keys and values of a topic's config, as people write them.
pub type TopicConfigs = Vec<(String, String)>;

/// A topic to be created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewTopic {
    /// Its name.
    pub name: TopicName,
    /// How many partitions; none takes the default, 1.
    pub partitions: Option<u32>,
    /// How many replicas of each; none takes the default, the smaller of 3 and the number of brokers.
    pub replication_factor: Option<u32>,
    /// What differs from the defaults.
    pub configs: TopicConfigs,
}

/// Where a config's value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConfigSource {
    /// Nobody set it.
    Default,
    /// Set for the topic.
    Topic,
}

/// One config of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigEntry {
    /// Its dotted key.
    pub key: String,
    /// Its value as people write it.
    pub value: String,
    /// Who set it.
    pub source: ConfigSource,
}

/// All about a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicDescription {
    /// Its name.
    pub name: TopicName,
    /// Its identity.
    pub id: TopicId,
    /// Replicas of each partition.
    pub replication_factor: u32,
    /// Every config with its value, sorted by key.
    pub configs: Vec<ConfigEntry>,
    /// In order, from 0.
    pub partitions: Vec<PartitionDescription>,
}

/// All about a partition. `log_start <= high_watermark <= log_end`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionDescription {
    /// Its number.
    pub partition: PartitionId,
    /// Who leads it.
    pub leader: Option<NodeId>,
    /// The leadership's number.
    pub leader_epoch: LeaderEpoch,
    /// Who stores it.
    pub replicas: Vec<NodeId>,
    /// Who of them is in sync.
    pub in_sync: Vec<NodeId>,
    /// The first offset that it still holds.
    pub log_start: Offset,
    /// The first offset that is not committed yet.
    pub high_watermark: Offset,
    /// The next offset to be written.
    pub log_end: Offset,
    /// What its segments and indexes take on disk.
    pub bytes: u64,
    /// Offsets whose bytes are damaged on disk.
    pub damaged: Vec<(Offset, Offset)>,
    /// Oldest first; empty unless asked for.
    pub segments: Vec<SegmentDescription>,
}

/// One segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentDescription {
    /// Name of its log file.
    pub log_file: String,
    /// Name of its index file.
    pub index_file: String,
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Offset after its last record.
    pub end_offset: Offset,
    /// Bytes of batches in it.
    pub log_bytes: u64,
    /// Bytes of index.
    pub index_bytes: u64,
    /// The largest timestamp in it.
    pub max_timestamp: Option<Timestamp>,
}

/// Damaged records that somebody gave up. Their offsets stay taken, and readers step over them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossDescription {
    /// The partition.
    pub partition: PartitionId,
    /// The first of the records.
    pub start: Offset,
    /// The first one after them.
    pub end: Offset,
    /// When they were given up.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
    /// What was wrong with them.
    pub what: String,
    /// The file that keeps their bytes, under `cut/` in the broker's data directory; empty if there were none.
    pub kept: String,
    /// How many bytes that are.
    pub bytes: u64,
}

/// Some of a topic's segments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentPage {
    /// Each with its partition, in order.
    pub segments: Vec<(PartitionId, SegmentDescription)>,
    /// Where to go on; none if these were the last.
    pub next: Option<(PartitionId, Offset)>,
}
