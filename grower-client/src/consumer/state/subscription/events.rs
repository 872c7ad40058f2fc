//! Events for a reader that takes them: what it was assigned, what it has to give up, and what it lost.
//!
//! A reader of records gets none. With its first call for an event, a reader takes events: the assignment of a partition
//! that was not read yet comes before its records.

use super::SubscriptionState;
use crate::consumer::state::partition::{Announcement, EventNumber, PartitionFetchState, Progress, RevocationNotice};
use crate::record::TopicPartition;
use grower_protocol::ids::Offset;
use std::collections::BTreeSet;

/// The kind of the reader's calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReaderKind {
    Records,
    Events,
}

/// An event of the partitions.
#[derive(Debug)]
pub(crate) enum SubscriptionEvent {
    Assigned(Vec<AssignedPartition>),
    Revoking(EventNumber, Vec<TopicPartition>),
    Lost(Vec<TopicPartition>),
}

/// A partition that a consumer reads from now on. None of its records was handed out yet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AssignedPartition {
    /// The partition.
    pub topic_partition: TopicPartition,
    /// The offset at which reading begins: the group's committed offset, or the start position.
    pub position: Offset,
    /// The group's committed offset, if there is one.
    pub committed: Option<Offset>,
}

/// The kind of reader, and the events that it has taken.
#[derive(Debug, Default)]
pub(super) struct EventState {
    /// The kind of the reader's last call; none before the first.
    reader: Option<ReaderKind>,
    /// The newest revocation that it was told.
    newest: EventNumber,
    /// The partitions that were lost without its consent.
    lost: BTreeSet<TopicPartition>,
}

impl EventState {
    /// The reader's knowledge of a partition that is added now.
    pub(super) fn first_announcement(&self) -> Announcement {
        match self.reader {
            None | Some(ReaderKind::Records) => Announcement::Open,
            Some(ReaderKind::Events) => Announcement::Due,
        }
    }
}

impl SubscriptionState {
    pub(super) fn takes_events(&self) -> bool {
        self.events.reader == Some(ReaderKind::Events)
    }

    /// Notes partitions that the reader lost.
    pub(super) fn add_lost(&mut self, lost: Vec<TopicPartition>) {
        self.has_news |= !lost.is_empty();
        self.events.lost.extend(lost);
    }

    /// Whether the partition was lost and came back, and the reader does not know yet: what it says of the partition is
    /// about the time before.
    pub(crate) fn is_back_untold(&self, topic_partition: &TopicPartition) -> bool {
        match self.partitions.get(topic_partition) {
            None => false,
            Some(_) if self.takes_events() => self.is_lost_untold(topic_partition),
            Some(partition) => !partition.has_progress() && self.revoked_uncommitted.contains_key(topic_partition),
        }
    }

    /// Whether the partition was lost, and the reader does not know yet.
    pub(super) fn is_lost_untold(&self, topic_partition: &TopicPartition) -> bool {
        self.events.lost.contains(topic_partition)
    }

    /// Returns the next event for the reader, which is back from the one before.
    pub(super) fn next_event(&mut self, reader: ReaderKind) -> Option<SubscriptionEvent> {
        self.set_reader(reader);
        if reader == ReaderKind::Records {
            return None;
        }
        if !self.events.lost.is_empty() {
            return Some(SubscriptionEvent::Lost(std::mem::take(&mut self.events.lost).into_iter().collect()));
        }
        if !self.partitions.take_events() {
            return None;
        }
        let event = self.revoking().or_else(|| self.assigned())?;
        self.partitions.expect_events(); // There may be another one.
        Some(event)
    }

    fn revoking(&mut self) -> Option<SubscriptionEvent> {
        let (number, mut names) = (EventNumber(self.events.newest.0 + 1), Vec::new());
        self.partitions.update_all(PartitionFetchState::revocation_is_due, |partition| {
            partition.set_revocation_notice(RevocationNotice::Told(number));
            names.push(partition.topic_partition.clone());
        });
        if names.is_empty() {
            return None;
        }
        self.events.newest = number;
        names.sort_unstable();
        Some(SubscriptionEvent::Revoking(number, names))
    }

    fn assigned(&mut self) -> Option<SubscriptionEvent> {
        let mut assigned = Vec::new();
        self.partitions.update_all(PartitionFetchState::assignment_is_due, |partition| {
            partition.announcement = Announcement::Told;
            let topic_partition = partition.topic_partition.clone();
            let (position, committed) = (partition.position().offset, partition.committed);
            assigned.push(AssignedPartition { topic_partition, position, committed });
        });
        assigned.sort_unstable_by(|one, other| one.topic_partition.cmp(&other.topic_partition));
        (!assigned.is_empty()).then_some(SubscriptionEvent::Assigned(assigned))
    }

    /// Ends the reader's handling of a revocation.
    pub(crate) fn finish_revoking(&mut self, number: EventNumber, is_done: bool) {
        let notice = if is_done { RevocationNotice::Done } else { RevocationNotice::None };
        self.partitions.update_all(
            |partition| partition.revocation_notice() == Some(RevocationNotice::Told(number)),
            |partition| partition.set_revocation_notice(notice),
        );
        self.note_progress();
    }

    /// Notes what the reader takes.
    fn set_reader(&mut self, reader: ReaderKind) {
        match (self.events.reader.replace(reader), reader) {
            (None | Some(ReaderKind::Records), ReaderKind::Events) => self.begin_events(),
            (Some(ReaderKind::Events), ReaderKind::Records) => self.handle_revocations(),
            _ => {}
        }
    }

    /// Lets an event be due for each partition of which the reader has had no records.
    fn begin_events(&mut self) {
        self.partitions.update_all(
            |partition| partition.announcement != Announcement::Told,
            |partition| {
                let is_read = partition.progress() == Progress::HandedOut;
                partition.announcement = if is_read { Announcement::Told } else { Announcement::Due };
            },
        );
    }

    /// Handles the revocations that the reader was not told: it takes records for now.
    fn handle_revocations(&mut self) {
        let handle = |partition: &mut PartitionFetchState| partition.set_revocation_notice(RevocationNotice::None);
        self.partitions.update_all(PartitionFetchState::revocation_is_due, handle);
        self.note_progress();
    }
}
