//! A partition takes over a changed config.

use super::Partition;
use crate::config::topic::TopicConfig;
use crate::topic::IndexKind;
use grower_protocol::ids::Timestamp;
use grower_storage::log::ChangeError;
use std::sync::Arc;

impl Partition {
    /// Takes over a changed config; the log learns of its part. Where acks begin to wait for the disk, everything written
    /// before is made durable first: none of it is called durable for the config's sake. If that fails the old config stays.
    /// May wait for the disk.
    pub(crate) fn configure(&self, config: &TopicConfig, index: &IndexKind, now: Timestamp) -> Result<(), ChangeError> {
        let mut tail = self.writer.lock_slowly();
        if tail.deleted {
            return Ok(());
        }
        if tail.marks.configured(config.flush).is_err() {
            let made_durable = tail.log.checkpoint(now);
            self.follow_log(&mut tail);
            if let Err(not_durable) = tail.marks.configured(config.flush) {
                made_durable?;
                unreachable!("a checkpoint makes everything durable, and yet {not_durable}");
            }
        }
        self.follow_log(&mut tail);
        tail.log.configure(config.log_options(index));
        self.config.store(Arc::new(config.clone()));
        Ok(())
    }
}
