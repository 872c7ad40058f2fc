//! All partitions of a consumer, and their turns. The reader, the fetcher and the membership share this state.

mod consumer_partitions;
mod events;
mod read_ends;
mod revocation;
mod shared;
mod totals;
mod turn;

pub(crate) use consumer_partitions::{ConsumerPartitions, FetchPlacement, PartitionIndex, SessionKey};
pub use events::AssignedPartition;
pub(crate) use events::SubscriptionEvent;
pub(crate) use shared::SharedSubscription;

use super::offset_and_epoch::OffsetAndEpoch;
use super::partition::{CallNumber, FetchVersion, PartitionFetchState};
use crate::consumer::settings::OnDamage;
use crate::error::ConsumeError;
use crate::gap::Gap;
use crate::record::{ConsumerRecord, TopicPartition};
use consumer_partitions::PartitionMut;
use events::{EventState, ReaderKind};
use grower_protocol::ids::{Offset, TopicId, TopicName};
use std::collections::{BTreeMap, HashMap};
use std::task::Waker;
use tokio::time::Instant;
use totals::ConsumerTotals;
use turn::{PartitionTurn, TURN, TurnEnd};

/// The limits of one call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TakeLimits {
    pub(crate) records: usize,
    /// Counts whole batches, since each record keeps its batch. The batch that reaches the limit is handed out
    /// entirely.
    pub(crate) bytes: usize,
}

/// The result of a call that got no records.
enum Taken {
    Gap(Gap),
    Event(SubscriptionEvent),
}

/// The state of all partitions of a consumer.
#[derive(Debug)]
pub(crate) struct SubscriptionState {
    pub(crate) partitions: ConsumerPartitions,
    /// The next offsets of revoked partitions with records that were handed out but not committed.
    pub(crate) revoked_uncommitted: BTreeMap<TopicPartition, Offset>,
    events: EventState,
    /// The id and number of partitions of each topic at its first lookup: later partitions start at their beginning.
    pub(crate) first_seen: HashMap<TopicName, (Option<TopicId>, u32)>,
    on_damage: OnDamage,
    /// The memory of open batches, above which a turn lasts until its batch ends.
    open_bytes_max: usize,
    totals: ConsumerTotals,
    calls: CallNumber,
    moves: u64,
    /// The reader reads up to an end of each partition: partitions that are added meanwhile wait.
    reads_to_end: bool,
    turn_left: usize,
    /// The partitions of the last call's records.
    handed_out: Vec<PartitionIndex>,
    error: Option<ConsumeError>,
    /// The reason for which the consumer reads no more.
    fatal_error: Option<ConsumeError>,
    /// Nothing is handed out after this time, until the lease is extended.
    lease_end: Option<Instant>,
    /// The time at which a task noticed that the reader could poll; `None` while it waits.
    idle_since: Option<Instant>,
    /// The reader polled since a task looked.
    was_called: bool,
    /// The fetcher waits until the partitions hold at most this much memory.
    room_awaited: Option<usize>,
    /// There is news for the reader other than records.
    has_news: bool,
    reader: Option<Waker>,
    /// The reader commits: a revoked partition waits for the commit of its records.
    pub(crate) commits: bool,
    /// The reader called, a commit succeeded, or a start lookup was answered.
    has_progressed: bool,
    /// A task or a commit waits for that.
    progress_is_awaited: bool,
}

impl SubscriptionState {
    fn new(on_damage: OnDamage, open_bytes_max: usize, now: Instant) -> Self {
        Self {
            partitions: ConsumerPartitions::default(),
            revoked_uncommitted: BTreeMap::new(),
            events: EventState::default(),
            first_seen: HashMap::new(),
            on_damage,
            open_bytes_max,
            totals: ConsumerTotals::default(),
            calls: CallNumber::default(),
            moves: 0,
            reads_to_end: false,
            turn_left: TURN,
            handed_out: Vec::new(),
            error: None,
            fatal_error: None,
            lease_end: None,
            idle_since: Some(now),
            was_called: false,
            room_awaited: None,
            has_news: false,
            reader: None,
            commits: false,
            has_progressed: false,
            progress_is_awaited: false,
        }
    }

    /// Adds a partition with an unknown start; returns its version.
    pub(crate) fn add(&mut self, topic_partition: TopicPartition, topic: TopicId) -> FetchVersion {
        let version = self.next_version();
        let mut partition = PartitionFetchState::new(topic_partition, topic, version);
        partition.read_end = self.reads_to_end.then_some(Offset::ZERO);
        partition.announcement = self.events.first_announcement();
        self.partitions.insert(partition);
        version
    }

    /// Moves a partition to `offset`.
    pub(crate) fn seek(&mut self, topic_partition: &TopicPartition, offset: Offset) -> Result<(), ConsumeError> {
        let version = self.next_version();
        self.change_for_reader(topic_partition, |partition| {
            partition.seek_to(OffsetAndEpoch::of_unknown_epoch(offset), version);
        })
    }

