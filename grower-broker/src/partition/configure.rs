//! Applies a changed topic config to a partition.

use super::{Partition, PartitionTail};
use crate::config::topic::{FlushPolicy, TopicConfig};
use crate::replica::{Effects, Event};
use grower_protocol::ids::Timestamp;
use grower_storage::log::{ChangeError, LogOptions};
use std::sync::Arc;

impl Partition {
    /// Applies a changed config, to the log as well. If acks wait for the disk from now on, everything written before
    /// is made durable first; if that fails, the old config stays. May wait for the disk.
    pub(crate) fn configure(
        &self,
        config: &TopicConfig,
        options: LogOptions,
        now: Timestamp,
    ) -> Result<(), ChangeError> {
        let mut tail = self.writer.lock_slowly();
        if tail.deleted {
            return Ok(());
        }
        let (effects, changed) = self.change_flush_policy(&mut tail, config.flush, now);
        if changed.is_ok() {
            tail.log.configure(options);
            self.config.store(Arc::new(config.clone()));
        }
        drop(tail);
        self.carry_out(effects);
        changed
    }

    fn change_flush_policy(
        &self,
        tail: &mut PartitionTail,
        policy: FlushPolicy,
        now: Timestamp,
    ) -> (Effects, Result<(), ChangeError>) {
        let change = Event::FlushPolicyChanged(policy);
        let mut effects = tail.replica.apply(change);
        if effects.sync_first {
            let synced = tail.log.checkpoint(now);
            let followed = self.follow_log(tail);
            effects = tail.replica.apply(change);
            if effects.sync_first {
                assert!(synced.is_err(), "a checkpoint left bytes that are not durable: {:?}", tail.replica);
                return (followed, synced);
            }
            effects = followed.then(effects);
        }
        self.publish_marks(tail);
        (effects, Ok(()))
    }
}
