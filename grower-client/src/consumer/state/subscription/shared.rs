//! The one lock of a consumer, and how its reader and its tasks wake each other.

use super::{Shelf, TakeLimits};
use crate::consumer::settings::OnDamage;
use crate::consumer::state::gap::{Gap, GapRule, OnGap};
use crate::consumer::state::partition::{Slot, Version};
use crate::error::ConsumeError;
use crate::record::{ConsumerRecord, TopicPartition};
use parking_lot::{Mutex, MutexGuard};
use std::task::Waker;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// What the tasks of a consumer share.
pub(crate) struct Shared {
    shelf: Mutex<Shelf>,
    /// There may be something to fetch.
    pub(crate) fetchable: Notify,
    /// The reader came back: it waits, or it is done with what it got.
    back: Notify,
    on_gap: GapRule,
}

impl Shared {
    pub(crate) fn new(on_damage: OnDamage, on_gap: GapRule, open_bytes_max: usize) -> Self {
        let shelf = Shelf::new(on_damage, open_bytes_max);
        Self { shelf: Mutex::new(shelf), fetchable: Notify::new(), back: Notify::new(), on_gap }
    }

    /// Short, and never across I/O.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock()
    }

    /// Takes records up to the limits, or leaves `waker` to be woken when there are some. A gap is told before what comes
    /// after it.
    pub(crate) fn take(
        &self,
        limits: TakeLimits,
        waker: &Waker,
        into: &mut Vec<ConsumerRecord>,
    ) -> Result<(), ConsumeError> {
        loop {
            let Some(gap) = self.take_up_to_gap(limits, waker, into)? else { return Ok(()) };
            gap.log();
            if (self.on_gap)(&gap) == OnGap::Report {
                return Err(ConsumeError::Gap(gap));
            }
        }
    }

    fn take_up_to_gap(
        &self,
        limits: TakeLimits,
        waker: &Waker,
        into: &mut Vec<ConsumerRecord>,
    ) -> Result<Option<Gap>, ConsumeError> {
        let mut shelf = self.lock();
        let now = Instant::now();
        let result = shelf.take(limits, now, into);
        let waits = matches!(result, Ok(None)) && into.is_empty();
        if waits {
            shelf.reader = Some(waker.clone());
        }
        shelf.idle_since = (!waits).then_some(now);
        let made_room = std::mem::take(&mut shelf.made_room);
        let is_awaited = std::mem::take(&mut shelf.reader_is_awaited);
        drop(shelf);
        if is_awaited {
            self.back.notify_waiters();
        }
        if made_room {
            self.fetchable.notify_one();
        }
        result
    }

    /// Changes one partition, if it is still the one that was meant, and wakes the reader if there is something for it.
    pub(crate) fn with<T>(
        &self,
        place: &TopicPartition,
        version: Version,
        change: impl FnOnce(&mut Slot, OnDamage) -> T,
    ) -> Option<T> {
        let mut shelf = self.lock();
        let on_damage = shelf.on_damage;
        let slot = shelf.current(place, version)?;
        let open_before = slot.open_bytes();
        let result = change(slot, on_damage);
        let (open, has_something) = (slot.open_bytes(), slot.has_something());
        shelf.open_bytes = shelf.open_bytes + open - open_before;
        let reader = if has_something { shelf.call_reader() } else { None };
        drop(shelf);
        reader.into_iter().for_each(Waker::wake);
        self.fetchable.notify_one();
        Some(result)
    }

    /// Tells the reader what is wrong with all of it.
    pub(crate) fn trouble(&self, error: ConsumeError) {
        self.change(|shelf| shelf.trouble = Some(error));
    }

    /// Tells the reader, each time it comes, why nothing will be read any more.
    pub(crate) fn end(&self, error: ConsumeError) {
        self.change(|shelf| shelf.ended = Some(error));
    }

    /// Hands out records until then, or until this is called again.
    pub(crate) fn read_until(&self, end: Instant) {
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
    pub(crate) fn idle_for(&self) -> Duration {
        self.lock().idle_since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Waits until the reader waits.
    pub(crate) async fn reader_is_back(&self) {
        self.reader_brings(|shelf| shelf.idle_since.is_none()).await;
    }

    /// Waits until the reader is done with what it got of the partitions that are being given up.
    pub(crate) async fn reader_is_done(&self) {
        self.reader_brings(|shelf| shelf.slots.values().all(|slot| !slot.given_up || !slot.is_in_hand())).await;
    }

    /// Waits for what only the reader's next calls can bring about.
    async fn reader_brings(&self, is_so: impl Fn(&Shelf) -> bool) {
        loop {
            let back = self.back.notified();
            {
                let mut shelf = self.lock();
                if is_so(&shelf) {
                    return;
                }
                shelf.reader_is_awaited = true;
            }
            back.await;
        }
    }
}
