//! The end up to which a reader reads for now.

use super::PartitionFetchState;

impl PartitionFetchState {
    pub(super) fn is_at_read_end(&self) -> bool {
        self.read_end.is_some_and(|end| end <= self.position.offset)
    }

    /// Whether a reader that stops at [`PartitionFetchState::read_end`] waits for records of the partition.
    pub(crate) fn is_before_read_end(&self) -> bool {
        self.read_end.is_some() && self.may_hand_out()
    }

    /// Whether such a reader waits and nothing is at hand.
    pub(crate) fn is_quiet_before_read_end(&self) -> bool {
        self.is_before_read_end() && !self.is_starting && !self.has_something()
    }

    /// Ends the reading up to an end here, before that end.
    pub(crate) fn stop_reading(&mut self) {
        debug_assert!(self.read_end.is_some(), "{}: there is no end to read to", self.topic_partition);
        self.read_end = Some(self.position.offset);
    }
}
