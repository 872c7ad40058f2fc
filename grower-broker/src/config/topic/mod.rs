//! Topic configs: keys, defaults, and accepted values.
//!
//! Sizes are written as `64MiB`, durations as `5d`, or as plain bytes and milliseconds; `-1` means no limit where that
//! is allowed. Text becomes a [`TopicConfig`] once, on arrival. An error names the key, the value and the accepted
//! values.

mod error;
mod keys;
mod policy;

pub use error::ConfigError;
pub use policy::IndexKind;

use grower_protocol::message::{ConfigEntry, ConfigSource};
use keys::KEYS;
use std::collections::BTreeMap;

/// No value needs more bytes, and all values are stored for ever.
const VALUE_LENGTH_MAX: usize = 128;
const GIB: u64 = 1 << 30;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// The typed config of one topic. `None` means no limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicConfig {
    /// A segment rolls before a batch that would make it longer than this; a longer batch gets its own segment.
    pub segment_bytes: u64,
    /// A segment rolls before a batch that would give it more records than this.
    pub segment_messages: Option<u64>,
    /// A segment rolls at this age.
    pub segment_ms: Option<u64>,
    /// Segments whose newest record is older than this are dropped.
    pub retention_ms: Option<u64>,
    /// The oldest segment is dropped while the others still have this many bytes.
    pub retention_bytes: Option<u64>,
    /// The oldest segment is dropped while the others still span this many offsets. Records removed by compaction
    /// count, so a compacted topic may have fewer records.
    pub retention_messages: Option<u64>,
    /// Bytes of log per index entry; 0 makes an entry for each batch.
    pub index_interval_bytes: u32,
    /// The largest batch that is accepted.
    pub max_message_bytes: u32,
    /// How old records are removed.
    pub cleanup_policy: CleanupPolicy,
    /// The time that a tombstone stays in a compacted topic after its first compaction.
    pub delete_retention_ms: u64,
    /// A compaction is due when this part of the compactable records is new, in thousandths.
    pub min_cleanable_dirty_permille: u16,
    /// Records younger than this are not compacted.
    pub min_compaction_lag_ms: u64,
    /// The promise of an ack.
    pub flush: FlushPolicy,
    /// The most that a record's timestamp may be ahead of the broker's clock.
    pub message_timestamp_after_max_ms: u64,
}

/// How old records are removed from a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CleanupPolicy {
    /// Whole segments are dropped, by `retention.*`.
    Delete,
    /// The last record of each key is kept; `retention.*` have no effect.
    Compact,
    /// Both: the last record of each key is kept until its segment is dropped.
    CompactDelete,
}

impl CleanupPolicy {
    /// Whether only the last record of each key is kept.
    pub fn compacts(self) -> bool {
        self != Self::Delete
    }

    /// Whether `retention.*` have an effect.
    pub fn deletes(self) -> bool {
        self != Self::Compact
    }
}

/// The event that an ack of level `all` waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushPolicy {
    /// The disk.
    Fsync,
    /// The operating system's memory: a power cut may lose acknowledged records, and the ack says so.
    Os,
}

impl Default for TopicConfig {
    fn default() -> Self {
        Self {
            segment_bytes: GIB,
            segment_messages: None,
            segment_ms: Some(DAY_MS),
            retention_ms: Some(5 * DAY_MS),
            retention_bytes: None,
            retention_messages: None,
            index_interval_bytes: 4096,
            max_message_bytes: 1 << 20,
            cleanup_policy: CleanupPolicy::Delete,
            delete_retention_ms: DAY_MS,
            min_cleanable_dirty_permille: 500,
            min_compaction_lag_ms: 0,
            flush: FlushPolicy::Fsync,
            message_timestamp_after_max_ms: 60 * 60 * 1000,
        }
    }
}

impl TopicConfig {
    /// Parses configs from a request; other keys keep their defaults. No key may be repeated.
    pub fn parse(configs: &[(String, String)]) -> Result<Self, ConfigError> {
        let mut parsed = Self::default();
        for (at, (key, value)) in configs.iter().enumerate() {
            if configs.iter().take(at).any(|(earlier, _)| earlier == key) {
                return Err(ConfigError::Repeated { key: key.clone() });
            }
            parsed.set(key, value)?;
        }
        Ok(parsed)
    }

    /// Parses stored configs, perhaps of another version: unknown keys and values count as unset.
    pub fn from_stored(configs: &BTreeMap<String, String>) -> Self {
        let mut parsed = Self::default();
        for (key, value) in configs {
            // An error would prevent opening the topic; the text stays in the metadata.
            let _ = parsed.set(key, value);
        }
        parsed
    }

    /// Checks that the key exists.
    pub fn check_key(key: &str) -> Result<(), ConfigError> {
        known(key).map(|_| ())
    }

    /// Sets one key.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), ConfigError> {
        let known = known(key)?;
        let sane = Some(value.trim()).filter(|_| value.len() <= VALUE_LENGTH_MAX);
        sane.and_then(|value| (known.set)(self, value)).ok_or_else(|| ConfigError::invalid(key, value, known.accepts))
    }

    /// Every key with its value, sorted; `set` has the keys that were set.
    pub fn describe(&self, set: &BTreeMap<String, String>) -> Vec<ConfigEntry> {
        let entry = |key: &keys::TopicConfigKey| ConfigEntry {
            key: key.name.to_owned(),
            value: (key.show)(self),
            source: if set.contains_key(key.name) { ConfigSource::Topic } else { ConfigSource::Default },
        };
        KEYS.iter().map(entry).collect()
    }
}

/// Lists every topic config key with its default and its effect, one line each, for help texts.
pub fn topic_config_help() -> String {
    let defaults = TopicConfig::default();
    let line = |key: &keys::TopicConfigKey| match (key.show)(&defaults).as_str() {
        "-1" => format!("  {:<30} {} (not set)", key.name, key.about),
        default => format!("  {:<30} {}", format!("{} {default}", key.name), key.about),
    };
    KEYS.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn known(key: &str) -> Result<&'static keys::TopicConfigKey, ConfigError> {
    let found = KEYS.iter().find(|known| known.name == key);
    found.ok_or_else(|| ConfigError::unknown(key, KEYS.iter().map(|known| known.name)))
}

#[cfg(test)]
mod tests;
