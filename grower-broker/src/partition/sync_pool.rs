//! The threads that sync partitions, and that append what must not wait on the network.
//!
//! A few threads take partitions from a queue, each for a sync round or for its queued appends. A partition waits for at
//! most one round and one emptying of its queue at a time. Threads start when the queue grows, and stay until the pool ends.
//! Appends may take a stalled disk's time each, so rounds never wait for all threads to be done with appends: there is
//! always one for them, up to the limit.

use super::idle_checkpoints::IdleCheckpoints;
use super::inline_sync::{InlineSyncHint, InlineSyncSlot};
use super::job_queue::{Job, JobQueue};
use super::sync_load::SyncLoad;
use super::writer::QueuedAppend;
use super::{CommitWaiter, Partition};
use crate::background;
use crate::clock::BrokerClock;
use crate::config::settings::LiveSettings;
use crate::critical::CriticalSection;
use crate::health::Health;
use crate::stall_watchdog::StallWatchdog;
use grower_protocol::ids::Offset;
use grower_protocol::message::{ErrorCode, Failure};
use grower_storage::disk::Disk;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// What is told how long a sync took.
pub(crate) type OnSync = Box<dyn Fn(Duration) + Send + Sync>;

/// What the threads share.
pub(crate) struct SyncPool {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) clock: Arc<BrokerClock>,
    pub(super) health: Health,
    /// Told how long each sync took.
    pub(super) on_sync: OnSync,
    /// Say within which time unsynced bytes are flushed even without a waiter.
    settings: Arc<LiveSettings>,
    queue: Mutex<JobQueue<Arc<Partition>>>,
    /// A partition was queued, or the pool stops.
    work: Condvar,
    /// A partition was handed to the timer, or the pool stops.
    timer: Condvar,
    pub(super) load: SyncLoad,
    pub(super) inline: InlineSyncSlot,
    stall_watchdog: Arc<StallWatchdog>,
    pub(super) idle: IdleCheckpoints,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl SyncPool {
    pub(super) fn start(
        disk: Arc<dyn Disk>,
        clock: Arc<BrokerClock>,
        health: Health,
        on_sync: OnSync,
        settings: Arc<LiveSettings>,
        stall_watchdog: Arc<StallWatchdog>,
    ) -> Arc<Self> {
        let pool = Arc::new(Self {
            disk,
            clock,
            health,
            on_sync,
            settings,
            queue: Mutex::default(),
            work: Condvar::new(),
            timer: Condvar::new(),
            load: SyncLoad::default(),
            inline: InlineSyncSlot::new(Handle::try_current().map_or(1, |network| network.metrics().num_workers())),
            stall_watchdog,
            idle: IdleCheckpoints::default(),
            threads: Mutex::default(),
        });
        pool.spawn("grower-flush-timer", Self::run_timer);
        pool
    }

    /// Leaves a waiter for records that end before `end`. Call after the write, and [`SyncPool::sync`] soon.
    pub(crate) fn wait(&self, partition: &Partition, end: Offset, waiter: CommitWaiter) {
        self.load.waiter_added();
        partition.commit.lock().wait(waiter.mark(), end, waiter);
    }

    /// Has the partition synced: by this very thread if the request is alone, else by the pool.
    pub(crate) fn sync(self: &Arc<Self>, partition: &Arc<Partition>, hint: InlineSyncHint) {
        let _whole = CriticalSection::enter(&self.health, "a sync round"); // Others wait for what was claimed here.
        if !partition.commit.lock().claim_round() {
            return; // A round is on its way; it, or the one after it, covers everything written by now.
        }
        let alone = hint.allows_inline() && !partition.writer.is_slow() && self.may_sync_inline();
        if !alone || self.inline_round(partition) {
            self.enqueue(Job::Round(partition.clone()));
        }
    }

    /// Has the timer look at the flush delay again whenever settings change, until `stop`.
    pub(crate) async fn follow_settings(self: Arc<Self>, stop: CancellationToken) {
        let mut changes = self.settings.changes();
        loop {
            tokio::select! {
                _ = changes.changed() => {}
                () = stop.cancelled() => return,
            }
            drop(self.queue.lock()); // The timer either waits already, or has yet to read the settings.
            self.timer.notify_one();
        }
    }

    /// Returns when everything written to the partition so far is durable.
    pub(crate) async fn durable(self: &Arc<Self>, partition: &Arc<Partition>) -> Result<(), Failure> {
        self.durable_up_to(partition, partition.reader().span().end).await
    }

    /// Returns when what was written to the partition before `end` is durable.
    pub(crate) async fn durable_up_to(
        self: &Arc<Self>,
        partition: &Arc<Partition>,
        end: Offset,
    ) -> Result<(), Failure> {
        if partition.is_durable(end) {
            return Ok(());
        }
        let (settled, outcome) = oneshot::channel();
        self.wait(partition, end, CommitWaiter::Internal(settled));
        self.sync(partition, InlineSyncHint { bytes: 0, last: true });
        outcome.await.unwrap_or_else(|_| Err(Failure::new(ErrorCode::ShuttingDown, "the broker is stopping")))
    }

    /// Has the partition synced within the flush delay.
    pub(crate) fn sync_later(&self, partition: &Arc<Partition>) {
        let _whole = CriticalSection::enter(&self.health, "asking for a sync");
        if partition.commit.lock().claim_timer() {
            self.queue.lock().delay(partition.clone(), self.clock.monotonic());
            self.timer.notify_one();
        }
    }

    /// Has a batch appended by a thread of the pool, after those that wait already.
    pub(crate) fn append_later(self: &Arc<Self>, partition: &Arc<Partition>, append: QueuedAppend) {
        let _whole = CriticalSection::enter(&self.health, "queueing an append");
        if partition.writer.queue(append) {
            self.enqueue(Job::Appends(partition.clone()));
        }
    }

    pub(crate) fn health(&self) -> &Health {
        &self.health
    }

    pub(super) fn stop(&self) {
        self.queue.lock().stop();
        self.work.notify_all();
        self.timer.notify_all();
        self.idle.stop();
        while let Some(thread) = self.take_thread() {
            let _ = thread.join(); // A panic there was reported by its hook.
        }
    }

    pub(super) fn spawn(self: &Arc<Self>, name: &'static str, run: impl FnOnce(&Arc<Self>) + Send + 'static) {
        let pool = self.clone();
        match background::thread(name, &self.health, move || run(&pool)) {
            Ok(thread) => self.threads.lock().push(thread),
            Err(error) => self.health.fail(format!("cannot start a thread for syncs: {error}")),
        }
    }

    /// Whether a lone request may sync in its own task; it gives its turn back afterwards.
    fn may_sync_inline(&self) -> bool {
        self.load.is_one_request() && self.inline.try_acquire()
    }

    /// A round in the task of the request that asked for it; true if a thread of the pool has to do one.
    fn inline_round(&self, partition: &Arc<Partition>) -> bool {
        let work = self.stall_watchdog.watch();
        let more = self.round(partition);
        drop(work);
        self.inline.release();
        more
    }

    /// The disk has more to do than it gets done: producers wait for it, or it is late with what nothing waits for.
    pub(super) fn is_contended(&self) -> bool {
        self.load.has_waiting() || self.queue.lock().is_behind()
    }

    /// Without holding the lock afterwards: a thread that ends may still start another.
    fn take_thread(&self) -> Option<JoinHandle<()>> {
        self.threads.lock().pop()
    }

    /// Queues a job. The first thread starts at once, a further one only when work piles up.
    fn enqueue(self: &Arc<Self>, job: Job<Arc<Partition>>) {
        let needs_thread = self.queue.lock().push(job);
        if needs_thread {
            self.spawn("grower-flush", Self::run_thread);
        } else {
            self.work.notify_one();
        }
    }

    fn run_thread(self: &Arc<Self>) {
        while let Some(job) = self.next_ready() {
            match job {
                Job::Round(partition) if self.round(&partition) => {
                    self.queue.lock().push_again(Job::Round(partition));
                }
                Job::Round(_) => {}
                Job::Appends(partition) => self.append_queued(&partition),
            }
        }
    }

    /// Appends what is queued for a partition, one batch after the other.
    fn append_queued(self: &Arc<Self>, partition: &Arc<Partition>) {
        while let Some(QueuedAppend { batch, now, memory, done }) = partition.writer.next_queued() {
            let appended = partition.append(batch, now).map_err(|failure| self.health.explain(failure));
            drop(memory);
            done(self, partition, appended);
        }
        self.queue.lock().appends_done();
    }

    fn next_ready(&self) -> Option<Job<Arc<Partition>>> {
        let mut queue = self.queue.lock();
        loop {
            if let Some(job) = queue.pop() {
                return Some(job);
            }
            if queue.is_stopped() {
                return None;
            }
            queue.thread_idles();
            self.work.wait(&mut queue);
            queue.thread_woke();
        }
    }

    /// Collects partitions without waiters, and syncs them when the delay of the first is over.
    fn run_timer(self: &Arc<Self>) {
        let mut queue = self.queue.lock();
        while !queue.is_stopped() {
            // Read after each wake: the delay may have been changed.
            match queue.due_in(self.settings.now().broker.flush_delay, self.clock.monotonic()) {
                None => self.timer.wait(&mut queue),
                Some(Duration::ZERO) => self.sync_all_due(&mut queue),
                Some(left) => {
                    self.timer.wait_for(&mut queue, left);
                }
            }
        }
    }

    fn sync_all_due(self: &Arc<Self>, queue: &mut MutexGuard<'_, JobQueue<Arc<Partition>>>) {
        queue.begin_due();
        while let Some(partition) = queue.next_due() {
            let synced = MutexGuard::unlocked(queue, || self.sync_due(&partition));
            if !synced {
                queue.delay(partition, self.clock.monotonic());
            }
        }
    }

    /// Syncs what no producer waits for. Where readers wait, the pool is faster. `false` if a round runs: it may have begun
    /// before the last bytes came, so the partition must be looked at again.
    fn sync_due(self: &Arc<Self>, partition: &Arc<Partition>) -> bool {
        if !partition.commit.lock().claim_round_from_timer() {
            return false;
        }
        if partition.has_waiting_fetches() || self.round(partition) {
            self.enqueue(Job::Round(partition.clone()));
        }
        true
    }
}
