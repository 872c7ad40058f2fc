//! The progress of the reader: how it came to its position, and which records it is done with.

use super::{FetchVersion, OffsetAndEpoch, PartitionFetchState};

/// How the reader came to its position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The position is the start.
    #[default]
    None,
    /// The reader set the position, or passed a gap.
    Moved,
    /// Records were handed out.
    HandedOut,
}

impl PartitionFetchState {
    /// Moves the reader to a position that it chose. It may still work on the records that it was handed before.
    pub(crate) fn seek_to(&mut self, position: OffsetAndEpoch, version: FetchVersion) {
        let (has_left_records, has_uncommitted) = (self.has_unconsumed(), self.has_uncommitted());
        self.move_to(position, version);
        self.has_left_records = has_left_records;
        self.progress = if has_uncommitted { Progress::HandedOut } else { Progress::Moved };
    }

    pub(crate) fn progress(&self) -> Progress {
        self.progress
    }

    /// Whether the reader has moved from the start, so that there may be an offset to commit.
    pub(crate) fn has_progress(&self) -> bool {
        self.progress != Progress::None
    }

    /// The position at the reader's last call; `None` while it may work on records of another place.
    pub(crate) fn consumed(&self) -> Option<OffsetAndEpoch> {
        (!self.has_left_records).then_some(self.consumed)
    }

    /// Whether the reader holds records that it has not consumed.
    pub(crate) fn has_unconsumed(&self) -> bool {
        self.has_left_records || self.consumed != self.position
    }

    /// Marks all handed-out records as consumed.
    pub(crate) fn mark_consumed(&mut self) {
        (self.consumed, self.has_left_records) = (self.position, false);
    }
}
