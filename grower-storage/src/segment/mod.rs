//! One segment: a file of batches and its index, shared by the writer and all readers.

mod active;
mod ahead;
mod fill;
mod horizon;
mod inspect;
mod jump;
mod marks;
mod names;
mod read;
mod slice;
mod stats;
mod walk;

pub(crate) use active::{Active, SegmentFlush, WriteError, narrow};
pub(crate) use fill::SegmentFill;
pub(crate) use horizon::{DeleteHorizon, earlier, earliest, of_batch};
pub(crate) use inspect::{Damage, Expectations, inspect, inspect_until};
pub(crate) use marks::{Closing, Marks};
pub(crate) use names::{base_of_index, base_of_log, compacted_names, index_name, log_name};
pub use read::TimedOffset;
pub(crate) use read::{Extract, RECORDS_LENGTH_MAX, find_time, find_time_in, read};
pub use slice::Slice;
pub use stats::SegmentInfo;
pub(crate) use stats::SegmentStats;
pub(crate) use walk::{Extent, Found, Gap, Mode, Step, Walk};

use crate::disk::{FileOnDemand, SharedFile};
use grower_index::{ENTRY_LENGTH, Entry, GrowingIndex, Mark, NotedBatch, SegmentIndex};
use grower_protocol::ids::{Offset, Timestamp};
use parking_lot::RwLock;
use std::sync::atomic::AtomicBool;

/// A file of batches and what is known of it.
pub(crate) struct Segment {
    pub(crate) base: Offset,
    pub(crate) file: FileOnDemand,
    state: RwLock<State>,
    /// Whether it was told that a part of the index cannot be read.
    doubted: AtomicBool,
}

/// Changes with each append; the lock is held for no longer than it takes to look something up in memory.
struct State {
    extent: Extent,
    max_timestamp: Option<Timestamp>,
    delete_horizon: DeleteHorizon,
    index: Index,
}

enum Index {
    /// With the file that its entries are in, if they are in one.
    Growing(Box<dyn GrowingIndex>, Option<SharedFile>),
    Sealed(Box<dyn SegmentIndex>),
}

impl Segment {
    /// A segment that is written, or was until now.
    pub(crate) fn growing(base: Offset, file: SharedFile, index: Box<dyn GrowingIndex>) -> Self {
        let extent = Extent { position: 0, end: base };
        Self::new(base, FileOnDemand::held(file), extent, None, Index::Growing(index, None))
    }

    /// Tells in which file its index entries are, and will be, in their order.
    pub(crate) fn with_index_file(self, file: &SharedFile) -> Self {
        if let Index::Growing(_, of_index) = &mut self.state.write().index {
            *of_index = Some(file.clone());
        }
        self
    }

    /// A segment that has a successor.
    pub(crate) fn sealed(
        base: Offset,
        file: FileOnDemand,
        index: Box<dyn SegmentIndex>,
        extent: Extent,
        max_timestamp: Option<Timestamp>,
    ) -> Self {
        Self::new(base, file, extent, max_timestamp, Index::Sealed(index))
    }

    fn new(base: Offset, file: FileOnDemand, extent: Extent, max_timestamp: Option<Timestamp>, index: Index) -> Self {
        let state = State { extent, max_timestamp, delete_horizon: DeleteHorizon::Unknown, index };
        Self { base, file, state: RwLock::new(state), doubted: AtomicBool::new(false) }
    }

    /// Tells what its batches say of their tombstones, if they have any.
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

    pub(crate) fn extent(&self) -> Extent {
        self.state.read().extent
    }

    pub(crate) fn max_timestamp(&self) -> Option<Timestamp> {
        self.state.read().max_timestamp
    }

    /// For looking things up in the index.
    pub(crate) fn marks(&self) -> Marks<'_> {
        Marks::new(self)
    }

    /// The last mark at or before an offset.
    pub(crate) fn floor_by_offset(&self, offset: Offset) -> Mark {
        self.marks().around_offset(offset).start()
    }

    pub(crate) fn entry_count(&self) -> usize {
        match &self.state.read().index {
            Index::Growing(index, _) => index.entry_count(),
            Index::Sealed(index) => index.entry_count(),
        }
    }

    /// Puts back an index entry that was read from the file.
    pub(crate) fn restore(&self, entry: Entry) {
        let mut state = self.state.write();
        state.extent = self.extent_at(entry.into());
        state.max_timestamp = state.max_timestamp.max(Some(Timestamp::from_millis(entry.max_timestamp)));
        if let Index::Growing(index, _) = &mut state.index {
            index.restore(entry);
        }
    }

    /// So many bytes of its index are in the file.
    pub(crate) fn index_stored(&self, bytes: u64) {
        if let Index::Growing(index, _) = &mut self.state.write().index {
            index.stored(usize::try_from(bytes).unwrap_or(0) / ENTRY_LENGTH);
        }
    }

    /// How far the walks of recovery may look.
    pub(crate) fn set_extent(&self, extent: Extent) {
        self.state.write().extent = extent;
    }

    /// A mark in the terms of the whole log.
    pub(crate) fn extent_at(&self, mark: Mark) -> Extent {
        Extent { position: mark.position.into(), end: self.base.saturating_add(mark.relative_offset.into()) }
    }

    /// Publishes a batch that was written; the index entry that is due, if one is.
    pub(crate) fn note(&self, batch: &NotedBatch<'_>, durable_end: u32) -> Option<Entry> {
        let mut state = self.state.write();
        state.extent =
            Extent { position: batch.end.into(), end: self.base.saturating_add(batch.next_relative_offset.into()) };
        state.max_timestamp = state.max_timestamp.max(Some(Timestamp::from_millis(batch.max_timestamp)));
        match &mut state.index {
            Index::Growing(index, _) => index.note(batch, durable_end),
            Index::Sealed(_) => None,
        }
    }

    /// Asks the index for its closing entry.
    pub(crate) fn finish_index(&self, durable_end: u32) -> Option<Entry> {
        match &mut self.state.write().index {
            Index::Growing(index, _) => index.finish(durable_end),
            Index::Sealed(_) => None,
        }
    }

    /// Puts a read-only index in place of the growing one.
    pub(crate) fn seal(&self, index: Box<dyn SegmentIndex>) {
        self.state.write().index = Index::Sealed(index);
    }

    pub(crate) fn stats(&self) -> SegmentStats {
        let state = self.state.read();
        SegmentStats {
            end: state.extent.end,
            bytes: state.extent.position,
            records: state.extent.end.since(self.base),
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
