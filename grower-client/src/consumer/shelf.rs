//! All partitions that a consumer reads, and whose turn it is. Shared by the reader, the fetcher and the membership.

use super::slot::{OnDamage, Slot, Version};
use crate::error::ConsumeError;
use crate::record::{ConsumerRecord, TopicPartition};
use grower_protocol::ids::{Offset, TopicId, TopicName};
use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::task::Waker;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// A partition has its turn for this many records, if it has them.
const TURN: usize = 500;

/// What the tasks of a consumer share.
#[derive(Debug)]
pub(super) struct Shared {
    shelf: Mutex<Shelf>,
    /// There may be something to fetch.
    pub(super) fetchable: Notify,
    /// The reader came back after it was missed.
    back: Notify,
}

/// The partitions by name.
#[derive(Debug)]
pub(super) struct Shelf {
    pub(super) slots: BTreeMap<TopicPartition, Slot>,
    /// How many partitions each topic had when it was first seen: those that come later start at their beginning.
    pub(super) first_counts: HashMap<TopicName, u32>,
    on_damage: OnDamage,
    moves: u64,
    turn: Option<TopicPartition>,
    turn_left: usize,
    /// Handed out by the last call.
    handed_out: Vec<TopicPartition>,
    trouble: Option<ConsumeError>,
    /// Nothing will be read any more.
    ended: Option<ConsumeError>,
    /// Nothing is handed out from then on, until this is put off.
    until: Option<Instant>,
    /// Since when there was something for a reader that did not come; none while it waits.
    idle_since: Option<Instant>,
    /// There is something to fetch that there was not before.
    made_room: bool,
    reader: Option<Waker>,
}

impl Shared {
    pub(super) fn new(on_damage: OnDamage) -> Self {
        let shelf = Shelf {
            slots: BTreeMap::new(),
            first_counts: HashMap::new(),
            on_damage,
            moves: 0,
            turn: None,
            turn_left: TURN,
            handed_out: Vec::new(),
            trouble: None,
            ended: None,
            until: None,
            idle_since: Some(Instant::now()),
            made_room: false,
            reader: None,
        };
        Self { shelf: Mutex::new(shelf), fetchable: Notify::new(), back: Notify::new() }
    }

    /// Short, and never across I/O.
    pub(super) fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock()
    }

    /// Takes up to `max` records, or leaves `waker` to be woken when there are some.
    pub(super) fn take(&self, max: usize, waker: &Waker, into: &mut Vec<ConsumerRecord>) -> Result<(), ConsumeError> {
        let mut shelf = self.lock();
        let now = Instant::now();
        let result = shelf.take(max, now, into);
        let waits = result.is_ok() && into.is_empty();
        if waits {
            shelf.reader = Some(waker.clone());
        }
        shelf.idle_since = (!waits).then_some(now);
        let made_room = std::mem::take(&mut shelf.made_room);
        drop(shelf);
        if waits {
            self.back.notify_waiters();
        }
        if made_room {
            self.fetchable.notify_one();
        }
        result
    }

    /// Changes one partition, if it is still the one that was meant, and wakes the reader if there is something for it.
    pub(super) fn with<T>(
        &self,
        place: &TopicPartition,
        version: Version,
        change: impl FnOnce(&mut Slot, OnDamage) -> T,
    ) -> Option<T> {
        let mut shelf = self.lock();
        let on_damage = shelf.on_damage;
        let slot = shelf.current(place, version)?;
        let result = change(slot, on_damage);
        let reader = if slot.has_something() { shelf.call_reader() } else { None };
        drop(shelf);
        reader.into_iter().for_each(Waker::wake);
        self.fetchable.notify_one();
        Some(result)
    }

    /// Tells the reader what is wrong with all of it.
    pub(super) fn trouble(&self, error: ConsumeError) {
        self.change(|shelf| shelf.trouble = Some(error));
    }

    /// Tells the reader, each time it comes, why nothing will be read any more.
    pub(super) fn end(&self, error: ConsumeError) {
        self.change(|shelf| shelf.ended = Some(error));
    }

    /// Hands out records until then, or until this is called again.
    pub(super) fn read_until(&self, end: Instant) {
        self.change(|shelf| shelf.until = Some(end));
    }

    /// Changes something and has the reader look.
    fn change(&self, change: impl FnOnce(&mut Shelf)) {
        let mut shelf = self.lock();
        change(&mut shelf);
        let reader = shelf.call_reader();
        drop(shelf);
        reader.into_iter().for_each(Waker::wake);
    }

    /// For how long nobody came for what is there.
    pub(super) fn idle_for(&self) -> Duration {
        self.lock().idle_since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Waits until the reader waits.
    pub(super) async fn reader_is_back(&self) {
        loop {
            let back = self.back.notified();
            if self.lock().idle_since.is_none() {
                return;
            }
            back.await;
        }
    }
}

