//! The lock around a consumer's state, and the signals between its reader and its tasks.

use super::{SubscriptionState, TakeLimits};
use crate::consumer::settings::{GapRule, OnDamage, OnGap};
use crate::consumer::state::partition::{FetchVersion, PartitionFetchState};
use crate::error::ConsumeError;
use crate::gap::Gap;
use crate::record::{ConsumerRecord, TopicPartition};
use parking_lot::{Mutex, MutexGuard};
use std::task::Waker;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The state that the reader and the tasks of a consumer share.
pub(crate) struct SharedSubscription {
    subscription: Mutex<SubscriptionState>,
    /// Notified when there may be something to fetch.
    pub(crate) fetchable: Notify,
    /// Notified when the reader polls, if a task waits for that.
    reader_called: Notify,
    on_gap: GapRule,
}

impl SharedSubscription {
    pub(crate) fn new(on_damage: OnDamage, on_gap: GapRule, open_bytes_max: usize, now: Instant) -> Self {
        let subscription = SubscriptionState::new(on_damage, open_bytes_max, now);
        Self { subscription: Mutex::new(subscription), fetchable: Notify::new(), reader_called: Notify::new(), on_gap }
    }

    /// Locks the state. Holders keep the lock briefly, and never during I/O.
    pub(crate) fn lock(&self) -> MutexGuard<'_, SubscriptionState> {
        self.subscription.lock()
    }

    /// Takes records up to the limits; registers `waker` if there are none. Reports a gap before the records behind it.
    pub(crate) fn take(
        &self,
        limits: TakeLimits,
        clock: impl Fn() -> Instant,
        waker: &Waker,
        into: &mut Vec<ConsumerRecord>,
    ) -> Result<(), ConsumeError> {
        loop {
            let Some(gap) = self.take_up_to_gap(limits, &clock, waker, into)? else { return Ok(()) };
            gap.log();
            if (self.on_gap)(&gap) == OnGap::Report {
                return Err(ConsumeError::Gap(gap));
            }
        }
    }

    fn take_up_to_gap(
        &self,
        limits: TakeLimits,
        clock: impl Fn() -> Instant,
        waker: &Waker,
        into: &mut Vec<ConsumerRecord>,
    ) -> Result<Option<Gap>, ConsumeError> {
        let mut subscription = self.lock();
        let now = clock(); // Under the lock and after the rule of an earlier gap, so that no record passes the lease.
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
            self.reader_called.notify_waiters();
        }
        if made_room {
            self.fetchable.notify_one();
        }
        result
    }

    /// Changes a partition if it still has this version, and wakes the reader if the partition has something for it.
    pub(crate) fn change_partition<T>(
        &self,
        topic_partition: &TopicPartition,
        version: FetchVersion,
        now: Instant,
        change: impl FnOnce(&mut PartitionFetchState, OnDamage) -> T,
    ) -> Option<T> {
        let mut subscription = self.lock();
        let on_damage = subscription.on_damage;
        let partition = subscription.current(topic_partition, version)?;
        let open_before = partition.open_bytes();
        let result = change(partition, on_damage);
        let (open, has_something) = (partition.open_bytes(), partition.has_something());
        subscription.open_bytes = subscription.open_bytes + open - open_before;
        subscription.check_memory();
        let reader = if has_something { subscription.take_waiting_reader(now) } else { None };
        drop(subscription);
        reader.into_iter().for_each(Waker::wake);
        self.fetchable.notify_one();
        Some(result)
    }

    /// Reports an error of the whole consumer once.
    pub(crate) fn set_error(&self, error: ConsumeError, now: Instant) {
        self.change_state(now, |subscription| subscription.error = Some(error));
    }

    /// Reports an error at every call from now on: the consumer reads no more.
    pub(crate) fn set_fatal_error(&self, error: ConsumeError, now: Instant) {
        self.change_state(now, |subscription| subscription.fatal_error = Some(error));
    }

    /// Allows records to be handed out until `end`.
    pub(crate) fn extend_lease(&self, end: Instant, now: Instant) {
        self.change_state(now, |subscription| subscription.lease_end = Some(end));
    }

    /// Changes the state and wakes the reader.
    fn change_state(&self, now: Instant, change: impl FnOnce(&mut SubscriptionState)) {
        let mut subscription = self.lock();
        change(&mut subscription);
        let reader = subscription.take_waiting_reader(now);
        drop(subscription);
        reader.into_iter().for_each(Waker::wake);
    }

    /// Returns how long the reader has not polled although records were available.
    pub(crate) fn idle_for(&self, now: Instant) -> Duration {
        self.lock().idle_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// Waits until the reader waits for records.
    pub(crate) async fn until_reader_waits(&self) {
        self.wait_for_reader(|subscription| subscription.idle_since.is_none()).await;
    }

    /// Waits until the reader has consumed its records of partitions that are being revoked.
    pub(crate) async fn until_revoked_are_consumed(&self) {
        self.wait_for_reader(|subscription| {
            subscription.partitions.values().all(|partition| !partition.is_revoking || !partition.has_unconsumed())
        })
        .await;
    }

    /// Waits for a condition that only the reader's calls can fulfil.
    async fn wait_for_reader(&self, condition: impl Fn(&SubscriptionState) -> bool) {
        loop {
            let called = self.reader_called.notified();
            {
                let mut subscription = self.lock();
                if condition(&subscription) {
                    return;
                }
                subscription.reader_is_awaited = true;
            }
            called.await;
        }
    }
}
