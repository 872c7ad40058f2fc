//! One segment: a file of batches and its index, shared by the writer and all readers.

mod active;
mod damage;
mod fill;
mod horizon;
mod index_lookup;
mod inspect;
mod names;
mod preallocation;
mod read;
mod scanner;
mod slice;
mod stats;
mod uniform_run;

pub(crate) use active::{ActiveSegment, SegmentFlush, WriteError, narrow};
pub use damage::Damage;
pub(crate) use fill::SegmentFill;
pub(crate) use horizon::{DeleteHorizon, earlier, earliest, of_batch};
pub(crate) use index_lookup::{IndexLookup, IntervalEnd};
pub(crate) use inspect::{Expectations, inspect, inspect_until};
pub(crate) use names::{base_of_index, base_of_log, compacted_names, index_name, log_name};
pub use read::TimedOffset;
pub(crate) use read::{RECORDS_LENGTH_MAX, SegmentRead, find_time, find_time_in, read};
pub(crate) use scanner::{FoundBatch, LogPosition, ScanItem, ScanMode, Scanner};
pub use slice::Slice;
pub use stats::SegmentInfo;
pub(crate) use stats::SegmentStats;

use crate::disk::{FileOnDemand, SharedFile};
use grower_index::{ENTRY_LENGTH, GrowingIndex, IndexEntry, IndexPosition, IndexedBatch, SegmentIndex};
use grower_protocol::ids::{Offset, Timestamp};
use parking_lot::RwLock;
use std::sync::atomic::AtomicBool;

/// A file of batches, its index, and what is known of both.
pub(crate) struct Segment {
    pub(crate) base: Offset,
    pub(crate) file: FileOnDemand,
    state: RwLock<SegmentState>,
    /// Whether the warning about an unreadable part of the index was given.
    doubted: AtomicBool,
}

/// Changes with each append. The lock is held only to look something up in memory.
struct SegmentState {
    end_position: LogPosition,
    max_timestamp: Option<Timestamp>,
    delete_horizon: DeleteHorizon,
    index: Index,
}

enum Index {
    /// With the file that holds its entries, if there is one.
    Growing(Box<dyn GrowingIndex>, Option<SharedFile>),
    Sealed(Box<dyn SegmentIndex>),
}

const NOT_GROWING: &str = "a sealed segment is not written to";

impl SegmentState {
    fn growing(&mut self) -> &mut dyn GrowingIndex {
        match &mut self.index {
            Index::Growing(index, _) => &mut **index,
            Index::Sealed(_) => panic!("{NOT_GROWING}"),
        }
    }
}

impl Segment {
    /// The active segment, or one that is being rebuilt.
    pub(crate) fn growing(base: Offset, file: SharedFile, index: Box<dyn GrowingIndex>) -> Self {
        let end_position = LogPosition::start_of(base);
        Self::new(base, FileOnDemand::held(file), end_position, None, Index::Growing(index, None))
    }

    /// Names the file that holds its index entries, in order.
    pub(crate) fn with_index_file(self, file: &SharedFile) -> Self {
        match &mut self.state.write().index {
            Index::Growing(_, of_index) => *of_index = Some(file.clone()),
            Index::Sealed(_) => panic!("{NOT_GROWING}"),
        }
        self
    }

    /// A segment with a successor.
    pub(crate) fn sealed(
        base: Offset,
        file: FileOnDemand,
        index: Box<dyn SegmentIndex>,
        end_position: LogPosition,
        max_timestamp: Option<Timestamp>,
    ) -> Self {
        Self::new(base, file, end_position, max_timestamp, Index::Sealed(index))
    }

    fn new(
        base: Offset,
        file: FileOnDemand,
        end_position: LogPosition,
        max_timestamp: Option<Timestamp>,
        index: Index,
    ) -> Self {
        let state = SegmentState { end_position, max_timestamp, delete_horizon: DeleteHorizon::Unknown, index };
        Self { base, file, state: RwLock::new(state), doubted: AtomicBool::new(false) }
    }

    /// Sets its delete horizon; none if it has no tombstones that a pass may drop.
    pub(crate) fn with_delete_horizon(self, horizon: Option<Timestamp>) -> Self {
        self.set_delete_horizon(horizon);
        self
    }

