//! An offset together with the leader epoch before it.

use grower_protocol::ids::{LeaderEpoch, Offset};

/// An offset, and the leader epoch of the record before it; `None` if that is unknown. The two change together: a log
/// that has another epoch before the offset has diverged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OffsetAndEpoch {
    pub(crate) offset: Offset,
    pub(crate) epoch: Option<LeaderEpoch>,
}

impl OffsetAndEpoch {
    /// The first offset, which no record precedes.
    pub(crate) const ZERO: Self = Self { offset: Offset::ZERO, epoch: None };

    pub(crate) fn new(offset: Offset, epoch: Option<LeaderEpoch>) -> Self {
        Self { offset, epoch }
    }

    /// Creates the pair for an offset after a record of an unknown epoch.
    pub(crate) fn of_unknown_epoch(offset: Offset) -> Self {
        Self { offset, epoch: None }
    }
}
