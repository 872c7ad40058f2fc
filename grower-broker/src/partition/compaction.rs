//! Compaction of a partition: begins passes, which work on the files, and publishes the segments that they finish.

use super::Partition;
use crate::config::topic::TopicConfig;
use grower_protocol::ids::Timestamp;
use grower_storage::compaction::{Compacted, Compaction, CompactionError, CompactionPolicy, ContinuePass};
use grower_storage::log::ChangeError;

/// Log bytes that a pass rewrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CompactedBytes {
    /// Size of the segments before.
    pub(crate) before: u64,
    /// Size of the segments that replaced them.
    pub(crate) after: u64,
}

/// Why a pass ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CompactError {
    #[error(transparent)]
    Pass(#[from] CompactionError),
    #[error(transparent)]
    Log(#[from] ChangeError),
}

impl Partition {
    /// The pass that is due, if any. Producers do not wait while headers are read for it, until `go_on` says no.
    pub(crate) fn compaction(&self, now: Timestamp, keys_bytes: usize, go_on: &dyn Fn() -> bool) -> Option<Compaction> {
        let policy = compaction_policy(&self.config(), keys_bytes)?;
        if let Err(error) = self.reader.learn_delete_horizons(go_on) {
            let (topic, partition) = (&self.topic_name, self.partition);
            tracing::warn!(%topic, %partition, %error, "cannot read when tombstones expire; compaction keeps them for now");
        }
        let mut tail = self.writer.lock_slowly();
        if tail.deleted {
            return None;
        }
        Compaction::due(tail.log.files()?, &policy, self.high_watermark(), now)
    }

    /// Runs a pass to its end, or until `go_on` says no. The writer's lock is held only to publish a finished segment.
    pub(crate) fn compact(
        &self,
        compaction: Compaction,
        go_on: ContinuePass<'_>,
    ) -> Result<CompactedBytes, CompactError> {
        let mut pass = compaction.survey(go_on)?;
        let mut shrunk = CompactedBytes::default();
        while let Some(compacted) = pass.step(go_on)? {
            let (before, after) = compacted.bytes();
            if !self.publish(compacted)? {
                break;
            }
            shrunk.before += before;
            shrunk.after += after;
        }
        Ok(shrunk)
    }

    fn publish(&self, compacted: Compacted) -> Result<bool, ChangeError> {
        let _dropping = self.dropping.lock();
        let mut tail = self.writer.lock_slowly();
        if tail.deleted {
            return Ok(false); // Its directory may have been moved away, and the rest of the pass with it.
        }
        let span = tail.log.span();
        let published = tail.log.files().expect("a pass was over files").publish(compacted);
        assert_eq!(tail.log.span(), span, "a compaction moved the ends of the log");
        published
    }
}

/// None if the topic is not compacted.
fn compaction_policy(config: &TopicConfig, keys_bytes: usize) -> Option<CompactionPolicy> {
    config.cleanup_policy.compacts().then_some(CompactionPolicy {
        min_dirty_permille: config.min_cleanable_dirty_permille.into(),
        min_lag_ms: config.min_compaction_lag_ms,
        delete_retention_ms: config.delete_retention_ms,
        keys_bytes,
    })
}
