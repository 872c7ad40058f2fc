//! The table of keys, sorted: meaning, accepted values and parsers.

use super::{CleanupPolicy, FlushPolicy, TopicConfig};
use crate::config::text::{
    bytes, count, millis, permille, show_bytes, show_limit, show_millis, show_permille, unlimited,
};

/// 100 years.
const MILLIS_MAX: u64 = 36_525 * 86_400_000;
/// Far from where sums overflow.
const LARGE: u64 = 1 << 60;
const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

pub(super) struct TopicConfigKey {
    pub(super) name: &'static str,
    /// The effect of the value, for help texts.
    pub(super) about: &'static str,
    /// Completes "it takes ..".
    pub(super) accepts: &'static str,
    /// `None` refuses the value.
    pub(super) set: fn(&mut TopicConfig, &str) -> Option<()>,
    pub(super) show: fn(&TopicConfig) -> String,
}

pub(super) const KEYS: [TopicConfigKey; 14] = [
    TopicConfigKey {
        name: "cleanup.policy",
        about: "delete, compact (keeps each key's last record), or compact,delete",
        accepts: "delete, compact, or compact,delete for both",
        set: |config, text| {
            config.cleanup_policy = match text {
                "delete" => CleanupPolicy::Delete,
                "compact" => CleanupPolicy::Compact,
                "compact,delete" | "delete,compact" => CleanupPolicy::CompactDelete,
                _ => return None,
            };
            Some(())
        },
        show: |config| match config.cleanup_policy {
            CleanupPolicy::Delete => "delete".to_owned(),
            CleanupPolicy::Compact => "compact".to_owned(),
            CleanupPolicy::CompactDelete => "compact,delete".to_owned(),
        },
    },
    TopicConfigKey {
        name: "delete.retention.ms",
        about: "a tombstone stays this long, so that readers see it",
        accepts: "a duration up to 100 years, such as 1d",
        set: |config, text| {
            config.delete_retention_ms = millis(text, 0..=MILLIS_MAX)?;
            Some(())
        },
        show: |config| show_millis(config.delete_retention_ms),
    },
    TopicConfigKey {
        name: "flush",
        about: "durability of an ack: fsync, on disk; os, in the system's memory",
        accepts: "fsync, or os to let acks run ahead of the disk",
        set: |config, text| {
            config.flush = match text {
                "fsync" => FlushPolicy::Fsync,
                "os" => FlushPolicy::Os,
                _ => return None,
            };
            Some(())
        },
        show: |config| match config.flush {
            FlushPolicy::Fsync => "fsync".to_owned(),
            FlushPolicy::Os => "os".to_owned(),
        },
    },
    TopicConfigKey {
        name: "index.interval.bytes",
        about: "bytes of log per index entry; 0: an entry for every batch",
        accepts: "a size up to 64MiB, such as 4KiB; 0 for an entry per batch",
        set: |config, text| {
            config.index_interval_bytes = u32::try_from(bytes(text, 0..=64 * MIB)?).ok()?;
            Some(())
        },
        show: |config| show_bytes(config.index_interval_bytes.into()),
    },
    TopicConfigKey {
        name: "max.message.bytes",
        about: "the largest batch that is accepted",
        accepts: "a size from 1B to 64MiB, such as 1MiB",
        set: |config, text| {
            config.max_message_bytes = u32::try_from(bytes(text, 1..=64 * MIB)?).ok()?;
            Some(())
        },
        show: |config| show_bytes(config.max_message_bytes.into()),
    },
    TopicConfigKey {
        name: "message.timestamp.after.max.ms",
        about: "how far a record's time may be ahead of the broker's clock",
        accepts: "a duration up to 100 years, such as 1h",
        set: |config, text| {
            config.message_timestamp_after_max_ms = millis(text, 0..=MILLIS_MAX)?;
            Some(())
        },
        show: |config| show_millis(config.message_timestamp_after_max_ms),
    },
    TopicConfigKey {
        name: "min.cleanable.dirty.ratio",
        about: "compaction starts when this share of the log is not compacted yet",
        accepts: "a number from 0 to 1, such as 0.5",
        set: |config, text| {
            config.min_cleanable_dirty_permille = permille(text)?;
            Some(())
        },
        show: |config| show_permille(config.min_cleanable_dirty_permille),
    },
    TopicConfigKey {
        name: "min.compaction.lag.ms",
        about: "records younger than this are not compacted",
        accepts: "a duration up to 100 years, such as 1h",
        set: |config, text| {
            config.min_compaction_lag_ms = millis(text, 0..=MILLIS_MAX)?;
            Some(())
        },
        show: |config| show_millis(config.min_compaction_lag_ms),
    },
    TopicConfigKey {
        name: "retention.bytes",
        about: "the oldest segment is dropped once the others hold this many bytes",
        accepts: "a size from 1B to 2^60, such as 10GiB; -1 for no limit",
        set: |config, text| {
            config.retention_bytes = unlimited(text, |text| bytes(text, 1..=LARGE))?;
            Some(())
        },
        show: |config| show_limit(config.retention_bytes, show_bytes),
    },
    TopicConfigKey {
        name: "retention.messages",
        about: "drops the oldest segment once the others hold this many offsets",
        accepts: "a number of records from 1 to 2^60; -1 for no limit",
        set: |config, text| {
            config.retention_messages = unlimited(text, |text| count(text, 1..=LARGE))?;
            Some(())
        },
        show: |config| show_limit(config.retention_messages, |records| records.to_string()),
    },
    TopicConfigKey {
        name: "retention.ms",
        about: "the oldest segment is dropped at this age",
        accepts: "a duration from 1ms to 100 years, such as 5d; -1 for no limit",
        set: |config, text| {
            config.retention_ms = unlimited(text, |text| millis(text, 1..=MILLIS_MAX))?;
            Some(())
        },
        show: |config| show_limit(config.retention_ms, show_millis),
    },
    TopicConfigKey {
        name: "segment.bytes",
        about: "a segment rolls before it exceeds this size",
        accepts: "a size from 1B to 2GiB, such as 64MiB",
        set: |config, text| {
            config.segment_bytes = bytes(text, 1..=2 * GIB)?;
            Some(())
        },
        show: |config| show_bytes(config.segment_bytes),
    },
    TopicConfigKey {
        name: "segment.messages",
        about: "a segment rolls before it exceeds this number of records",
        accepts: "a number of records from 1 to 2147483647; -1 for no limit",
        set: |config, text| {
            config.segment_messages = unlimited(text, |text| count(text, 1..=i32::MAX as u64))?;
            Some(())
        },
        show: |config| show_limit(config.segment_messages, |records| records.to_string()),
    },
    TopicConfigKey {
        name: "segment.ms",
        about: "a segment rolls at this age, also without new records",
        accepts: "a duration from 1ms to 100 years, such as 1d; -1 for no limit",
        set: |config, text| {
            config.segment_ms = unlimited(text, |text| millis(text, 1..=MILLIS_MAX))?;
            Some(())
        },
        show: |config| show_limit(config.segment_ms, show_millis),
    },
];
