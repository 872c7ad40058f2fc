//! Detects that a log lost records which a reader has read, by the leader epoch of the last record read.
//!
//! Each leadership writes under its own epoch, so records that took the offsets of lost ones have another epoch.

use super::Partition;
use grower_protocol::ids::{LeaderEpoch, Offset};
use grower_protocol::message::Divergence;

impl Partition {
    /// The end of what the log has in common with a reader that has read up to `offset`, where its last record had
    /// `epoch`. None if nothing was lost. Without an epoch, only an offset past the log end reveals a loss.
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
        debug_assert!(end <= self.reader().span().end, "epoch {epoch} ends at {end}, beyond the log end");
        (end < offset).then_some(Divergence { epoch: known.map(|known| known.epoch), end })
    }

    /// The epoch of the record before `offset`, for positions stored without one; none if there is no such record.
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
