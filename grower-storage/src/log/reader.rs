//! What readers see of a log.

use super::{ReadError, Slice};
use grower_protocol::ids::{LeaderEpoch, Offset, Timestamp};
use std::ops::Range;
use std::sync::Arc;

/// The reading side of a log; see [`LogReader`].
pub trait LogView: Send + Sync {
    /// From the log start offset to the log end offset.
    fn span(&self) -> Range<Offset>;

    /// Why the log takes nothing more, if its files are no longer where they were.
    fn gone(&self) -> Option<Arc<str>>;

    /// Whole batches from the one that holds `from`, none of them reaching past `upto`.
    ///
    /// At most `max_bytes`, but at least one batch. Nothing if `from` is at `upto` or at the log end. It stops before damage;
    /// reading from a damaged offset on is [`ReadError::Corrupt`], which says where the damage ends.
    fn read(&self, from: Offset, max_bytes: usize, upto: Offset) -> Result<Vec<Slice>, ReadError>;

    /// The first record, before `upto`, with this timestamp or a later one.
    fn offset_for_time(&self, timestamp: Timestamp, upto: Offset) -> Result<Option<TimedOffset>, ReadError>;

    /// The latest epoch that is not newer than `epoch`, and the offset where it ended (the log end for the present one).
    fn end_of_epoch(&self, epoch: LeaderEpoch) -> Option<EpochEnd>;

    /// The segments, oldest first.
    fn segments(&self) -> Vec<SegmentInfo>;

    /// Offsets that are known to be lost to damage, in order.
    fn damaged(&self) -> Vec<Range<Offset>>;

    /// Checks the stored bytes of these offsets and remembers what is damaged: from then on reading it is an error.
    fn check(&self, offsets: Range<Offset>) -> Result<(), ReadError>;

    /// Finds out when tombstones may go in segments that an earlier process compacted, until `go_on` says no. Until that
    /// is known, their time is no reason for a pass of compaction. Reads the headers of their batches.
    fn learn_delete_horizons(&self, go_on: &dyn Fn() -> bool) -> Result<(), ReadError>;
}

/// Reads a log while it is written. Clones share it.
#[derive(Clone)]
pub struct LogReader(Arc<dyn LogView>);

impl LogReader {
    pub(crate) fn new(view: impl LogView + 'static) -> Self {
        Self(Arc::new(view))
    }
}

impl std::ops::Deref for LogReader {
    type Target = dyn LogView;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl std::fmt::Debug for LogReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("LogReader").field(&self.span()).finish()
    }
}

/// A record found by its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOffset {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// The epoch of the leader that appended it.
    pub leader_epoch: Option<LeaderEpoch>,
}

/// Where a leader epoch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// The offset after its last record.
    pub end: Offset,
}

/// One segment, as `describe --segments` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Name of its log file, without the directory.
    pub file: String,
    /// Name of its index file.
    pub index_file: String,
    /// Offset of its first record.
    pub base_offset: Offset,
    /// The offset after its last record.
    pub end_offset: Offset,
    /// Bytes of batches in it.
    pub bytes: u64,
    /// Bytes of index.
    pub index_bytes: u64,
    /// How many offsets it spans: as many as it has records, if none were compacted away.
    pub records: u64,
    /// The latest timestamp in it; none if it is empty.
    pub max_timestamp: Option<Timestamp>,
    /// Whether it is the one being written.
    pub active: bool,
}