    /// Changes a partition for the reader. One that was lost, without the reader knowing yet, needs no change, also if it
    /// came back.
    pub(crate) fn change_for_reader(
        &mut self,
        topic_partition: &TopicPartition,
        change: impl FnOnce(&mut PartitionFetchState),
    ) -> Result<(), ConsumeError> {
        let is_lost_untold = self.is_lost_untold(topic_partition);
        if self.takes_events() && is_lost_untold {
            return Ok(());
        }
        match self.partition(topic_partition) {
            Ok(mut partition) => change(&mut partition),
            Err(_) if is_lost_untold => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Wakes those that wait for progress.
    pub(crate) fn note_progress(&mut self) {
        self.has_progressed = true;
    }

    /// Whether progress of the reader wakes others now.
    fn take_progress(&mut self) -> bool {
        std::mem::take(&mut self.has_progressed) && std::mem::take(&mut self.progress_is_awaited)
    }

    /// Records that the group has committed this offset.
    pub(crate) fn note_commit(&mut self, topic_partition: &TopicPartition, topic: TopicId, offset: Offset) {
        if let Some(mut partition) =
            self.partitions.update(topic_partition).filter(|partition| partition.topic == topic)
        {
            partition.committed = Some(offset);
        }
        self.has_progressed = true;
        if self.revoked_uncommitted.get(topic_partition).is_some_and(|lost| *lost <= offset) {
            // The partition came back and its records were read again.
            self.revoked_uncommitted.remove(topic_partition);
        }
    }

    pub(crate) fn partition(&mut self, topic_partition: &TopicPartition) -> Result<PartitionMut<'_>, ConsumeError> {
        self.partitions
            .update(topic_partition)
            .ok_or_else(|| ConsumeError::NotAssigned { topic_partition: topic_partition.clone() })
    }

    /// Returns the partition if it has this version.
    pub(crate) fn current(
        &mut self,
        topic_partition: &TopicPartition,
        version: FetchVersion,
    ) -> Option<PartitionMut<'_>> {
        self.partitions.update(topic_partition).filter(|partition| partition.version == version)
    }

    fn next_version(&mut self) -> FetchVersion {
        self.moves += 1;
        FetchVersion::of_move(self.moves)
    }

    /// Registers the reader, if it waits, to be woken by what comes from now on.
    fn wait_for_news(&mut self, reader: Option<&Waker>) {
        self.reader = reader.cloned();
        self.partitions.take_news();
        self.has_news = false;
    }

    /// Takes the waiting reader's waker if there is something for it.
    fn take_reader_with_news(&mut self) -> Option<Waker> {
        let has_news = self.partitions.take_news() | std::mem::take(&mut self.has_news);
        self.reader.take_if(|_| has_news)
    }

    /// Whether the fetcher has something to do: slots to change, or the memory that it waits for.
    fn take_fetcher_work(&mut self) -> bool {
        let (held, has_ready) = (self.partitions.held().total(), self.partitions.has_ready());
        let has_room = self.room_awaited.take_if(|room| held <= *room || 0 < held && !has_ready).is_some();
        self.partitions.take_changes() | has_room
    }

    /// Wakes the fetcher once the partitions hold at most `held` bytes, or no partition has anything for the reader.
    pub(crate) fn wait_for_room(&mut self, held: usize) {
        self.room_awaited = Some(held);
    }

    pub(crate) fn on_damage(&self) -> OnDamage {
        self.on_damage
    }

    /// Takes what comes next: records up to the limits, a gap, or an event. An error, a gap or an event comes alone, and
    /// errors and gaps come after the records before them.
    fn take(
        &mut self,
        reader: ReaderKind,
        limits: TakeLimits,
        clock: &dyn Fn() -> Instant,
        into: &mut Vec<ConsumerRecord>,
    ) -> Result<Option<Taken>, ConsumeError> {
        while let Some(index) = self.handed_out.pop() {
            if let Some(mut partition) = self.partitions.update_at(index) {
                partition.mark_consumed(); // The reader is back, so it has consumed the last records.
            }
        }
        if let Some(event) = self.next_event(reader) {
            return Ok(Some(Taken::Event(event)));
        }
        if let Some(error) = self.fatal_error.clone().or_else(|| self.error.take()) {
            return Err(error);
        }
        if self.lease_end.is_some_and(|end| end <= clock()) {
            return Ok(None);
        }
        debug_assert!(0 < limits.records && into.is_empty(), "a call takes at least one record");
        self.calls.0 += 1;
        let mut limits = limits;
        let (ready, mut turns) = (self.partitions.ready_count(), 0);
        // A call without records ends only when no partition is ready, so that the next delivery wakes the reader.
        while (turns <= ready || into.is_empty())
            && let Some(index) = self.partitions.current_turn()
        {
            turns += 1;
            match self.take_from(index, &mut limits, clock, into)? {
                TurnEnd::NothingLeft => {
                    self.partitions.end_turn();
                    self.turn_left = TURN;
                }
                TurnEnd::Gap(gap) => return Ok(Some(Taken::Gap(gap))),
                TurnEnd::LimitReached => break,
            }
        }
        Ok(None)
    }

    /// Takes records of one partition and subtracts them from the limits.
    fn take_from(
        &mut self,
        index: PartitionIndex,
        limits: &mut TakeLimits,
        clock: &dyn Fn() -> Instant,
        into: &mut Vec<ConsumerRecord>,
    ) -> Result<TurnEnd, ConsumeError> {
        let taken = into.len();
        let open = self.partitions.held().open;
        let mut partition = self.partitions.update_at(index).expect("the turn is a known partition's");
        let open_elsewhere = open - partition.open_bytes();
        let all_consumed = !partition.has_unconsumed();
        let turn = PartitionTurn {
            partition: &mut partition,
            call: self.calls,
            on_damage: self.on_damage,
            clock,
            open_bytes_free: self.open_bytes_max.saturating_sub(open_elsewhere),
            turn_left: &mut self.turn_left,
            totals: &mut self.totals,
            limits,
        };
        let end = turn.run(into);
        if taken < into.len() || matches!(end, Ok(TurnEnd::Gap(_))) {
            self.handed_out.push(index);
        } else if all_consumed {
            partition.mark_consumed(); // The position passed offsets without records.
        }
        end
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test is the shell of what it tests")]
mod tests;
