//! All partitions of a consumer, and their turns. The reader, the fetcher and the membership share this state.

mod shared;
mod turn;

pub(crate) use shared::SharedSubscription;

use super::offset_and_epoch::OffsetAndEpoch;
use super::partition::{CallNumber, FetchVersion, PartitionFetchState};
use crate::consumer::settings::OnDamage;
use crate::error::ConsumeError;
use crate::gap::Gap;
use crate::record::{ConsumerRecord, TopicPartition};
use grower_protocol::ids::{Offset, TopicId, TopicName};
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::task::Waker;
use tokio::time::Instant;
use turn::{PartitionTurn, TURN, TurnEnd};

/// The limits of one call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TakeLimits {
    pub(crate) records: usize,
    /// Counts whole batches, since each record keeps its batch. The batch that reaches the limit is handed out
    /// entirely.
    pub(crate) bytes: usize,
}

/// The state of all partitions of a consumer.
#[derive(Debug)]
pub(crate) struct SubscriptionState {
    pub(crate) partitions: BTreeMap<TopicPartition, PartitionFetchState>,
    /// The next offsets of revoked partitions with records that were handed out but not committed.
    pub(crate) revoked_uncommitted: BTreeMap<TopicPartition, Offset>,
    /// The id and number of partitions of each topic at its first lookup: later partitions start at their beginning.
    pub(crate) first_seen: HashMap<TopicName, (Option<TopicId>, u32)>,
    on_damage: OnDamage,
    /// The memory of open batches, above which a turn lasts until its batch ends.
    open_bytes_max: usize,
    /// The memory of all open batches.
    open_bytes: usize,
    calls: CallNumber,
    moves: u64,
    turn: Option<TopicPartition>,
    turn_left: usize,
    /// The partitions of the last call's records.
    handed_out: Vec<TopicPartition>,
    error: Option<ConsumeError>,
    /// The reason for which the consumer reads no more.
    fatal_error: Option<ConsumeError>,
    /// Nothing is handed out after this time, until the lease is extended.
    lease_end: Option<Instant>,
    /// The time since which the reader could have polled; `None` while it waits.
    idle_since: Option<Instant>,
    /// The last call freed memory, so more may be fetched.
    made_room: bool,
    reader: Option<Waker>,
    /// A task waits for a call of the reader.
    reader_is_awaited: bool,
}

impl SubscriptionState {
    fn new(on_damage: OnDamage, open_bytes_max: usize, now: Instant) -> Self {
        Self {
            partitions: BTreeMap::new(),
            revoked_uncommitted: BTreeMap::new(),
            first_seen: HashMap::new(),
            on_damage,
            open_bytes_max,
            open_bytes: 0,
            calls: CallNumber::default(),
            moves: 0,
            turn: None,
            turn_left: TURN,
            handed_out: Vec::new(),
            error: None,
            fatal_error: None,
            lease_end: None,
            idle_since: Some(now),
            made_room: false,
            reader: None,
            reader_is_awaited: false,
        }
    }

    /// Adds a partition with an unknown start; returns its version.
    pub(crate) fn add(&mut self, topic_partition: TopicPartition, topic: TopicId) -> FetchVersion {
        let version = self.next_version();
        let state = PartitionFetchState::new(topic_partition.clone(), topic, version);
        let earlier = self.partitions.insert(topic_partition, state);
        debug_assert!(earlier.is_none(), "a partition is added twice: {earlier:?}");
        version
    }

    /// Moves a partition to `offset`.
    pub(crate) fn seek(&mut self, topic_partition: &TopicPartition, offset: Offset) -> Result<(), ConsumeError> {
        let version = self.next_version();
        let partition = self.partition(topic_partition)?;
        let open = partition.open_bytes();
        partition.move_to(OffsetAndEpoch::of_unknown_epoch(offset), version);
        partition.has_progress = true;
        self.open_bytes -= open;
        self.check_memory();
        Ok(())
    }

    /// Checks the memory account of the open batches, in debug builds.
    fn check_memory(&self) {
        debug_assert_eq!(
            self.open_bytes,
            self.partitions.values().map(PartitionFetchState::open_bytes).sum::<usize>(),
            "the memory account of the open batches is wrong"
        );
    }

    /// Removes the partitions for which `stays` returns false.
    pub(crate) fn retain(&mut self, stays: impl FnMut(&TopicPartition, &mut PartitionFetchState) -> bool) {
        self.check_memory();
        self.partitions.retain(stays);
        self.open_bytes = self.partitions.values().map(PartitionFetchState::open_bytes).sum();
    }

