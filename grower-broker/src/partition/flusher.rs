//! Sync rounds: one fsync answers every producer that waited for it.
//!
//! A few threads take partitions from a queue and run a round each: take the waiters, ask the log what must reach
//! the disk, sync it, raise the high watermark, send the answers. A partition is in the queue or in one round, never
//! both. A small request that is alone skips the queue and syncs in its own task ([`Turn`]): no hop at all.
//! What nobody waits for is synced by one thread, the timer, so that a thousand busy partitions whose producers want no
//! sync do not take the processors from those producers.
//! After a failed sync nothing is known of the disk, so no waiter is acknowledged and the broker stops for good.

use super::idle::Idle;
use super::lone::{Lone, Turn};
use super::{Partition, Waiter};
use crate::api::send_settled;
use crate::clock::BrokerClock;
use crate::config::settings::LiveSettings;
use crate::config::topic::FlushPolicy;
use crate::health::Health;
use crate::watchman::Watchman;
use grower_protocol::message::{ErrorCode, Failure};
use grower_storage::disk::{Disk, DiskError};
use grower_storage::log::FlushPoint;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;
use tokio::sync::oneshot;

const THREADS_MAX: usize = 16;

/// The pool. Threads start when the queue grows, and stay until it is dropped.
pub(crate) struct Flushers(Arc<Shared>);

struct Shared {
    disk: Arc<dyn Disk>,
    health: Health,
    /// Say within which time unsynced bytes are flushed even if nobody waits.
    settings: Arc<LiveSettings>,
    queue: Mutex<Queue>,
    /// A partition was queued, or the pool stops.
    work: Condvar,
    /// A partition was handed to the timer, or the pool stops.
    timer: Condvar,
    /// Requests that wait for a round, over all partitions.
    waiting: AtomicUsize,
    /// Waiters answered by the round before: more than one means that sharing pays.
    last_round: AtomicUsize,
    lone: Turn,
    watchman: Arc<Watchman>,
    idle: Idle,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
struct Queue {
    ready: VecDeque<Arc<Partition>>,
    /// Hold bytes that nobody waits for, and since when the first of them does.
    delayed: Vec<Arc<Partition>>,
    delayed_since: Option<Instant>,
    /// The timer's partitions whose delay is over.
    due: VecDeque<Arc<Partition>>,
    idle_threads: usize,
    threads: usize,
    stopped: bool,
}

impl Queue {
    fn delay(&mut self, partition: Arc<Partition>) {
        self.delayed.push(partition);
        self.delayed_since.get_or_insert_with(Instant::now);
    }
}

impl Flushers {
    pub(crate) fn start(
        disk: Arc<dyn Disk>,
        clock: Arc<BrokerClock>,
        health: Health,
        settings: Arc<LiveSettings>,
        watchman: Arc<Watchman>,
    ) -> Self {
        let shared = Arc::new(Shared {
            disk,
            health,
            settings,
            queue: Mutex::default(),
            work: Condvar::new(),
            timer: Condvar::new(),
            waiting: AtomicUsize::new(0),
            last_round: AtomicUsize::new(0),
            lone: Turn::default(),
            watchman,
            idle: Idle::default(),
            threads: Mutex::default(),
        });
        shared.spawn("grower-flush-timer", Shared::run_timer);
        shared.spawn("grower-idle", move |shared| shared.idle.run(&clock, &shared.health, || shared.is_contended()));
        Self(shared)
    }

    /// Leaves a waiter for the next round. Call after the write, and [`Flushers::sync`] soon.
    pub(crate) fn wait(&self, partition: &Partition, waiter: Waiter) {
        self.0.waiting.fetch_add(1, Ordering::Relaxed);
        partition.commit.lock().waiters.push(waiter);
    }

    /// Has the partition synced: by this very thread if the request is alone, else by the pool.
    pub(crate) fn sync(&self, partition: &Arc<Partition>, lone: Lone) {
        if !claim(partition) {
            return; // A round is on its way; it, or the one after it, covers everything written by now.
        }
        let shared = &self.0;
        let alone = lone.is_small() && shared.takes_lone();
        if !alone || shared.lone_round(partition) {
            shared.enqueue(partition.clone());
        }
    }

