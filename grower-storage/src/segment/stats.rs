//! Facts about a segment, without its files.

use grower_protocol::ids::{Offset, Timestamp};

/// The figures that retention, rolls and `describe` use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentStats {
    /// The offset after its last record.
    pub(crate) end: Offset,
    pub(crate) bytes: u64,
    /// Records written to it, including those that compaction removed.
    pub(crate) records: u64,
    /// None if it holds no record, or no known timestamp.
    pub(crate) max_timestamp: Option<Timestamp>,
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
    /// How many offsets it spans: as many as it has records, if compaction removed none.
    pub records: u64,
    /// The latest timestamp in it; none if it is empty.
    pub max_timestamp: Option<Timestamp>,
    /// Whether it is the active one.
    pub active: bool,
}
