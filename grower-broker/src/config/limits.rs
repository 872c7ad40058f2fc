//! How many topics and partitions a cluster may hold.

/// The largest size of the metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetadataLimits {
    /// Topics.
    pub topics: u64,
    /// Partitions of all topics together.
    pub partitions: u64,
    /// Partitions of one topic.
    pub partitions_per_topic: u32,
}

impl Default for MetadataLimits {
    fn default() -> Self {
        Self { topics: 20_000, partitions: 100_000, partitions_per_topic: 10_000 }
    }
}