    /// Returns when everything written to the partition so far is durable.
    pub(crate) async fn durable(&self, partition: &Arc<Partition>) -> Result<(), Failure> {
        if partition.is_committed(partition.span().log_end) {
            return Ok(());
        }
        let (settled, outcome) = oneshot::channel();
        self.wait(partition, Waiter::Internal(settled));
        self.sync(partition, Lone { bytes: 0, last: true });
        outcome.await.unwrap_or_else(|_| Err(Failure::new(ErrorCode::ShuttingDown, "the broker is stopping")))
    }

    /// Makes everything written to the partition so far durable, also where the topic leaves that to the system. Blocks.
    pub(crate) fn sync_now(&self, partition: &Partition) -> Result<(), Failure> {
        let point = {
            let tail = partition.tail.lock();
            tail.check_open()?;
            tail.log.flush_point()
        };
        if point.files.is_empty() { Ok(()) } else { self.0.sync_to(partition, &point) }
    }

    /// Has the partition synced within the flush delay.
    pub(crate) fn sync_later(&self, partition: &Arc<Partition>) {
        {
            let mut commit = partition.commit.lock();
            if commit.delayed || commit.scheduled && !commit.waiters.is_empty() {
                return;
            }
            commit.delayed = true;
        }
        self.0.queue.lock().delay(partition.clone());
        self.0.timer.notify_one();
    }

    /// Ends the pool once the queue is empty. Nothing may be appended any more.
    pub(crate) fn stop(&self) {
        self.0.queue.lock().stopped = true;
        self.0.work.notify_all();
        self.0.timer.notify_all();
        self.0.idle.stop();
        while let Some(thread) = self.0.take_thread() {
            let _ = thread.join(); // A panic there was reported by its hook.
        }
    }
}

impl Drop for Flushers {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Takes the partition's turn to be synced; `false` if somebody has it.
fn claim(partition: &Partition) -> bool {
    let mut commit = partition.commit.lock();
    !std::mem::replace(&mut commit.scheduled, true)
}

impl Shared {
    fn spawn(self: &Arc<Self>, name: &str, run: impl FnOnce(&Arc<Self>) + Send + 'static) {
        let shared = self.clone();
        match std::thread::Builder::new().name(name.to_owned()).spawn(move || run(&shared)) {
            Ok(thread) => self.threads.lock().push(thread),
            Err(error) => self.health.fail(format!("cannot start a thread for syncs: {error}")),
        }
    }

    /// Whether a lone request may sync in its own task; it gives its turn back afterwards.
    fn takes_lone(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) == 1 && self.last_round.load(Ordering::Relaxed) <= 1 && self.lone.take()
    }

    /// A round in the task of the request that asked for it.
    fn lone_round(&self, partition: &Arc<Partition>) -> bool {
        let work = self.watchman.begin();
        let more = self.round(partition);
        drop(work);
        self.lone.done();
        more
    }

    /// The disk has more to do than it gets done: producers wait for it, or it is late with what nobody waits for.
    fn is_contended(&self) -> bool {
        let queue = self.queue.lock();
        0 < self.waiting.load(Ordering::Relaxed) || !queue.ready.is_empty() || !queue.due.is_empty()
    }

    /// Without holding the lock afterwards: a thread that ends may still start another.
    fn take_thread(&self) -> Option<JoinHandle<()>> {
        self.threads.lock().pop()
    }

    /// Queues a claimed partition. The first thread starts at once, a further one only when work piles up.
    fn enqueue(self: &Arc<Self>, partition: Arc<Partition>) {
        let mut queue = self.queue.lock();
        queue.ready.push_back(partition);
        if 0 < queue.idle_threads {
            drop(queue);
            self.work.notify_one();
            return;
        }
        let grow = queue.threads == 0 || (1 < queue.ready.len() && queue.threads < THREADS_MAX);
        queue.threads += usize::from(grow);
        drop(queue);
        if grow {
            self.spawn("grower-flush", Self::run_thread);
        }
    }

    fn run_thread(self: &Arc<Self>) {
        while let Some(partition) = self.next_ready() {
            if self.round(&partition) {
                self.queue.lock().ready.push_back(partition);
            }
        }
    }

