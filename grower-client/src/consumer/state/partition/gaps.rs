//! Gaps of one partition: how they come about, and how the reader passes them after all that is held before them.

use super::{BufferedItem, PartitionFetchState};
use crate::consumer::state::gap::{Gap, GapCause};
use grower_protocol::ids::{LeaderEpoch, Offset, TopicId};
use grower_protocol::message::Divergence;
use std::ops::Range;

impl PartitionFetchState {
    /// The log begins at `log_start`, after `requested`, which was to be fetched next. What is held is handed out first.
    pub(crate) fn dropped_up_to(&mut self, requested: Offset, log_start: Offset) {
        debug_assert!(requested < log_start, "{requested} is not before {log_start}");
        if requested != self.fetched {
            return self.refetch_from(self.fetched, self.fetched_epoch); // What lies between turned out damaged.
        }
        let before = match self.buffer.back_mut() {
            Some(BufferedItem::Gap(gap, _)) if gap.cause == GapCause::Retention => Some(gap),
            _ => None,
        };
        match before {
            Some(gap) => (gap.offsets.end, gap.resumes_at) = (log_start, log_start), // Overtaken again.
            None => self.hold_gap(self.fetched..log_start, log_start, None, GapCause::Retention),
        }
        self.continue_behind_gap(log_start, None);
    }

    /// The topic was deleted, and `topic` has its name now. What is held of the old one is handed out first.
    pub(crate) fn recreated_as(&mut self, topic: TopicId) {
        debug_assert!(self.topic != topic, "{} is the same topic", self.topic_partition);
        let start = self.fetched;
        let end = self.high_watermark.map_or(start, |end| end.max(start));
        self.hold_gap(start..end, Offset::ZERO, None, GapCause::TopicRecreated);
        self.topic = topic;
        (self.high_watermark, self.log_start, self.gaps_allowed) = (None, None, false);
        self.continue_behind_gap(Offset::ZERO, None);
    }

    /// The log has other records than those that were read before `requested`, or none: from where they differ on.
    pub(crate) fn diverged(&mut self, requested: Offset, divergence: &Divergence) {
        if requested != self.fetched {
            return self.refetch_from(self.fetched, self.fetched_epoch); // Asked again when the rest is checked.
        }
        if self.read_topic != self.topic {
            self.forget_buffer();
            self.topic = self.read_topic; // The gap between the two topics is found again.
            return self.refetch_from(self.position, self.position_epoch);
        }
        self.lost_from(divergence.end, divergence.epoch);
    }

    /// The log lost its records from `end` on, after a record of this epoch. Those that are held are forgotten: they are gone
    /// for all readers. Reading goes on there if the reader had more.
    pub(crate) fn lost_from(&mut self, end: Offset, epoch: Option<LeaderEpoch>) {
        self.forget_buffer();
        if self.position <= end {
            tracing::warn!(partition = %self.topic_partition, lost_from = %end, "the log lost records that were fetched and not handed out");
            return self.refetch_from(self.position, self.position_epoch);
        }
        self.hold_gap(end..self.position, end, epoch, GapCause::Truncation);
        self.continue_behind_gap(end, epoch);
    }

    /// Whether it is still read if the group now gives this member `topic` under its name. A topic that was created again
    /// is read from its beginning, after what is held of the old one.
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

    fn hold_gap(&mut self, offsets: Range<Offset>, resumes_at: Offset, epoch: Option<LeaderEpoch>, cause: GapCause) {
        let topic_partition = self.topic_partition.clone();
        self.buffer.push_back(BufferedItem::Gap(Gap { topic_partition, offsets, resumes_at, cause }, epoch));
    }

    fn continue_behind_gap(&mut self, offset: Offset, epoch: Option<LeaderEpoch>) {
        self.refetch_from(offset, epoch);
        (self.failures, self.not_before, self.investigated_at) = (0, None, None);
    }

    /// Whether everything before a gap was handed out.
    pub(crate) fn is_at_gap(&self) -> bool {
        self.may_hand_out() && self.open.is_none() && matches!(self.buffer.front(), Some(BufferedItem::Gap(..)))
    }

    /// Goes on behind a gap, if that is next.
    pub(crate) fn take_gap(&mut self) -> Option<Gap> {
        if !self.is_at_gap() {
            return None;
        }
        let Some(BufferedItem::Gap(gap, epoch)) = self.buffer.pop_front() else { return None };
        (self.position, self.position_epoch) = (gap.resumes_at, epoch);
        self.has_progress = true;
        if gap.resumes_at < self.consumed {
            self.mark_consumed(); // What was read is there no more.
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
        }
        Some(gap)
    }
}
