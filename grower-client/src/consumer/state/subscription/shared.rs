//! The lock around a consumer's state, and the signals between its reader and its tasks.

use super::events::{ReaderKind, SubscriptionEvent};
use super::{SubscriptionState, TakeLimits, Taken};
use crate::consumer::settings::{GapRule, OnDamage, OnGap};
use crate::consumer::state::partition::{FetchVersion, PartitionFetchState};
use crate::error::ConsumeError;
use crate::record::{ConsumerRecord, TopicPartition};
use parking_lot::{Mutex, MutexGuard};
use std::ops::{Deref, DerefMut};
use std::task::Waker;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The state that the reader and the tasks of a consumer share.
pub(crate) struct SharedSubscription {
    subscription: Mutex<SubscriptionState>,
    /// Notified when there may be something to fetch.
    pub(crate) fetchable: Notify,
    /// Notified of each progress of the reader while it is awaited.
    progressed: Notify,
    on_gap: GapRule,
}

impl SharedSubscription {
    pub(crate) fn new(on_damage: OnDamage, on_gap: GapRule, open_bytes_max: usize, now: Instant) -> Self {
        let subscription = SubscriptionState::new(on_damage, open_bytes_max, now);
        Self { subscription: Mutex::new(subscription), fetchable: Notify::new(), progressed: Notify::new(), on_gap }
    }