impl Shelf {
    /// Puts a partition there whose start is not known yet; returns its version.
    pub(super) fn add(&mut self, place: TopicPartition, topic: TopicId) -> Version {
        let version = self.next_version();
        self.slots.insert(place.clone(), Slot::new(place, topic, version));
        version
    }

    /// Goes on at `offset`, whatever was before.
    pub(super) fn seek(&mut self, place: &TopicPartition, offset: Offset) -> Result<(), ConsumeError> {
        let version = self.next_version();
        let slot = self.slot(place)?;
        slot.move_to(offset, version);
        slot.touched = true;
        Ok(())
    }

    pub(super) fn slot(&mut self, place: &TopicPartition) -> Result<&mut Slot, ConsumeError> {
        self.slots.get_mut(place).ok_or_else(|| ConsumeError::NotAssigned { place: place.clone() })
    }

    /// The partition, if it is still the one that was meant.
    pub(super) fn current(&mut self, place: &TopicPartition, version: Version) -> Option<&mut Slot> {
        self.slots.get_mut(place).filter(|slot| slot.version == version)
    }

    fn next_version(&mut self) -> Version {
        self.moves += 1;
        Version::of_move(self.moves)
    }

    /// Up to `max` records. An error comes alone, after the records before it.
    fn take(&mut self, max: usize, now: Instant, into: &mut Vec<ConsumerRecord>) -> Result<(), ConsumeError> {
        for place in std::mem::take(&mut self.handed_out) {
            if let Some(slot) = self.slots.get_mut(&place) {
                slot.consumed = slot.position; // The reader came back: it is done with what it got.
            }
        }
        if let Some(error) = self.ended.clone().or_else(|| self.trouble.take()) {
            return Err(error);
        }
        if self.until.is_some_and(|end| end <= now) {
            return Ok(());
        }
        for _ in 0..=self.slots.len() {
            let Some(place) = self.whose_turn() else { return Ok(()) };
            let spent = self.take_from(&place, max, now, into)?;
            if spent {
                self.pass_on(&place);
            }
            if into.len() == max {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Takes from one partition; true if it has no more for now, or its turn is over.
    fn take_from(
        &mut self,
        place: &TopicPartition,
        max: usize,
        now: Instant,
        into: &mut Vec<ConsumerRecord>,
    ) -> Result<bool, ConsumeError> {
        let Some(slot) = self.slots.get_mut(place) else { return Ok(true) };
        let (before, held) = (into.len(), slot.held_bytes());
        let mut spent = false;
        while into.len() < max && !spent {
            match slot.next(self.on_damage, now) {
                Some(Ok(record)) => into.push(record),
                Some(Err(error)) if into.is_empty() => {
                    self.made_room = true;
                    return Err(error);
                }
                Some(Err(error)) => {
                    slot.troubled(error); // Next time, alone.
                    spent = true;
                }
                None => spent = true,
            }
            self.turn_left = self.turn_left.saturating_sub(1);
            spent |= self.turn_left == 0;
        }
        self.made_room |= slot.held_bytes() < held;
        if before < into.len() {
            self.handed_out.push(place.clone());
        }
        Ok(spent)
    }

    /// From here on the reader is expected.
    fn call_reader(&mut self) -> Option<Waker> {
        let reader = self.reader.take()?;
        self.idle_since = Some(Instant::now());
        Some(reader)
    }

    fn whose_turn(&self) -> Option<TopicPartition> {
        let from = self.turn.as_ref().map_or(Bound::Unbounded, Bound::Included);
        let mut slots = self.slots.range::<TopicPartition, _>((from, Bound::Unbounded));
        slots.next().or_else(|| self.slots.first_key_value()).map(|(place, _)| place.clone())
    }

    fn pass_on(&mut self, place: &TopicPartition) {
        let mut later = self.slots.range::<TopicPartition, _>((Bound::Excluded(place), Bound::Unbounded));
        self.turn = later.next().map(|(place, _)| place.clone());
        self.turn_left = TURN;
    }
}

#[cfg(test)]
mod tests;
