//! Drives the state of a session with any actions, and checks it against a client that reads each partition by itself.
//! For tests and fuzzing.
//!
//! The client takes in answers in their order, loses some, and resumes. At the end it must have read each partition in
//! order and without a gap, and each slot must have sent its first part. After each action every slot is ready, waits
//! or has ended.

use super::changes::{SessionRequest, SlotChanges};
use super::gather::GatheredParts;
use super::ready::ReadySlots;
use super::source::{SlotRead, SlotSource};
use super::state::{SessionState, SlotProgress};
use crate::api::partition_read::{PartitionRead, ReadLimits};
use crate::partition::{FetchWaker, WaitingFetches};
use grower_protocol::ids::{LeaderEpoch, Offset, PartitionId, TopicId};
use grower_protocol::message::{
    AddedSlot, ErrorCode, Failure, FetchPartition, FetchSessionId, FetchSlot, FetchedPartition, FetchedRecords, Part,
    SessionSequence, SlotPart,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

const PARTITIONS: usize = 5;

/// A log of batches with one record each.
#[derive(Clone, Default)]
struct FakeLog {
    sizes: Vec<usize>,
    start: usize,
    /// This batch is damaged.
    damaged: Option<usize>,
    deleted: bool,
    offline: bool,
    /// Those of the current object. A partition that comes back from offline has another one.
    fetches: Arc<WaitingFetches>,
}

impl FakeLog {
    fn read(&self, from: usize, limits: ReadLimits) -> Part<PartitionRead> {
        if self.deleted {
            return Err(Failure::new(ErrorCode::UnknownTopicId, "deleted"));
        }
        if self.offline {
            return Err(Failure::new(ErrorCode::PartitionOffline, "offline"));
        }
        if from < self.start || self.sizes.len() < from {
            return Err(Failure::new(ErrorCode::OffsetOutOfRange, "out of range"));
        }
        let mut fetched = FetchedRecords {
            length: 0,
            high_watermark: offset(self.sizes.len()),
            log_start: offset(self.start),
            damaged: None,
        };
        if self.damaged == Some(from) && from < self.sizes.len() {
            fetched.damaged = Some((offset(from), offset(from + 1)));
            return Ok(PartitionRead::without_records(FetchedPartition::Records(fetched)));
        }
        let (mut next, mut length) = (from, 0);
        while next < self.sizes.len() && self.damaged != Some(next) {
            if next != from && limits.target < length + self.sizes[next] {
                break;
            }
            length += self.sizes[next];
            next += 1;
        }
        if limits.max.is_some_and(|max| max < length) {
            let fetched = FetchedPartition::Records(fetched);
            return Ok(PartitionRead { too_large: true, ..PartitionRead::without_records(fetched) });
        }
        fetched.length = length as u32;
        let next = (from < next).then_some((offset(next), LeaderEpoch::new(1)));
        Ok(PartitionRead { next, ..PartitionRead::without_records(FetchedPartition::Records(fetched)) })
    }
}

/// The partitions.
struct FakeSource {
    logs: Vec<FakeLog>,
}

impl FakeSource {
    /// Wakes what waits for a log that changed. A deleted topic is first not found any more, and ends later.
    fn wake(&self, changed: &FakeLog) {
        if changed.offline {
            changed.fetches.end();
        } else {
            changed.fetches.wake_below(offset(changed.sizes.len()));
        }
    }

    fn end_deleted(&self) {
        self.logs.iter().filter(|log| log.deleted).for_each(|log| log.fetches.end());
    }
}

impl SlotSource for FakeSource {
    fn read(&self, wanted: &FetchPartition, limits: ReadLimits) -> Part<SlotRead> {
        let log = &self.logs[log_of(wanted)];
        let read = log.read(wanted.offset.value() as usize, limits)?;
        Ok(SlotRead { read, fetches: log.fetches.clone() })
    }
}

/// A client: what it has read, and the answers on their way to it.
#[derive(Default)]
struct FakeClient {
    /// The log and position of each slot that was not dropped; none once it has ended.
    slots: BTreeMap<FetchSlot, (usize, Option<usize>)>,
    not_sent_yet: BTreeSet<FetchSlot>,
    answers: VecDeque<(u64, Vec<SlotPart>)>,
    received_below: u64,
}

impl FakeClient {
    fn take_in(&mut self, logs: &[FakeLog]) {
        let Some((number, parts)) = self.answers.pop_front() else { return };
        self.received_below = number + 1;
        for part in parts {
            let Some((log, position)) = self.slots.get_mut(&part.slot) else { continue }; // Dropped since.
            let at = position.expect("a slot that ended sends no parts");
            assert_eq!(part.offset.value() as usize, at, "{:?} skips or repeats records", part.slot);
            self.not_sent_yet.remove(&part.slot);
            *position = match part.fetched {
                Ok(FetchedPartition::Records(FetchedRecords { length, damaged: None, .. })) => {
                    let mut next = (at, 0);
                    while next.1 < length as usize {
                        next = (next.0 + 1, next.1 + logs[*log].sizes[next.0]);
                    }
                    assert_eq!(next.1, length as usize, "a part has whole batches");
                    Some(next.0)
                }
                _ => None,
            };
        }
    }
}

struct SessionWorld<'a> {
    input: std::slice::Iter<'a, u8>,
    source: FakeSource,
    state: SessionState,
    waiting: VecDeque<(u64, GatheredParts)>,
    client: FakeClient,
    next_slot: u32,
}

