//! Gaps of one partition: how they arise, and how the reader passes them after the buffered records.

use super::{BufferedItem, OffsetAndEpoch, PartitionFetchState, Progress};
use crate::gap::{Gap, GapCause};
use grower_protocol::ids::{Offset, TopicId};
use grower_protocol::message::Divergence;
use std::ops::Range;

impl PartitionFetchState {
    /// Handles a log that now begins at `log_start`, after the fetch at `requested`. Buffered records are handed out
    /// first.
    pub(crate) fn dropped_up_to(&mut self, requested: Offset, log_start: Offset) {
        debug_assert!(requested < log_start, "{requested} is not before {log_start}");
        debug_assert_eq!(requested, self.fetched.offset, "{}: an answer for another position", self.topic_partition);
        let resumes_at = OffsetAndEpoch::of_unknown_epoch(log_start);
        let before = match self.buffer.back_mut() {
            Some(BufferedItem::Gap(gap, _)) if gap.cause == GapCause::Retention => Some(gap),
            _ => None,
        };
        match before {
            // Retention overtook the reader again.
            Some(gap) => (gap.offsets.end, gap.resumes_at) = (log_start, log_start),
            None => self.hold_gap(self.fetched.offset..log_start, resumes_at, GapCause::Retention),
        }
        self.continue_behind_gap(resumes_at);
    }

    /// Handles a recreated topic with the id `topic`. Buffered records of the old topic are handed out first.
    pub(crate) fn recreated_as(&mut self, topic: TopicId) {
        debug_assert!(self.topic != topic, "{} is the same topic", self.topic_partition);
        let start = self.fetched.offset;
        let end = self.high_watermark.map_or(start, |end| end.max(start));
        self.hold_gap(start..end, OffsetAndEpoch::ZERO, GapCause::TopicRecreated);
        self.topic = topic;
        (self.high_watermark, self.high_watermark_at) = (None, None);
        (self.log_start, self.gaps_allowed) = (None, false);
        self.continue_behind_gap(OffsetAndEpoch::ZERO);
    }

    /// Handles a log that no longer has the records before `requested`: continues where the logs differ.
    pub(crate) fn diverged(&mut self, requested: Offset, divergence: &Divergence) {
        debug_assert_eq!(requested, self.fetched.offset, "{}: an answer for another position", self.topic_partition);
        if self.read_topic != self.topic {
            return self.discard_fetched();
        }
        self.lost_from(OffsetAndEpoch::new(divergence.end, divergence.epoch));
    }

    /// Handles a log that lost its records from `end` on. Drops buffered records, since no reader can get them any
    /// more. If the reader has had lost records, it continues at `end`.
    pub(crate) fn lost_from(&mut self, end: OffsetAndEpoch) {
        self.forget_buffer();
        if self.position.offset <= end.offset {
            tracing::warn!(partition = %self.topic_partition, lost_from = %end.offset, "the log lost records that were fetched and not handed out");
            return self.refetch_from(self.position);
        }
        self.hold_gap(end.offset..self.position.offset, end, GapCause::Truncation);
        self.continue_behind_gap(end);
    }

    /// Returns whether the member keeps this partition when the group assigns `topic` under its name. A recreated topic
    /// is read from its beginning, after the buffered records of the old one.
    pub(crate) fn update_topic(&mut self, topic: Option<TopicId>) -> bool {
        match topic {
            Some(topic) if topic == self.topic => true,
            Some(topic) if !self.is_starting => {
                self.recreated_as(topic);
                true
            }
            _ => false,
        }
    }

    fn hold_gap(&mut self, offsets: Range<Offset>, resumes_at: OffsetAndEpoch, cause: GapCause) {
        debug_assert!(offsets.start <= offsets.end, "{}: a gap from {offsets:?}", self.topic_partition);
        let topic_partition = self.topic_partition.clone();
        let gap = Gap { topic_partition, offsets, resumes_at: resumes_at.offset, cause };
        self.buffer.push_back(BufferedItem::Gap(gap, resumes_at.epoch));
    }

    fn continue_behind_gap(&mut self, start: OffsetAndEpoch) {
        self.refetch_from(start);
        (self.failures, self.not_before, self.investigated_at) = (0, None, None);
    }

    /// Whether all records before a gap were handed out.
    pub(crate) fn is_at_gap(&self) -> bool {
        self.may_hand_out() && self.open.is_none() && matches!(self.buffer.front(), Some(BufferedItem::Gap(..)))
    }

    /// Takes the gap, if it is next, and continues behind it.
    pub(crate) fn take_gap(&mut self) -> Option<Gap> {
        if !self.is_at_gap() {
            return None;
        }
        let Some(BufferedItem::Gap(gap, epoch)) = self.buffer.pop_front() else { unreachable!("a gap is next") };
        self.position = OffsetAndEpoch::new(gap.resumes_at, epoch);
        if self.progress == Progress::None {
            self.progress = Progress::Moved;
        }
        if gap.resumes_at < self.consumed.offset {
            self.mark_consumed(); // The consumed records no longer exist.
        }
        if gap.cause == GapCause::TopicRecreated {
            let later = self
                .buffer
                .iter()
                .any(|held| matches!(held, BufferedItem::Gap(gap, _) if gap.cause == GapCause::TopicRecreated));
            if !later {
                self.read_topic = self.topic;
            }
            self.mark_consumed();
            self.committed = None;
            self.read_end = self.read_end.map(|_| self.position.offset); // It was an end in the old topic.
        }
        self.check();
        Some(gap)
    }
}