    fn next_ready(&self) -> Option<Arc<Partition>> {
        let mut queue = self.queue.lock();
        loop {
            if let Some(partition) = queue.ready.pop_front() {
                return Some(partition);
            }
            if queue.stopped {
                return None;
            }
            queue.idle_threads += 1;
            self.work.wait(&mut queue);
            queue.idle_threads -= 1;
        }
    }

    /// Collects partitions that nobody waits for, and syncs them when the delay of the first is over.
    fn run_timer(self: &Arc<Self>) {
        let mut queue = self.queue.lock();
        while !queue.stopped {
            let Some(since) = queue.delayed_since else {
                self.timer.wait(&mut queue);
                continue;
            };
            let until = since + self.settings.now().broker.flush_delay;
            while !queue.stopped && !self.timer.wait_until(&mut queue, until).timed_out() {}
            queue.delayed_since = None;
            queue.due = std::mem::take(&mut queue.delayed).into();
            while !queue.stopped
                && let Some(partition) = queue.due.pop_front()
            {
                let synced = MutexGuard::unlocked(&mut queue, || self.sync_due(&partition));
                if !synced {
                    queue.delay(partition);
                }
            }
        }
    }

    /// Syncs what no producer waits for. Where readers do, the pool is faster. `false` if a round runs: it may have begun
    /// before the last bytes came, so the partition must be looked at again.
    fn sync_due(self: &Arc<Self>, partition: &Arc<Partition>) -> bool {
        if !claim(partition) {
            return false;
        }
        partition.commit.lock().delayed = false;
        if partition.has_waiting_fetches() || self.round(partition) {
            self.enqueue(partition.clone());
        }
        true
    }

    /// One sync of one partition; `true` if more waiters came meanwhile, and the partition must be queued again.
    fn round(&self, partition: &Arc<Partition>) -> bool {
        let waiters = std::mem::take(&mut partition.commit.lock().waiters);
        if !waiters.is_empty() {
            self.waiting.fetch_sub(waiters.len(), Ordering::Relaxed);
            self.last_round.store(waiters.len(), Ordering::Relaxed);
        }
        let outcome = self.sync(partition, !waiters.is_empty()).map_err(|failure| self.health.explain(failure));
        if outcome.is_ok() {
            self.idle.watch(partition);
        }
        let settled = waiters.into_iter().filter_map(|waiter| waiter.settle(outcome.clone()));
        send_settled(settled.collect());
        let mut commit = partition.commit.lock();
        commit.scheduled = !commit.waiters.is_empty();
        commit.scheduled
    }

    fn sync(&self, partition: &Partition, awaited: bool) -> Result<(), Failure> {
        match partition.flush_point()? {
            Some(mut point) => {
                point.awaited = awaited;
                self.sync_to(partition, &point)
            }
            None => Ok(()),
        }
    }

    fn sync_to(&self, partition: &Partition, point: &FlushPoint) -> Result<(), Failure> {
        if let Some(reason) = self.health.failure() {
            return Err(Failure::new(ErrorCode::StorageFailed, reason)); // Nothing is synced after a sync failed.
        }
        let had_news = !point.files.is_empty() || !partition.is_committed(point.end); // Logs in memory have no files.
        let started = Instant::now();
        let synced = self.disk.sync_many(&point.files);
        if had_news {
            let took = started.elapsed(); // No time at all says nothing of the disk.
            self.health.metrics().synced(took);
            self.lone.synced(took);
        }
        partition.flushed(point, synced).inspect_err(|failure| {
            self.health.fail(format!("a sync failed, so what is on disk is no longer known: {failure}"));
        })
    }
}

impl Partition {
    /// What must be synced for everything written to be durable; nothing where the topic leaves that to the system.
    fn flush_point(&self) -> Result<Option<FlushPoint>, Failure> {
        let tail = self.tail.lock();
        tail.check_open()?;
        if self.config.load().flush == FlushPolicy::Os {
            return Ok(None);
        }
        Ok(Some(tail.log.flush_point()))
    }

    fn flushed(&self, point: &FlushPoint, synced: Result<(), DiskError>) -> Result<(), Failure> {
        let durable = self.tail.lock().log.flushed(point, synced);
        let end = durable.map_err(|error| Failure::new(ErrorCode::StorageFailed, error))?;
        self.raise_high_watermark(end);
        Ok(())
    }
}