    pub(crate) fn set_delete_horizon(&self, horizon: Option<Timestamp>) {
        self.state.write().delete_horizon = DeleteHorizon::Known(horizon);
    }

    pub(crate) fn delete_horizon(&self) -> DeleteHorizon {
        self.state.read().delete_horizon
    }

    pub(crate) fn end_position(&self) -> LogPosition {
        self.state.read().end_position
    }

    pub(crate) fn max_timestamp(&self) -> Option<Timestamp> {
        self.state.read().max_timestamp
    }

    /// Begins searches of its index.
    pub(crate) fn lookup(&self) -> IndexLookup<'_> {
        IndexLookup::new(self)
    }

    /// The last indexed position at or before an offset.
    pub(crate) fn floor_by_offset(&self, offset: Offset) -> IndexPosition {
        self.lookup().around_offset(offset).start()
    }

    pub(crate) fn entry_count(&self) -> usize {
        match &self.state.read().index {
            Index::Growing(index, _) => index.entry_count(),
            Index::Sealed(index) => index.entry_count(),
        }
    }

    /// Puts back an index entry that was read from the file.
    pub(crate) fn restore(&self, entry: IndexEntry) {
        let mut state = self.state.write();
        debug_assert!(state.end_position.bytes <= entry.position.into(), "restored entries rise");
        state.end_position = self.log_position(entry.into());
        state.max_timestamp = state.max_timestamp.max(Some(Timestamp::from_millis(entry.max_timestamp)));
        state.growing().restore(entry);
    }

    /// The first `bytes` bytes of its index are in the file.
    pub(crate) fn index_stored(&self, bytes: u64) {
        debug_assert!(bytes.is_multiple_of(ENTRY_LENGTH as u64), "an index file has whole entries");
        self.state.write().growing().stored(usize::try_from(bytes).unwrap_or(0) / ENTRY_LENGTH);
    }

    /// Sets how far recovery may scan.
    pub(crate) fn set_end_position(&self, end_position: LogPosition) {
        self.state.write().end_position = end_position;
    }

    /// An index position in terms of the whole log.
    pub(crate) fn log_position(&self, indexed: IndexPosition) -> LogPosition {
        LogPosition { bytes: indexed.position.into(), offset: self.base.saturating_add(indexed.relative_offset.into()) }
    }

    /// Publishes a batch that was written. Returns the index entry to store, if one is due.
    pub(crate) fn note(&self, batch: &IndexedBatch<'_>, durable_end: u32) -> Option<IndexEntry> {
        let mut state = self.state.write();
        state.end_position = LogPosition {
            bytes: batch.end.into(),
            offset: self.base.saturating_add(batch.next_relative_offset.into()),
        };
        state.max_timestamp = state.max_timestamp.max(Some(Timestamp::from_millis(batch.max_timestamp)));
        state.growing().note(batch, durable_end)
    }

    /// Returns the closing entry of the index; none if it would say nothing new.
    pub(crate) fn finish_index(&self, durable_end: u32) -> Option<IndexEntry> {
        self.state.write().growing().finish(durable_end)
    }

    /// Replaces the growing index with a read-only one.
    pub(crate) fn seal(&self, index: Box<dyn SegmentIndex>) {
        let mut state = self.state.write();
        debug_assert!(matches!(state.index, Index::Growing(..)), "a segment is sealed once");
        state.index = Index::Sealed(index);
    }

    pub(crate) fn stats(&self) -> SegmentStats {
        let state = self.state.read();
        SegmentStats {
            end: state.end_position.offset,
            bytes: state.end_position.bytes,
            records: state.end_position.offset.since(self.base),
            max_timestamp: state.max_timestamp,
        }
    }

    pub(crate) fn info(&self, active: bool) -> SegmentInfo {
        let stats = self.stats();
        SegmentInfo {
            file: log_name(self.base),
            index_file: index_name(self.base),
            base_offset: self.base,
            end_offset: stats.end,
            bytes: stats.bytes,
            index_bytes: (self.entry_count() * ENTRY_LENGTH) as u64,
            records: stats.records,
            max_timestamp: stats.max_timestamp,
            active,
        }
    }
}
