//! The reader's knowledge of a partition's assignment and revocation.

use super::PartitionFetchState;

/// The number of a revocation event that a consumer returned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EventNumber(pub(crate) u64);

/// The reader's knowledge of the assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Announcement {
    /// The reader took no event yet, since the partition came.
    Open,
    /// An event is due, which comes before the partition's records.
    Due,
    /// The reader had the event, or had records before it took an event.
    Told,
}

/// The reader's knowledge of a pending revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RevocationNotice {
    /// The reader gets no event, or dropped it without `done`: its calls and commits tell when it is done.
    None,
    /// An event is due.
    Due,
    /// The reader handles this event.
    Told(EventNumber),
    /// The reader said that it is done.
    Done,
}

impl PartitionFetchState {
    pub(crate) fn assignment_is_due(&self) -> bool {
        self.announcement == Announcement::Due && !self.is_starting && !self.is_revoking()
    }

    pub(crate) fn revocation_is_due(&self) -> bool {
        self.revocation_notice() == Some(RevocationNotice::Due)
    }
}
