//! Whether a log still has what a reader has read: compared by the leader epoch of its last record.
//!
//! Each leadership writes under an epoch of its own, so that records which took the offsets of lost ones have another.

use super::Partition;
use grower_protocol::ids::{LeaderEpoch, Offset};
use grower_protocol::message::Divergence;

impl Partition {
    /// Where the log stops being the one that a reader has read up to `offset`, whose last record had this epoch. Without an
    /// epoch only an offset past the end tells of a loss.
    pub(crate) fn divergence(&self, offset: Offset, epoch: Option<LeaderEpoch>) -> Option<Divergence> {
        let span = self.reader().span();
        let Some(epoch) = epoch else {
            return (span.end < offset).then_some(Divergence { epoch: None, end: span.end });
        };
        if epoch == self.epoch() && offset <= span.end {
            return None; // Nothing is lost while a leadership lasts.
        }
        let known = self.reader().end_of_epoch(epoch);
        let end = known.map_or(span.start, |known| known.end);
        (end < offset).then_some(Divergence { epoch: known.map(|known| known.epoch), end })
    }

    /// The epoch of the record before `offset`, for positions of which nobody says it; none where no record is.
    pub(crate) fn epoch_before(&self, offset: Offset) -> Option<LeaderEpoch> {
        let mut newest = LeaderEpoch::new(u32::MAX);
        loop {
            let epoch = self.reader().end_of_epoch(newest)?.epoch;
            let before = epoch.value().checked_sub(1).map(LeaderEpoch::new);
            let start =
                before.and_then(|before| self.reader().end_of_epoch(before)).map_or(Offset::ZERO, |end| end.end);
            if start < offset {
                return Some(epoch);
            }
            newest = before?;
        }
    }
}
