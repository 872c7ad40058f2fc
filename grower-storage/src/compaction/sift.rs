//! What stays of each batch, and how emptied ones are folded into their neighbours. Pure: batches in, batches out.
//!
//! Batches still follow each other without a hole: everything that reads a log relies on that to tell damage. A batch that
//! has lost all records becomes part of the one before it, which then spans its offsets, or a bare header where there is none
//! that may. Two never grow: one of another leader epoch, so that epochs begin and end between two batches, and one that
//! the idempotence of its producer rests on.

use super::keys::KeyMap;
use crate::segment::RECORDS_LENGTH_MAX;
use grower_protocol::batch::{Batch, Entry, RecordsError, RewriteLimits};
use grower_protocol::ids::{Offset, Timestamp};
use std::collections::HashSet;
use std::ops::ControlFlow;

/// Sorts out the batches of one stretch of log, in their order.
pub(super) struct Sieve<'a> {
    pub(super) keys: &'a KeyMap,
    /// The map knows all records before this, and no others.
    pub(super) known_end: Offset,
    pub(super) now: Timestamp,
    pub(super) delete_retention_ms: u64,
    /// Base offsets of the batches by which producers are remembered.
    pub(super) remembered: &'a HashSet<Offset>,
    /// Called before memory is taken for a batch: how many bytes are then in use beside it.
    pub(super) charge: &'a dyn Fn(&Batch, usize),
    pub(super) waiting: Option<Waiting>,
    /// Whether anything came out other than it went in.
    pub(super) changed: bool,
}

/// A batch that may have to span more offsets than its own.
pub(super) struct Waiting {
    batch: Batch,
    end: Offset,
}

impl Sieve<'_> {
    /// Takes the next batch; the one before it, if that is complete now.
    pub(super) fn push(&mut self, batch: Batch) -> Result<Option<Batch>, RecordsError> {
        let next_offset = batch.header().next_offset();
        let left = self.left_of(batch)?;
        if left.header().record_count == 0 && self.absorb(&left) {
            self.changed = true;
            return Ok(None);
        }
        let done = self.finish();
        self.waiting = Some(Waiting { batch: left, end: next_offset });
        Ok(done)
    }

    /// The last batch.
    pub(super) fn finish(&mut self) -> Option<Batch> {
        let Waiting { batch, end } = self.waiting.take()?;
        if end == batch.header().next_offset() {
            return Some(batch);
        }
        Some(batch.stretched(end).expect("no batch was absorbed that it cannot span"))
    }

    /// Lets the waiting batch span the offsets of an empty one.
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

    /// The batch without the records that are over.
    fn left_of(&mut self, batch: Batch) -> Result<Batch, RecordsError> {
        let header = *batch.header();
        if header.record_count == 0 || header.attributes.is_control() {
            return Ok(batch);
        }
        let marked = header.delete_horizon();
        let expired = marked.is_some_and(|horizon| horizon <= self.now);
        let (mut kept, mut tombstones) = (0, false);
        let charge = |bytes| (self.charge)(&batch, bytes);
        let limits = RewriteLimits { plain_bytes: RECORDS_LENGTH_MAX, charge: &charge };
        batch.for_each_entry(limits, |entry| {
            if self.stays(entry, expired) {
                kept += 1;
                tombstones |= entry.is_tombstone;
            }
            ControlFlow::Continue(())
        })?;
        // Everything older under the keys of its tombstones goes in this pass, so from now on their time runs. A batch that
        // has none left loses its horizon: it would ask for passes for ever.
        let first_cleaned = marked.is_none() && header.next_offset() <= self.known_end;
        let ends = first_cleaned.then(|| self.now.plus_millis(self.delete_retention_ms));
        let horizon = marked.or(ends).filter(|_| tombstones);
        debug_assert!(!(expired && tombstones), "an expired tombstone stays");
        if kept == header.record_count && horizon == marked {
            return Ok(batch);
        }
        let left = batch.keep_entries(limits, horizon, |entry| self.stays(entry, expired))?;
        self.changed = true;
        Ok(left)
    }

    /// Whether a record is the last of its key, and no tombstone whose time is over. Without a key nothing takes its place.
    fn stays(&self, entry: &Entry<'_>, expired: bool) -> bool {
        let Some(key) = entry.key else { return true };
        let is_last = self.keys.latest(key).is_none_or(|latest| latest <= entry.offset);
        is_last && (!expired || !entry.is_tombstone)
    }
}
