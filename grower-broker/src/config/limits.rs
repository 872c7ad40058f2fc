//! How many topics, partitions and named producers a cluster may hold.

use std::time::Duration;

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

/// Limits of named producers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerLimits {
    /// The most named producers.
    pub named: u64,
    /// The time that an unused one is kept.
    pub named_retention: Duration,
}

impl Default for ProducerLimits {
    fn default() -> Self {
        Self { named: 10_000, named_retention: Duration::from_secs(7 * 24 * 60 * 60) }
    }
}
