//! Hands out the records of a partition, one by one, and decompresses each batch when its first record is next.

use super::{BufferedItem, ERROR_PAUSE, OffsetAndEpoch, PartitionFetchState, Progress};
use crate::consumer::settings::OnDamage;
use crate::error::ConsumeError;
use crate::record::ConsumerRecord;
use grower_protocol::batch::Records;
use grower_protocol::ids::Offset;
use std::ops::Range;
use tokio::time::Instant;

/// The limit of a decompressed batch, in bytes.
const PLAIN_BYTES_MAX: usize = 128 << 20;

/// An item that a partition hands out.
#[derive(Debug)]
pub(crate) enum PartitionItem {
    /// A record, and the bytes that it newly keeps in memory: those of its batch, for the batch's first record in a
    /// call.
    Record(ConsumerRecord, usize),
    Error(ConsumeError),
}

/// The batch that is being handed out.
#[derive(Debug)]
pub(super) struct BatchCursor {
    records: Records,
    /// The end of the batch, after its last record; all its records have this epoch.
    end: OffsetAndEpoch,
    /// Its memory after decompression.
    pub(super) bytes: usize,
    /// The call for which its bytes were counted last.
    pub(super) counted_in: Option<CallNumber>,
}

/// The number of a reader's call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CallNumber(pub(crate) u64);

impl PartitionFetchState {
    /// Returns the next record or error; `None` at a gap or at the end of the buffer.
    pub(crate) fn next(
        &mut self,
        call: CallNumber,
        on_damage: OnDamage,
        clock: &dyn Fn() -> Instant,
    ) -> Option<PartitionItem> {
        loop {
            if !self.may_hand_out() || self.is_at_gap() {
                return None;
            }
            if self.open.is_none() && !self.open_batch(on_damage) {
                break;
            }
            if let Some(item) = self.next_of_open_batch(call, on_damage) {
                return Some(item);
            }
        }
        if self.error.is_none() && self.position.offset < self.fetched.offset {
            // No record is left before the fetched end: they were skipped or compacted away.
            self.advance_to(self.fetched);
        }
        let error = self.error.take()?;
        if self.is_starting {
            return Some(PartitionItem::Error(error)); // The start lookup expects this version.
        }
        self.discard_fetched();
        self.not_before = Some(clock() + ERROR_PAUSE);
        Some(PartitionItem::Error(error))
    }

    fn next_of_open_batch(&mut self, call: CallNumber, on_damage: OnDamage) -> Option<PartitionItem> {
        let open = self.open.as_mut()?;
        match open.records.next() {
            Some(Ok(view)) if view.offset < self.position.offset => None, // The record is before the wanted offset.
            Some(Ok(view)) if self.read_end.is_some_and(|end| end <= view.offset) => {
                // Compaction removed the records before the end. This one is fetched again when it is wanted.
                self.skip_to_read_end();
                None
            }
            Some(Ok(view)) => {
                let newly_kept = if open.counted_in.replace(call) == Some(call) { 0 } else { open.bytes };
                self.progress = Progress::HandedOut;
                let next = OffsetAndEpoch::new(view.offset.saturating_add(1), open.end.epoch);
                let is_last = open.end.offset <= next.offset;
                self.advance_to(next);
                if is_last {
                    self.finish_batch(on_damage); // At once, so that the last record releases the batch's memory.
                }
                Some(PartitionItem::Record(ConsumerRecord::new(&self.topic_partition, next.epoch, view), newly_kept))
            }
            Some(Err(error)) => {
                self.unreadable(error.to_string(), on_damage);
                None
            }
            None => {
                self.close_batch();
                None
            }
        }
    }

    fn skip_to_read_end(&mut self) {
        let end = self.read_end.expect("the reader stops at an end");
        self.advance_to(OffsetAndEpoch::of_unknown_epoch(end));
        self.discard_fetched();
    }

    /// Closes the open batch after its last offset. More records than its header says are damage.
    fn finish_batch(&mut self, on_damage: OnDamage) {
        match self.open.as_mut().and_then(|open| open.records.next()) {
            Some(Err(error)) => self.unreadable(error.to_string(), on_damage),
            Some(Ok(_)) | None => self.close_batch(),
        }
    }

    /// Opens the next batch; returns false if there is none, or if its error must be reported.
    fn open_batch(&mut self, on_damage: OnDamage) -> bool {
        let batch = match self.buffer.pop_front() {
            Some(BufferedItem::Batch(batch)) => batch,
            Some(BufferedItem::Gap(..)) => unreachable!("the reader passes a gap before the batches behind it"),
            None => return false,
        };
        let end = OffsetAndEpoch::new(batch.header().next_offset(), batch.header().leader_epoch);
        self.buffered_bytes -= batch.bytes().len();
        self.check_memory();
        match batch.records(PLAIN_BYTES_MAX) {
            Ok(records) => {
                let bytes = records.bytes_held();
                self.open = Some(BatchCursor { records, end, bytes, counted_in: None });
            }
            Err(error) => self.damaged_batch(self.position.offset..end.offset, error.to_string(), on_damage),
        }
        self.error.is_none() || self.open.is_some()
    }

    /// Handles an open batch that ends early although its CRC is right: its producer built it wrongly.
    fn unreadable(&mut self, reason: String, on_damage: OnDamage) {
        let open = self.open.take().expect("the open batch failed");
        self.damaged_batch(self.position.offset..open.end.offset, reason, on_damage);
    }

    fn damaged_batch(&mut self, offsets: Range<Offset>, reason: String, on_damage: OnDamage) {
        let end = offsets.end;
        match on_damage {
            OnDamage::Fail => {
                self.forget_buffer(); // The error comes before all buffered records behind it.
                self.error =
                    Some(ConsumeError::Damaged { topic_partition: self.topic_partition.clone(), offsets, reason });
            }
            OnDamage::Skip => {
                tracing::warn!(partition = %self.topic_partition, start = %offsets.start, %end, reason, "skipping damaged offsets");
                if self.position.offset < end {
                    self.advance_to(OffsetAndEpoch::of_unknown_epoch(end));
                }
            }
        }
    }

    fn close_batch(&mut self) {
        if let Some(open) = self.open.take()
            && self.position.offset < open.end.offset
        {
            // Compaction may have removed the last records.
            self.advance_to(open.end);
        }
    }
}
