//! The options of a log: segments, index, allocation, producers and retention.

use grower_index::{GrowingIndex, SparseIndex};
use std::fmt;
use std::sync::Arc;

/// Makes the index of a new segment, given the seed of its header checksums.
#[derive(Clone)]
pub struct IndexFactory(Arc<dyn Fn(u32) -> Box<dyn GrowingIndex> + Send + Sync>);

impl IndexFactory {
    /// Wraps a constructor.
    pub fn new(make: impl Fn(u32) -> Box<dyn GrowingIndex> + Send + Sync + 'static) -> Self {
        Self(Arc::new(make))
    }

    /// One entry for every `interval_bytes` of log; 0 for one after each batch.
    pub fn sparse(interval_bytes: u32) -> Self {
        Self::new(move |seed| Box::new(SparseIndex::new(interval_bytes, seed)))
    }

    pub(crate) fn make(&self, seed: u32) -> Box<dyn GrowingIndex> {
        (self.0)(seed)
    }
}

impl fmt::Debug for IndexFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IndexFactory")
    }
}

/// How a log is split into segments, indexed and allocated.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// A segment rolls before a batch that would make it larger, in bytes.
    pub segment_bytes: u32,
    /// A segment rolls before a batch that would give it more records.
    pub segment_messages: Option<u64>,
    /// A segment rolls this long after its first append, in milliseconds: at the next append, or by
    /// [`Log::roll_if_old`](crate::log::Log::roll_if_old).
    pub segment_ms: u64,
    /// It also rolls after this long without an append, in milliseconds: compaction takes only sealed segments.
    pub segment_quiet_ms: u64,
    /// The kind of index.
    pub index: IndexFactory,
    /// How far ahead of the end the active segment is allocated, in bytes; 0 for not at all.
    pub preallocate_bytes: u32,
    /// The index file joins a flush when this many bytes of log await it. Until then recovery has to read that much
    /// more.
    pub index_flush_bytes: u32,
    /// The producers are stored after every `snapshot_bytes` bytes of log, and at each roll: an opening after a crash
    /// reads the batch headers since.
    pub snapshot_bytes: u64,
    /// A producer is forgotten after this long a silence, in milliseconds.
    pub producer_expiry_ms: u64,
    /// The most producers remembered; beyond it the longest silent one is forgotten.
    pub producers_max: usize,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_messages: None,
            segment_ms: DAY_MS,
            segment_quiet_ms: u64::MAX,
            index: IndexFactory::sparse(4096),
            preallocate_bytes: 1 << 20,
            index_flush_bytes: 1 << 20,
            snapshot_bytes: 256 << 20,
            producer_expiry_ms: DAY_MS,
            producers_max: 100_000,
        }
    }
}

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

impl LogOptions {
    /// For tests: a few batches fill a segment, and everything is indexed and flushed at once.
    pub fn tiny() -> Self {
        Self {
            segment_bytes: 400,
            segment_ms: 1_000,
            index: IndexFactory::sparse(100),
            preallocate_bytes: 0,
            index_flush_bytes: 0,
            snapshot_bytes: 200,
            producer_expiry_ms: 10_000,
            producers_max: 4,
            ..Self::default()
        }
    }
}

/// How much a log keeps at least. Without a limit everything stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetentionLimits {
    /// A segment goes when its latest record is older than this, in milliseconds.
    pub ms: Option<u64>,
    /// The oldest segment goes while the others hold this many bytes.
    pub bytes: Option<u64>,
    /// The oldest segment goes while this many records were written to the others, compacted or not.
    pub messages: Option<u64>,
}