/// Runs actions, one after the other. Panics if a promise breaks.
pub fn fetch_session_actions(input: &[u8]) {
    let ready = Arc::new(ReadySlots::default());
    let mut world = SessionWorld {
        input: input.iter(),
        source: FakeSource { logs: (0..PARTITIONS).map(|_| FakeLog::default()).collect() },
        state: SessionState::new(ready),
        waiting: VecDeque::new(),
        client: FakeClient::default(),
        next_slot: 0,
    };
    world.state.next_number = 1;
    while let Some(action) = world.input.next() {
        world.act(*action);
        world.check();
    }
    world.read_to_the_end();
}

impl SessionWorld<'_> {
    fn byte(&mut self) -> usize {
        usize::from(self.input.next().copied().unwrap_or_default())
    }

    fn act(&mut self, action: u8) {
        match action % 10 {
            0 | 1 => self.change_log(|log, byte| log.sizes.extend(vec![1 + byte * 7; 1 + byte % 3])),
            2 => self.change_log(|log, byte| match byte % 6 {
                0 => log.deleted = true,
                1 => *log = FakeLog::default(),
                2 => log.damaged = log.sizes.len().checked_sub(byte / 6 % 4),
                3 => log.offline = true,
                4 => (log.offline, log.fetches) = (false, Arc::default()),
                _ => log.start = log.sizes.len().min(log.start + 1),
            }),
            3 | 4 => self.request(false),
            5 => self.gather_first(),
            6 => self.answer_first(),
            7 | 8 => self.client.take_in(&self.source.logs),
            _ => self.request(true),
        }
    }

    fn change_log(&mut self, change: impl FnOnce(&mut FakeLog, usize)) {
        let (at, byte) = (self.byte() % self.source.logs.len(), self.byte());
        self.source.end_deleted();
        let mut log = self.source.logs[at].clone();
        change(&mut log, byte);
        self.source.wake(&log);
        if log.sizes.len() < self.source.logs[at].sizes.len() {
            self.source.logs.push(log); // A topic that is created again has another id.
            self.source.logs[at].deleted = true;
            return;
        }
        let before = std::mem::replace(&mut self.source.logs[at], log);
        if !Arc::ptr_eq(&before.fetches, &self.source.logs[at].fetches) {
            before.fetches.end();
        }
    }

    /// Sends a request with one change, and one that is refused before it.
    fn request(&mut self, resumes: bool) {
        let (log, byte) = (self.byte() % self.source.logs.len(), self.byte());
        let at = if byte % 2 == 0 { 0 } else { self.source.logs[log].sizes.len() };
        let slot = FetchSlot(self.next_slot);
        let wanted = FetchPartition {
            topic: TopicId::from_random([1; 16]),
            partition: PartitionId::new(log as u32),
            offset: offset(at),
            max_bytes: 1 + (byte as u32) * 5,
            leader_epoch: None,
            last_epoch: None,
        };
        let add = (byte % 3 != 0).then_some(AddedSlot { slot, partition: wanted });
        let drop = (byte % 5 == 0).then_some(FetchSlot((byte as u32) % (self.next_slot + 1)));
        let received_below = self.client.received_below;
        let number = self.state.next_number + if resumes { byte as u64 % 3 } else { 0 };
        let sequence = SessionSequence { session: FetchSessionId(0), number, received_below };
        let changes = SlotChanges { drop: drop.as_slice(), add: add.as_slice() };
        let request = SessionRequest { sequence, resumes, wants_records: byte % 7 != 0, changes };
        self.send_wrong(&request, byte);
        if self.check_request(&request) {
            self.next_slot += add.iter().len() as u32;
            self.client.slots.extend(add.map(|added| (added.slot, (log, Some(at)))));
            self.client.not_sent_yet.extend(add.map(|added| added.slot));
            drop.map(|slot| (self.client.slots.remove(&slot), self.client.not_sent_yet.remove(&slot)));
            self.send(&request);
        }
    }

    fn check_request(&self, request: &SessionRequest<'_>) -> bool {
        let answered_below = self.waiting.front().map_or(self.state.next_number, |(number, _)| *number);
        self.state.check_state(request, answered_below).is_ok()
    }

    fn send_wrong(&self, right: &SessionRequest<'_>, byte: usize) {
        let mut wrong = *right;
        match byte % 4 {
            0 => wrong.sequence.number = self.state.next_number - 1,
            1 => wrong.sequence.number = u64::MAX,
            2 => wrong.sequence.received_below = self.state.next_number + 1,
            _ => wrong.sequence.received_below = self.state.received_below.wrapping_sub(1),
        }
        assert!(!self.check_request(&wrong), "{wrong:?} is taken");
    }

    fn send(&mut self, request: &SessionRequest<'_>) {
        if request.resumes {
            while let Some((_, gathered)) = self.waiting.pop_back() {
                self.state.rewind(gathered.rewind_points);
            }
            self.client.answers.clear();
        }
        self.state.apply(request);
        if request.wants_records {
            self.waiting.push_back((request.sequence.number, GatheredParts::default()));
        }
    }

    fn gather_first(&mut self) {
        let most = 1 + self.byte() * 20;
        let Some((_, gathered)) = self.waiting.front_mut() else { return };
        let before = (gathered.parts.len(), gathered.bytes);
        self.state.gather(&self.source, most, gathered);
        let first_alone = before.1 == 0 && gathered.parts.iter().filter(|part| part.fetched.is_ok()).count() == 1;
        assert!(gathered.bytes <= most.max(before.1) || first_alone || before.0 < gathered.parts.len());
        assert!(gathered.full || self.state.ready.len() == 0, "a slot is ready although the answer is not full");
    }

    fn answer_first(&mut self) {
        let Some((number, gathered)) = self.waiting.pop_front() else { return };
        if !gathered.parts.is_empty() {
            self.client.answers.push_back((number, gathered.parts));
        }
        self.state.record_answer(number, gathered.rewind_points);
    }

    /// Checks that each slot is ready, waits or has ended, and that the counts are right.
    fn check(&self) {
        let queued = self.state.ready.all();
        let waker: Arc<dyn FetchWaker> = self.state.ready.clone();
        let mut waiting = 0;
        let ready: BTreeSet<_> = queued.iter().copied().collect();
        assert_eq!(queued.len(), ready.len(), "a slot is ready twice: {queued:?}");
        for (slot, state) in &self.state.slots {
            let queued = match &state.progress {
                SlotProgress::Ready => true,
                SlotProgress::Waiting(fetches) => !fetches.holds(&waker, slot.0),
                SlotProgress::Ended => false,
            };
            assert_eq!(queued, ready.contains(slot), "{slot:?} is either ready or waits");
            waiting += usize::from(matches!(state.progress, SlotProgress::Waiting(_)) && !queued);
        }
        let registered: usize = self.source.logs.iter().map(|log| log.fetches.len()).sum();
        assert_eq!(registered, waiting, "slots that wait with a partition, without dropped ones");
        let dropped_in_queue = queued.iter().filter(|slot| !self.state.slots.contains_key(slot)).count();
        assert_eq!(dropped_in_queue, self.state.dropped_in_queue, "dropped slots in the queue");
        let rewind_points: usize = self.state.unacknowledged.iter().map(|answer| answer.rewind_points.len()).sum();
        assert_eq!(rewind_points, self.state.rewind_point_count);
    }

    /// Reads until no slot is ready, and checks that nothing was left out.
    fn read_to_the_end(&mut self) {
        self.source.end_deleted();
        loop {
            while !self.waiting.is_empty() {
                self.answer_first();
            }
            while !self.client.answers.is_empty() {
                self.client.take_in(&self.source.logs);
            }
            if self.state.ready.len() == 0 {
                break;
            }
            let sequence = SessionSequence {
                session: FetchSessionId(0),
                number: self.state.next_number,
                received_below: self.client.received_below,
            };
            let changes = SlotChanges { drop: &[], add: &[] };
            let request = SessionRequest { sequence, resumes: false, wants_records: true, changes };
            assert!(self.check_request(&request), "a client that takes in everything is served");
            self.send(&request);
            self.gather_first();
            self.check();
        }
        assert_eq!(self.client.not_sent_yet, BTreeSet::new(), "slots without a first part");
        for (slot, (log, position)) in &self.client.slots {
            let Some(position) = position else { continue };
            let log = &self.source.logs[*log];
            let end = if log.deleted || log.offline { None } else { Some(log.sizes.len()) };
            assert_eq!(Some(*position), end, "{slot:?} was not read to its end");
        }
    }
}

fn offset(at: usize) -> Offset {
    Offset::new(at as u64)
}

fn log_of(wanted: &FetchPartition) -> usize {
    wanted.partition.value() as usize
}