    /// Locks the state. Holders keep the lock briefly, and never during I/O.
    pub(crate) fn lock(&self) -> SubscriptionGuard<'_> {
        SubscriptionGuard {
            state: Some(self.subscription.lock()),
            fetchable: &self.fetchable,
            progressed: &self.progressed,
        }
    }

    /// Takes records up to the limits; registers `waker` if there are none. Reports a gap before the records behind it.
    /// The reader takes no events.
    pub(crate) fn take(
        &self,
        limits: TakeLimits,
        clock: impl Fn() -> Instant,
        waker: &Waker,
        into: &mut Vec<ConsumerRecord>,
    ) -> Result<(), ConsumeError> {
        let event = self.take_as(ReaderKind::Records, limits, clock, waker, into)?;
        debug_assert!(event.is_none(), "the reader takes no events");
        Ok(())
    }

    /// The same for a reader that takes events: returns the next one if it comes before records.
    pub(crate) fn take_with_events(
        &self,
        limits: TakeLimits,
        clock: impl Fn() -> Instant,
        waker: &Waker,
        into: &mut Vec<ConsumerRecord>,
    ) -> Result<Option<SubscriptionEvent>, ConsumeError> {
        self.take_as(ReaderKind::Events, limits, clock, waker, into)
    }

    fn take_as(
        &self,
        reader: ReaderKind,
        limits: TakeLimits,
        clock: impl Fn() -> Instant,
        waker: &Waker,
        into: &mut Vec<ConsumerRecord>,
    ) -> Result<Option<SubscriptionEvent>, ConsumeError> {
        loop {
            let gap = match self.take_next(reader, limits, &clock, waker, into)? {
                Some(Taken::Gap(gap)) => gap,
                Some(Taken::Event(event)) => return Ok(Some(event)),
                None => return Ok(None),
            };
            gap.log();
            if (self.on_gap)(&gap) == OnGap::Report {
                return Err(ConsumeError::Gap(gap));
            }
        }
    }

    fn take_next(
        &self,
        reader: ReaderKind,
        limits: TakeLimits,
        clock: impl Fn() -> Instant,
        waker: &Waker,
        into: &mut Vec<ConsumerRecord>,
    ) -> Result<Option<Taken>, ConsumeError> {
        let mut subscription = self.lock();
        // The clock is read under the lock and after the rule of an earlier gap, so that no record passes the lease.
        let result = subscription.take(reader, limits, &clock, into);
        subscription.was_called = true;
        let waits = matches!(result, Ok(None)) && into.is_empty();
        subscription.wait_for_news(waits.then_some(waker));
        subscription.has_progressed = true;
        result
    }

    /// Changes a partition if it still has this version.
    pub(crate) fn change_partition<T>(
        &self,
        topic_partition: &TopicPartition,
        version: FetchVersion,
        change: impl FnOnce(&mut PartitionFetchState, OnDamage) -> T,
    ) -> Option<T> {
        let mut subscription = self.lock();
        let on_damage = subscription.on_damage;
        let mut partition = subscription.current(topic_partition, version)?;
        Some(change(&mut partition, on_damage))
    }

    /// Reports an error of the whole consumer once.
    pub(crate) fn set_error(&self, error: ConsumeError) {
        self.change_state(|subscription| subscription.error = Some(error));
    }

    /// Reports an error at every call from now on: the consumer reads no more.
    pub(crate) fn set_fatal_error(&self, error: ConsumeError) {
        self.change_state(|subscription| subscription.fatal_error = Some(error));
    }

    /// Reports that the tasks of the consumer have ended, unless an earlier error says why.
    pub(crate) fn stop(&self, error: ConsumeError) {
        self.change_state(|subscription| subscription.fatal_error = subscription.fatal_error.take().or(Some(error)));
    }

    /// Allows records to be handed out until `end`.
    pub(crate) fn extend_lease(&self, end: Instant) {
        self.change_state(|subscription| subscription.lease_end = Some(end));
    }

    /// Changes the state and wakes the reader.
    fn change_state(&self, change: impl FnOnce(&mut SubscriptionState)) {
        let mut subscription = self.lock();
        change(&mut subscription);
        subscription.has_news = true;
    }

    /// Returns how long the reader has not polled although records were available, as far as earlier calls of this
    /// method noticed.
    pub(crate) fn idle_for(&self, now: Instant) -> Duration {
        let mut subscription = self.lock();
        if subscription.reader.is_some() || std::mem::take(&mut subscription.was_called) {
            subscription.idle_since = None;
        }
        now.saturating_duration_since(*subscription.idle_since.get_or_insert(now))
    }

    /// Waits until the reader waits for records.
    pub(crate) async fn until_reader_waits(&self) {
        self.wait_for_progress(|subscription| subscription.reader.is_some()).await;
    }

    /// Waits until a revoked partition can leave, or could after an automatic commit.
    pub(crate) async fn until_can_release(&self, auto_commit: bool) {
        self.wait_for_progress(|subscription| subscription.can_release(auto_commit)).await;
    }

    /// Waits until each partition has started, or its first start lookup has failed. Does not wait if the reader has
    /// moved in a partition.
    pub(crate) async fn until_commit_is_useful(&self) {
        self.wait_for_progress(|subscription| {
            let partitions = || subscription.partitions.iter();
            partitions().any(PartitionFetchState::has_progress)
                || partitions().all(|partition| !partition.is_starting || partition.start_failed)
        })
        .await;
    }

    /// Waits for a condition that only progress of the reader can fulfil.
    async fn wait_for_progress(&self, condition: impl Fn(&SubscriptionState) -> bool) {
        loop {
            let progressed = self.progressed.notified();
            {
                let mut subscription = self.lock();
                if condition(&subscription) {
                    return;
                }
                subscription.progress_is_awaited = true;
            }
            progressed.await;
        }
    }
}

/// The locked state. When it is dropped, it wakes those that the changes concern.
pub(crate) struct SubscriptionGuard<'a> {
    /// Present until the guard is dropped.
    state: Option<MutexGuard<'a, SubscriptionState>>,
    fetchable: &'a Notify,
    progressed: &'a Notify,
}

impl Deref for SubscriptionGuard<'_> {
    type Target = SubscriptionState;

    fn deref(&self) -> &SubscriptionState {
        self.state.as_ref().expect("the guard is not dropped")
    }
}

impl DerefMut for SubscriptionGuard<'_> {
    fn deref_mut(&mut self) -> &mut SubscriptionState {
        self.state.as_mut().expect("the guard is not dropped")
    }
}

impl Drop for SubscriptionGuard<'_> {
    fn drop(&mut self) {
        let reader = self.take_reader_with_news();
        let has_work = self.take_fetcher_work();
        let progressed = self.take_progress();
        self.state = None; // The woken ones find the lock free.
        reader.into_iter().for_each(Waker::wake);
        if has_work {
            self.fetchable.notify_one();
        }
        if progressed {
            self.progressed.notify_waiters();
        }
    }
}
