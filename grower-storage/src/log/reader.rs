//! The reading side of a log.

use super::{EpochEnd, ReadError, SegmentInfo, Slice, TimedOffset};
use grower_protocol::ids::{LeaderEpoch, Offset, Timestamp};
use std::ops::Range;
use std::sync::Arc;

/// The reading side of a log; see [`LogReader`].
pub trait LogView: Send + Sync {
    /// From the log start offset to the log end offset.
    fn span(&self) -> Range<Offset>;

    /// Whole batches from the one that holds `from`, none of them past `upto`.
    ///
    /// At most `max_bytes`, but at least one batch. Nothing if `from` is at `upto` or at the log end. It stops before
    /// damage; a read from a damaged offset is [`ReadError::Corrupt`], which says where the damage ends.
    fn read(&self, from: Offset, max_bytes: usize, upto: Offset) -> Result<Vec<Slice>, ReadError>;

    /// The first record, before `upto`, with this timestamp or a later one.
    fn offset_for_time(&self, timestamp: Timestamp, upto: Offset) -> Result<Option<TimedOffset>, ReadError>;

    /// The latest epoch that is not newer than `epoch`, and its end offset (the log end for the present one).
    fn end_of_epoch(&self, epoch: LeaderEpoch) -> Option<EpochEnd>;

    /// The segments, oldest first.
    fn segments(&self) -> Vec<SegmentInfo>;

    /// The files behind it; none if the log is in memory.
    fn files(&self) -> Option<&dyn FilesView>;
}

/// The hook of [`FilesView::when_gone`].
pub type GoneHook = Box<dyn FnOnce() + Send + Sync>;

/// Damage and losses that only files can have; see [`LogView::files`].
pub trait FilesView {
    /// Why the log takes no more changes, if its files are no longer at their path.
    fn gone(&self) -> Option<Arc<str>>;

    /// Calls `hook` once [`FilesView::gone`] has a reason: at once if it has. A log has one hook. It is called while
    /// the log changes, so it does nothing slow.
    fn when_gone(&self, hook: GoneHook);

    /// Offsets that are known to be lost to damage, in order.
    fn damaged(&self) -> Vec<Range<Offset>>;

    /// Checks the stored bytes of these offsets and remembers damage: from then on reading it is an error.
    fn check(&self, offsets: Range<Offset>) -> Result<(), ReadError>;

    /// Learns when tombstones may go in segments that an earlier process compacted, until `may_continue` returns
    /// false. Until that is known, expired tombstones cause no compaction pass. Reads the headers of their batches.
    fn learn_delete_horizons(&self, may_continue: &dyn Fn() -> bool) -> Result<(), ReadError>;
}

/// Reads a log while it is written. Clones share it.
#[derive(Clone)]
pub struct LogReader(Arc<dyn LogView>);

impl LogReader {
    pub(crate) fn new(view: impl LogView + 'static) -> Self {
        Self(Arc::new(view))
    }

    /// As [`FilesView::gone`]; a log in memory is always there.
    pub fn gone(&self) -> Option<Arc<str>> {
        self.files().and_then(FilesView::gone)
    }

    /// As [`FilesView::when_gone`]; a log in memory is always there.
    pub fn when_gone(&self, hook: impl FnOnce() + Send + Sync + 'static) {
        if let Some(files) = self.files() {
            files.when_gone(Box::new(hook));
        }
    }

    /// As [`FilesView::damaged`]; a log in memory has no damage.
    pub fn damaged(&self) -> Vec<Range<Offset>> {
        self.files().map_or_else(Vec::new, FilesView::damaged)
    }

    /// As [`FilesView::check`]; a log in memory has no damage.
    pub fn check(&self, offsets: Range<Offset>) -> Result<(), ReadError> {
        self.files().map_or(Ok(()), |files| files.check(offsets))
    }

    /// As [`FilesView::learn_delete_horizons`]; a log in memory is not compacted.
    pub fn learn_delete_horizons(&self, may_continue: &dyn Fn() -> bool) -> Result<(), ReadError> {
        self.files().map_or(Ok(()), |files| files.learn_delete_horizons(may_continue))
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
