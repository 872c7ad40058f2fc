//! The epochs of a log, and where each began.

use grower_protocol::ids::{LeaderEpoch, Offset};

/// The leader epochs of a log, oldest first. Epochs and start offsets both rise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EpochHistory(Vec<EpochStart>);

/// One epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EpochStart {
    pub(crate) epoch: LeaderEpoch,
    /// The log end offset when it began.
    pub(crate) start: Offset,
}

/// Where a leader epoch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// The offset after its last record.
    pub end: Offset,
}

impl EpochHistory {
    /// Takes stored entries; none unless epochs and starts both rise.
    pub(crate) fn from_entries(entries: Vec<EpochStart>) -> Option<Self> {
        let history = Self(entries);
        history.rises().then_some(history)
    }

    fn rises(&self) -> bool {
        self.0.is_sorted_by(|a, b| a.epoch < b.epoch && a.start < b.start)
    }

    pub(crate) fn entries(&self) -> &[EpochStart] {
        &self.0
    }

    /// The epoch that appends now.
    pub(crate) fn latest(&self) -> Option<LeaderEpoch> {
        self.0.last().map(|entry| entry.epoch)
    }

    /// Begins an epoch at the log end. Epochs that appended nothing are dropped, so idle restarts do not add up.
    pub(crate) fn begin(&mut self, epoch: LeaderEpoch, start: Offset) {
        debug_assert!(self.latest() < Some(epoch), "epoch {epoch} began already, or is older");
        self.0.retain(|entry| entry.start < start);
        self.0.push(EpochStart { epoch, start });
        debug_assert!(self.rises(), "epochs and starts rise");
    }

    /// Drops the starts at or after `end`. The latest epoch stays known: a leader must never fall back.
    pub(crate) fn truncate(&mut self, end: Offset) {
        let latest = self.0.last().copied();
        self.0.retain(|entry| entry.start < end);
        if let Some(latest) = latest.filter(|latest| Some(latest.epoch) != self.latest()) {
            self.begin(latest.epoch, end);
        }
        debug_assert_eq!(self.latest(), latest.map(|latest| latest.epoch), "a leader never falls back");
        debug_assert!(self.0.iter().all(|entry| entry.start <= end), "no epoch begins past the log end {end}");
    }

    /// Drops epochs that ended at or before the log start.
    pub(crate) fn trim(&mut self, start: Offset) {
        let gone = self.0.partition_point(|entry| entry.start <= start).saturating_sub(1);
        self.0.drain(..gone);
    }

    /// The latest epoch not newer than `epoch`, and where it ended.
    pub(crate) fn end_of(&self, epoch: LeaderEpoch, log_end: Offset) -> Option<EpochEnd> {
        let at = self.0.partition_point(|entry| entry.epoch <= epoch).checked_sub(1)?;
        let end = self.0.get(at + 1).map_or(log_end, |next| next.start);
        self.0.get(at).map(|entry| EpochEnd { epoch: entry.epoch, end })
    }

    /// Where the epoch after that of `offset` begins.
    pub(crate) fn next_start_after(&self, offset: Offset) -> Option<Offset> {
        self.0.get(self.0.partition_point(|entry| entry.start <= offset)).map(|entry| entry.start)
    }

    /// The epoch of the record at `offset`.
    pub(crate) fn at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let at = self.0.partition_point(|entry| entry.start <= offset).checked_sub(1)?;
        self.0.get(at).map(|entry| entry.epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(entries: &[(u32, u64)]) -> EpochHistory {
        let mut history = EpochHistory::default();
        entries.iter().for_each(|&(epoch, start)| history.begin(LeaderEpoch::new(epoch), Offset::new(start)));
        history
    }

    fn end_of(history: &EpochHistory, epoch: u32) -> Option<(u32, u64)> {
        history.end_of(LeaderEpoch::new(epoch), Offset::new(100)).map(|end| (end.epoch.value(), end.end.value()))
    }

    #[test]
    fn an_epoch_ends_where_the_next_begins() {
        let history = history(&[(2, 0), (5, 40), (6, 70)]);
        assert_eq!(end_of(&history, 1), None);
        assert_eq!(end_of(&history, 2), Some((2, 40)));
        assert_eq!(end_of(&history, 4), Some((2, 40)), "an epoch that appended nothing is answered by the one before");
        assert_eq!(end_of(&history, 6), Some((6, 100)));
        assert_eq!(end_of(&history, 9), Some((6, 100)));
    }

    #[test]
    fn an_epoch_without_records_leaves_no_trace() {
        assert_eq!(history(&[(1, 0), (2, 10), (3, 10), (4, 10)]), history(&[(1, 0), (4, 10)]));
    }

    #[test]
    fn truncating_forgets_starts_but_never_the_latest_epoch() {
        let mut history = history(&[(1, 0), (2, 10), (3, 20)]);
        history.truncate(Offset::new(5));
        assert_eq!(history.entries().len(), 2);
        assert_eq!(end_of(&history, 2), Some((1, 5)));
        assert_eq!(history.latest(), Some(LeaderEpoch::new(3)));
    }

    #[test]
    fn trimming_keeps_the_epoch_of_the_first_record() {
        let mut history = history(&[(1, 0), (2, 10), (3, 20)]);
        history.trim(Offset::new(15));
        assert_eq!(history.at(Offset::new(15)), Some(LeaderEpoch::new(2)));
        assert_eq!(history.entries().len(), 2);
    }
}