    /// Records that the group has committed this offset.
    pub(crate) fn note_commit(&mut self, topic_partition: &TopicPartition, topic: TopicId, offset: Offset) {
        if let Some(partition) = self.partitions.get_mut(topic_partition).filter(|partition| partition.topic == topic) {
            partition.committed = Some(offset);
        }
        if self.revoked_uncommitted.get(topic_partition).is_some_and(|lost| *lost <= offset) {
            // The partition came back and its records were read again.
            self.revoked_uncommitted.remove(topic_partition);
        }
    }

    pub(crate) fn partition(
        &mut self,
        topic_partition: &TopicPartition,
    ) -> Result<&mut PartitionFetchState, ConsumeError> {
        self.partitions
            .get_mut(topic_partition)
            .ok_or_else(|| ConsumeError::NotAssigned { topic_partition: topic_partition.clone() })
    }

    /// Returns the partition if it has this version.
    pub(crate) fn current(
        &mut self,
        topic_partition: &TopicPartition,
        version: FetchVersion,
    ) -> Option<&mut PartitionFetchState> {
        self.partitions.get_mut(topic_partition).filter(|partition| partition.version == version)
    }

    fn next_version(&mut self) -> FetchVersion {
        self.moves += 1;
        FetchVersion::of_move(self.moves)
    }

    /// Takes records up to the limits, or the next gap. An error or a gap comes alone, after the records before it.
    fn take(
        &mut self,
        limits: TakeLimits,
        now: Instant,
        into: &mut Vec<ConsumerRecord>,
    ) -> Result<Option<Gap>, ConsumeError> {
        for topic_partition in std::mem::take(&mut self.handed_out) {
            if let Some(partition) = self.partitions.get_mut(&topic_partition) {
                partition.mark_consumed(); // The reader is back, so it has consumed the last records.
            }
        }
        if let Some(error) = self.fatal_error.clone().or_else(|| self.error.take()) {
            return Err(error);
        }
        if self.lease_end.is_some_and(|end| end <= now) {
            return Ok(None);
        }
        debug_assert!(0 < limits.records && into.is_empty(), "a call takes at least one record");
        self.calls.0 += 1;
        let mut limits = limits;
        for _ in 0..=self.partitions.len() {
            let Some(topic_partition) = self.current_turn() else { return Ok(None) };
            match self.take_from(&topic_partition, &mut limits, now, into)? {
                TurnEnd::NothingLeft => self.end_turn(&topic_partition),
                TurnEnd::Gap(gap) => return Ok(Some(gap)),
                TurnEnd::LimitReached => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Takes records of one partition and subtracts them from the limits.
    fn take_from(
        &mut self,
        topic_partition: &TopicPartition,
        limits: &mut TakeLimits,
        now: Instant,
        into: &mut Vec<ConsumerRecord>,
    ) -> Result<TurnEnd, ConsumeError> {
        let partition = self.partitions.get_mut(topic_partition).expect("the turn is a known partition's");
        let (taken, held) = (into.len(), partition.held_bytes());
        let open_elsewhere = self.open_bytes - partition.open_bytes();
        let turn = PartitionTurn {
            partition,
            call: self.calls,
            on_damage: self.on_damage,
            now,
            open_bytes_free: self.open_bytes_max.saturating_sub(open_elsewhere),
            turn_left: &mut self.turn_left,
            limits,
        };
        let end = turn.run(into);
        self.made_room |= end.is_err() || partition.held_bytes() < held;
        self.open_bytes = open_elsewhere + partition.open_bytes();
        self.check_memory();
        if taken < into.len() || matches!(end, Ok(TurnEnd::Gap(_))) {
            self.handed_out.push(topic_partition.clone());
        }
        end
    }

    /// Takes the waiting reader's waker. From now on the reader is expected to poll.
    fn take_waiting_reader(&mut self, now: Instant) -> Option<Waker> {
        let reader = self.reader.take()?;
        self.idle_since = Some(now);
        Some(reader)
    }

    fn current_turn(&self) -> Option<TopicPartition> {
        let from = self.turn.as_ref().map_or(Bound::Unbounded, Bound::Included);
        let mut partitions = self.partitions.range::<TopicPartition, _>((from, Bound::Unbounded));
        partitions
            .next()
            .or_else(|| self.partitions.first_key_value())
            .map(|(topic_partition, _)| topic_partition.clone())
    }

    fn end_turn(&mut self, topic_partition: &TopicPartition) {
        let mut later =
            self.partitions.range::<TopicPartition, _>((Bound::Excluded(topic_partition), Bound::Unbounded));
        self.turn = later.next().map(|(topic_partition, _)| topic_partition.clone());
        self.turn_left = TURN;
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test is the shell of what it tests")]
mod tests;
