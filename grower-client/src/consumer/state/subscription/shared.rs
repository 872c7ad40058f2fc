//! The one lock of a consumer, and how its reader and its tasks wake each other.

use super::{SubscriptionState, TakeLimits};
use crate::consumer::settings::OnDamage;
use crate::consumer::state::gap::{Gap, GapRule, OnGap};
use crate::consumer::state::partition::{FetchVersion, PartitionFetchState};
use crate::error::ConsumeError;
use crate::record::{ConsumerRecord, TopicPartition};
use parking_lot::{Mutex, MutexGuard};
use std::task::Waker;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// What the tasks of a consumer share.
pub(crate) struct SharedSubscription {
    subscription: Mutex<SubscriptionState>,
    /// There may be something to fetch.
    pub(crate) fetchable: Notify,
    /// The reader came back: it waits, or it is done with what it got.
    back: Notify,
    on_gap: GapRule,
}

impl SharedSubscription {
    pub(crate) fn new(on_damage: OnDamage, on_gap: GapRule, open_bytes_max: usize) -> Self {
        let subscription = SubscriptionState::new(on_damage, open_bytes_max);
        Self { subscription: Mutex::new(subscription), fetchable: Notify::new(), back: Notify::new(), on_gap }
    }

    /// Short, and never across I/O.
    pub(crate) fn lock(&self) -> MutexGuard<'_, SubscriptionState> {
        self.subscription.lock()
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
        let mut subscription = self.lock();
        let now = Instant::now();
        let result = subscription.take(limits, now, into);
        let waits = matches!(result, Ok(None)) && into.is_empty();
        if waits {
            subscription.reader = Some(waker.clone());
        }
        subscription.idle_since = (!waits).then_some(now);
        let made_room = std::mem::take(&mut subscription.made_room);
        let is_awaited = std::mem::take(&mut subscription.reader_is_awaited);
        drop(subscription);
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
        topic_partition: &TopicPartition,
        version: FetchVersion,
        change: impl FnOnce(&mut PartitionFetchState, OnDamage) -> T,
    ) -> Option<T> {
        let mut subscription = self.lock();
        let on_damage = subscription.on_damage;
        let partition = subscription.current(topic_partition, version)?;
        let open_before = partition.open_bytes();
        let result = change(partition, on_damage);
        let (open, has_something) = (partition.open_bytes(), partition.has_something());
        subscription.open_bytes = subscription.open_bytes + open - open_before;
        let reader = if has_something { subscription.call_reader() } else { None };
        drop(subscription);
        reader.into_iter().for_each(Waker::wake);
        self.fetchable.notify_one();
        Some(result)
    }

    /// Tells the reader what is wrong with all of it.
    pub(crate) fn set_error(&self, error: ConsumeError) {
        self.change(|subscription| subscription.error = Some(error));
    }

    /// Tells the reader, each time it comes, why nothing will be read any more.
    pub(crate) fn set_fatal_error(&self, error: ConsumeError) {
        self.change(|subscription| subscription.fatal_error = Some(error));
    }

    /// Hands out records until then, or until this is called again.
    pub(crate) fn extend_lease(&self, end: Instant) {
        self.change(|subscription| subscription.lease_end = Some(end));
    }

    /// Changes something and has the reader look.
    fn change(&self, change: impl FnOnce(&mut SubscriptionState)) {
        let mut subscription = self.lock();
        change(&mut subscription);
        let reader = subscription.call_reader();
        drop(subscription);
        reader.into_iter().for_each(Waker::wake);
    }

    /// For how long nobody came for what is there.
    pub(crate) fn idle_for(&self) -> Duration {
        self.lock().idle_since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Waits until the reader waits.
    pub(crate) async fn reader_is_back(&self) {
        self.reader_brings(|subscription| subscription.idle_since.is_none()).await;
    }

    /// Waits until the reader is done with what it got of the partitions that are being given up.
    pub(crate) async fn reader_is_done(&self) {
        self.reader_brings(|subscription| {
            subscription.partitions.values().all(|partition| !partition.is_revoking || !partition.has_unconsumed())
        })
        .await;
    }

    /// Waits for what only the reader's next calls can bring about.
    async fn reader_brings(&self, is_so: impl Fn(&SubscriptionState) -> bool) {
        loop {
            let back = self.back.notified();
            {
                let mut subscription = self.lock();
                if is_so(&subscription) {
                    return;
                }
                subscription.reader_is_awaited = true;
            }
            back.await;
        }
    }
}
