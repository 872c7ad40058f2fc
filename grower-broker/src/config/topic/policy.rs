//! From a topic's config to options of its log and limits of its batches.

use super::TopicConfig;
use grower_protocol::batch::BatchLimits;
use grower_protocol::ids::Timestamp;
use grower_storage::log::{IndexFactory, LogOptions, RetentionLimits};

/// The index of segments; by default sparse, at the topic's `index.interval.bytes`.
#[derive(Clone, Debug, Default)]
pub enum IndexKind {
    /// One entry for each `index.interval.bytes`.
    #[default]
    Sparse,
    /// An index from this factory.
    Custom(IndexFactory),
}

/// The smallest quiet time. A log with a short tombstone retention would otherwise roll at every check and have only
/// small segments.
const QUIET_MS_MIN: u64 = 10 * 60 * 1000;

impl TopicConfig {
    pub(crate) fn log_options(&self, index: &IndexKind) -> LogOptions {
        LogOptions {
            segment_bytes: u32::try_from(self.segment_bytes).unwrap_or(u32::MAX),
            segment_messages: self.segment_messages,
            segment_ms: self.segment_ms.unwrap_or(u64::MAX),
            segment_quiet_ms: self.segment_quiet_ms(),
            index: match index {
                IndexKind::Sparse => IndexFactory::sparse(self.index_interval_bytes),
                IndexKind::Custom(factory) => factory.clone(),
            },
            ..LogOptions::default()
        }
    }

    /// The time after which a quiet segment rolls: compaction skips the active segment, and tombstones must not stay
    /// there for ever.
    fn segment_quiet_ms(&self) -> u64 {
        if self.cleanup_policy.compacts() { self.delete_retention_ms.max(QUIET_MS_MIN) } else { u64::MAX }
    }

    pub(crate) fn retention_limits(&self) -> RetentionLimits {
        if !self.cleanup_policy.deletes() {
            return RetentionLimits::default();
        }
        RetentionLimits { ms: self.retention_ms, bytes: self.retention_bytes, messages: self.retention_messages }
    }

    pub(crate) fn batch_limits(&self, now: Timestamp) -> BatchLimits {
        let batch_bytes_max = self.max_message_bytes as usize;
        BatchLimits {
            batch_bytes_max,
            plain_bytes_max: batch_bytes_max.saturating_mul(BatchLimits::INFLATION_MAX),
            timestamp_max: now.plus_millis(self.message_timestamp_after_max_ms),
            key_required: self.cleanup_policy.compacts(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::topic::CleanupPolicy;

    #[test]
    fn a_compacted_topic_without_tombstone_retention_does_not_roll_while_it_is_written() {
        let config =
            TopicConfig { cleanup_policy: CleanupPolicy::Compact, delete_retention_ms: 0, ..TopicConfig::default() };
        assert_eq!(config.log_options(&IndexKind::Sparse).segment_quiet_ms, QUIET_MS_MIN);
        let patient = TopicConfig { delete_retention_ms: 2 * QUIET_MS_MIN, ..config };
        assert_eq!(patient.log_options(&IndexKind::Sparse).segment_quiet_ms, 2 * QUIET_MS_MIN);
        assert_eq!(TopicConfig::default().log_options(&IndexKind::Sparse).segment_quiet_ms, u64::MAX);
    }
}
