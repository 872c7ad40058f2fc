//! When a segment rolls: how full and how old it is. Pure.

use crate::options::LogOptions;
use grower_protocol::batch::BatchHeader;

/// How full and how old a segment is.
pub(crate) struct SegmentFill {
    pub(crate) bytes: u64,
    pub(crate) records: u64,
    /// Since its first append.
    pub(crate) age_ms: u64,
    /// Since its last append.
    pub(crate) quiet_ms: u64,
}

impl SegmentFill {
    /// Whether it takes the batch. An empty segment takes any: a batch over the limit gets a segment of its own.
    pub(crate) fn takes(&self, batch: &BatchHeader, options: &LogOptions) -> bool {
        let bytes = self.bytes + batch.total_length as u64;
        let records = self.records + u64::from(batch.last_offset_delta) + 1;
        self.bytes == 0
            || (bytes <= u64::from(options.segment_bytes)
                && records <= options.segment_messages.unwrap_or(u64::MAX)
                && records <= u64::from(u32::MAX) // The index counts offsets from the segment's base in 32 bits.
                && self.age_ms < options.segment_ms)
    }

    /// Whether it rolls although nothing is appended. An empty segment never does, so that a quiet log rolls once.
    pub(crate) fn is_old(&self, options: &LogOptions) -> bool {
        0 < self.bytes && (options.segment_ms <= self.age_ms || options.segment_quiet_ms <= self.quiet_ms)
    }
}
