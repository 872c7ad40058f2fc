//! Drops records from batches, and merges emptied batches into their neighbours. Pure: batches in, batches out.
//!
//! Batches still follow each other without a gap: readers rely on that to tell damage. A batch without records becomes
//! part of the one before it, which then spans its offsets too; or it stays as a bare header. Two kinds of batches do
//! not grow: one of another leader epoch, so that epochs begin and end between batches, and one that its producer is
//! remembered by.

use super::keys::KeyMap;
use crate::segment::RECORDS_LENGTH_MAX;
use grower_protocol::batch::{Batch, KeyedRecord, RecordsError, RewriteLimits};
use grower_protocol::ids::{Offset, Timestamp};
use std::collections::HashSet;
use std::ops::ControlFlow;

/// Filters the batches of a part of the log, in order.
pub(super) struct RecordFilter<'a> {
    pub(super) keys: &'a KeyMap,
    /// The map knows all records before this offset, and no others.
    pub(super) known_end: Offset,
    pub(super) now: Timestamp,
    pub(super) delete_retention_ms: u64,
    /// Base offsets of the batches that producers are remembered by.
    pub(super) remembered: &'a HashSet<Offset>,
    /// Called before memory is taken for a batch: how many further bytes are then in use.
    pub(super) charge: &'a dyn Fn(&Batch, usize),
    pub(super) waiting: Option<HeldBatch>,
    /// Whether any batch changed.
    pub(super) changed: bool,
}

/// A batch that may have to span more offsets than its own.
pub(super) struct HeldBatch {
    batch: Batch,
    end: Offset,
}

impl RecordFilter<'_> {
    /// Takes the next batch. Returns the previous one once it is complete.
    pub(super) fn push(&mut self, batch: Batch) -> Result<Option<Batch>, RecordsError> {
        let next_offset = batch.header().next_offset();
        if let Some(waiting) = &self.waiting {
            assert_eq!(waiting.end, batch.header().base_offset, "batches follow each other without a gap");
        }
        let left = self.left_of(batch)?;
        if left.header().record_count == 0 && self.absorb(&left) {
            self.changed = true;
            return Ok(None);
        }
        let done = self.finish();
        self.waiting = Some(HeldBatch { batch: left, end: next_offset });
        Ok(done)
    }

    /// Returns the last batch.
    pub(super) fn finish(&mut self) -> Option<Batch> {
        let HeldBatch { batch, end } = self.waiting.take()?;
        if end == batch.header().next_offset() {
            return Some(batch);
        }
        Some(batch.extended_to(end).expect("no batch was absorbed that it cannot span"))
    }

    /// Lets the held batch span the offsets of an empty one. False if it must not.
    fn absorb(&mut self, empty: &Batch) -> bool {
        let Some(waiting) = &mut self.waiting else { return false };
        let (header, base) = (empty.header(), waiting.batch.header().base_offset);
        let allowed = waiting.batch.header().leader_epoch == header.leader_epoch
            && !self.remembered.contains(&base)
            && !self.remembered.contains(&header.base_offset)
            && header.last_offset().since(base) <= i32::MAX as u64;
        if allowed {
            waiting.end = header.next_offset();
        }
        allowed
    }

    /// The batch without the records that go.
    fn left_of(&mut self, batch: Batch) -> Result<Batch, RecordsError> {
        let header = *batch.header();
        if header.record_count == 0 || header.attributes.is_control() {
            return Ok(batch);
        }
        let marked = header.delete_horizon();
        let expired = marked.is_some_and(|horizon| horizon <= self.now);
        let (mut count, mut tombstones) = (0, false);
        let charge = |bytes| (self.charge)(&batch, bytes);
        let limits = RewriteLimits { plain_bytes: RECORDS_LENGTH_MAX, charge: &charge };
        batch.for_each_keyed_record(limits, |entry| {
            if self.stays(entry, expired) {
                count += 1;
                tombstones |= entry.is_tombstone;
            }
            ControlFlow::Continue(())
        })?;
        // This pass drops all older records of its tombstones' keys, so from now on their time runs. A batch without
        // tombstones loses its horizon: it would cause passes for ever.
        let first_cleaned = marked.is_none() && header.next_offset() <= self.known_end;
        let ends = first_cleaned.then(|| self.now.plus_millis(self.delete_retention_ms));
        let horizon = marked.or(ends).filter(|_| tombstones);
        debug_assert!(!(expired && tombstones), "an expired tombstone stays");
        if count == header.record_count && horizon == marked {
            return Ok(batch);
        }
        let left = batch.keep_keyed_records(limits, horizon, |entry| self.stays(entry, expired))?;
        self.changed = true;
        Ok(left)
    }

    /// Whether a record is the last of its key, and no expired tombstone. A record without a key stays.
    fn stays(&self, entry: &KeyedRecord<'_>, expired: bool) -> bool {
        let Some(key) = entry.key else { return true };
        let is_last = self.keys.latest(key).is_none_or(|latest| latest <= entry.offset);
        is_last && (!expired || !entry.is_tombstone)
    }
}
