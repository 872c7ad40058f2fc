//! All partitions that a consumer reads, and whose turn it is. Shared by the reader, the fetcher and the membership.

use super::slot::{OnDamage, Slot};
use crate::error::ConsumeError;
use crate::record::{ConsumerRecord, TopicPartition};
use grower_protocol::ids::{Offset, TopicId, TopicName};
use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::task::Waker;
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
}

/// The partitions by name.
#[derive(Debug)]
pub(super) struct Shelf {
    pub(super) slots: BTreeMap<TopicPartition, Slot>,
    /// How many partitions each topic had when it was first seen: those that come later start at their beginning.
    pub(super) first_counts: HashMap<TopicName, u32>,
    on_damage: OnDamage,
    versions: u64,
    turn: Option<TopicPartition>,
    turn_left: usize,
    /// Handed out by the last call.
    handed_out: Vec<TopicPartition>,
    trouble: Option<ConsumeError>,
    reader: Option<Waker>,
}

impl Shared {
    pub(super) fn new(on_damage: OnDamage) -> Self {
        let shelf = Shelf {
            slots: BTreeMap::new(),
            first_counts: HashMap::new(),
            on_damage,
            versions: 0,
            turn: None,
            turn_left: TURN,
            handed_out: Vec::new(),
            trouble: None,
            reader: None,
        };
        Self { shelf: Mutex::new(shelf), fetchable: Notify::new() }
    }

    /// Short, and never across I/O.
    pub(super) fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock()
    }

    /// Takes up to `max` records, or leaves `waker` to be woken when there are some.
    pub(super) fn take(&self, max: usize, waker: &Waker, into: &mut Vec<ConsumerRecord>) -> Result<(), ConsumeError> {
        let mut shelf = self.lock();
        let held = shelf.buffered_bytes();
        let result = shelf.take(max, Instant::now(), into);
        if result.is_ok() && into.is_empty() {
            shelf.reader = Some(waker.clone());
        }
        let released = shelf.buffered_bytes() < held || result.is_err() || into.is_empty();
        drop(shelf);
        if released {
            self.fetchable.notify_one();
        }
        result
    }

    /// Changes one partition, if it is still the one that was meant, and wakes the reader if there is something for it.
    pub(super) fn with<T>(
        &self,
        place: &TopicPartition,
        version: u64,
        change: impl FnOnce(&mut Slot, OnDamage) -> T,
    ) -> Option<T> {
        let mut shelf = self.lock();
        let on_damage = shelf.on_damage;
        let slot = shelf.slots.get_mut(place).filter(|slot| slot.version == version)?;
        let result = change(slot, on_damage);
        let reader = if slot.has_something() { shelf.reader.take() } else { None };
        drop(shelf);
        reader.into_iter().for_each(Waker::wake);
        self.fetchable.notify_one();
        Some(result)
    }

    /// Tells the reader what is wrong with all of it.
    pub(super) fn trouble(&self, error: ConsumeError) {
        let mut shelf = self.lock();
        shelf.trouble = Some(error);
        let reader = shelf.reader.take();
        drop(shelf);
        reader.into_iter().for_each(Waker::wake);
    }
}

impl Shelf {
    /// Puts a partition there whose start is not known yet; returns its version.
    pub(super) fn add(&mut self, place: TopicPartition, topic: TopicId) -> u64 {
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

    pub(super) fn buffered_bytes(&self) -> usize {
        self.slots.values().map(Slot::buffered_bytes).sum()
    }

    fn next_version(&mut self) -> u64 {
        self.versions += 1;
        self.versions
    }

    /// Up to `max` records. An error comes alone, after the records before it.
    fn take(&mut self, max: usize, now: Instant, into: &mut Vec<ConsumerRecord>) -> Result<(), ConsumeError> {
        for place in std::mem::take(&mut self.handed_out) {
            if let Some(slot) = self.slots.get_mut(&place) {
                slot.consumed = slot.position; // The reader came back: it is done with what it got.
            }
        }
        if let Some(error) = self.trouble.take() {
            return Err(error);
        }
        for _ in 0..=self.slots.len() {
            let Some(place) = self.whose_turn() else { return Ok(()) };
            let Some(slot) = self.slots.get_mut(&place) else { return Ok(()) };
            while into.len() < max && 0 < self.turn_left {
                match slot.next(self.on_damage, now) {
                    Some(Ok(record)) => into.push(record),
                    Some(Err(error)) if into.is_empty() => return Err(error),
                    Some(Err(error)) => {
                        slot.troubled(error);
                        break;
                    }
                    None => break,
                }
                self.turn_left -= 1;
                if self.handed_out.last() != Some(&place) {
                    self.handed_out.push(place.clone());
                }
            }
            if into.len() == max && 0 < self.turn_left {
                return Ok(());
            }
            self.pass_on(&place);
            if into.len() == max {
                return Ok(());
            }
        }
        Ok(())
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
