//! The sync pool: threads that sync partitions and append queued batches.
//!
//! A few threads take jobs from a queue: a sync round of a partition, or its queued appends. At most one job of each
//! kind waits per partition. [`JobQueue`] decides when another thread starts; threads stay until the pool ends.

use super::idle_checkpoints::IdleCheckpoints;
use super::inline_sync::{InlineSyncHint, InlineSyncSlot};
use super::job_queue::{Job, JobQueue};
use super::sync_load::SyncLoad;
use super::writer::{QueuedAppend, QueuedFence, QueuedWork};
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

/// Takes the duration of a sync.
pub(crate) type OnSync = Box<dyn Fn(Duration) + Send + Sync>;

/// State shared by the threads of the pool.
pub(crate) struct SyncPool {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) clock: Arc<BrokerClock>,
    pub(super) health: Health,
    /// Called after each sync.
    pub(super) on_sync: OnSync,
    /// Hold the flush delay: bytes without a waiter are synced within it.
    settings: Arc<LiveSettings>,
    queue: Mutex<JobQueue<Arc<Partition>>>,
    /// Signals a new job or the stop.
    work: Condvar,
    /// Signals a delayed partition, a changed delay or the stop.
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

    /// Adds a waiter for records that end before `end`. Call it after the write, and [`SyncPool::sync`] soon after it.
    pub(crate) fn wait(&self, partition: &Partition, end: Offset, waiter: CommitWaiter) {
        debug_assert!(end <= partition.published.log_end(), "a waiter waits for offsets that were never written");
        self.load.waiter_added();
        partition.commit.lock().wait(waiter.mark(), end, waiter);
    }

    /// Syncs the partition: on this thread if the request is alone, else on the pool.
    pub(crate) fn sync(self: &Arc<Self>, partition: &Arc<Partition>, hint: InlineSyncHint) {
        let _whole = CriticalSection::enter(&self.health, "a sync round"); // Others wait for the claimed round.
        if !partition.commit.lock().claim_round() {
            return; // The queued round, or the one after the running round, covers everything written by now.
        }
        let alone = hint.allows_inline() && !partition.writer.is_slow() && self.may_sync_inline();
        if alone {
            self.inline_round(partition);
        } else {
            self.enqueue(Job::Round(partition.clone()));
        }
    }

    /// Wakes the flush timer whenever settings change, until `stop`.
    pub(crate) async fn follow_settings(self: Arc<Self>, stop: CancellationToken) {
        let mut changes = self.settings.changes();
        loop {
            tokio::select! {
                _ = changes.changed() => {}
                () = stop.cancelled() => return,
            }
            drop(self.queue.lock()); // Afterwards the timer waits, or has yet to read the settings.
            self.timer.notify_one();
        }
    }

    /// Returns when everything written to the partition so far is durable.
    pub(crate) async fn durable(self: &Arc<Self>, partition: &Arc<Partition>) -> Result<(), Failure> {
        self.durable_up_to(partition, partition.reader().span().end).await
    }

    /// Returns when everything before `end` is durable.
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

    /// Syncs the partition within the flush delay.
    pub(crate) fn sync_later(&self, partition: &Arc<Partition>) {
        let _whole = CriticalSection::enter(&self.health, "asking for a sync");
        if partition.commit.lock().claim_timer() {
            self.queue.lock().delay(partition.clone(), self.clock.monotonic());
            self.timer.notify_one();
        }
    }

    /// Appends a batch on a thread of the pool, after the queued ones.
    pub(crate) fn append_later(self: &Arc<Self>, partition: &Arc<Partition>, append: QueuedAppend) {
        self.queue_work(partition, QueuedWork::Append(append));
    }

    /// Fences a producer on a thread of the pool, after the queued appends.
    pub(crate) fn fence_later(self: &Arc<Self>, partition: &Arc<Partition>, fence: QueuedFence) {
        self.queue_work(partition, QueuedWork::Fence(fence));
    }

    fn queue_work(self: &Arc<Self>, partition: &Arc<Partition>, work: QueuedWork) {
        let _whole = CriticalSection::enter(&self.health, "queueing an append");
        if partition.writer.queue(work) {
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

    /// Whether a request that is alone may sync inline; it releases the slot afterwards.
    fn may_sync_inline(&self) -> bool {
        self.load.is_one_request() && self.inline.try_acquire()
    }

    /// Runs a round in the task of the request.
    fn inline_round(self: &Arc<Self>, partition: &Arc<Partition>) {
        let work = self.stall_watchdog.watch();
        self.run_round(partition);
        drop(work);
        self.inline.release();
    }

    /// Runs a round on this thread. If waiters need another one, another thread begins it before the answers are sent.
    fn run_round(self: &Arc<Self>, partition: &Arc<Partition>) {
        let synced = self.round(partition);
        if synced.needs_another() {
            self.hand_over(Job::Round(partition.clone()));
        }
        synced.answer();
    }

    /// Whether producers wait for the disk, or jobs wait for a thread.
    pub(super) fn is_contended(&self) -> bool {
        self.load.has_waiting() || self.queue.lock().is_behind()
    }

    /// Does not keep the lock: a thread that ends may still start another.
    fn take_thread(&self) -> Option<JoinHandle<()>> {
        self.threads.lock().pop()
    }

    /// Queues a job, and starts a thread if one is needed.
    fn enqueue(self: &Arc<Self>, job: Job<Arc<Partition>>) {
        let needs_thread = self.queue.lock().push(job);
        self.call_thread(needs_thread);
    }

    /// Queues a job for another thread, as this one has more to do; starts one if none is idle.
    fn hand_over(self: &Arc<Self>, job: Job<Arc<Partition>>) {
        let needs_thread = self.queue.lock().hand_over(job);
        self.call_thread(needs_thread);
    }

    /// Starts a thread for a queued job, or wakes an idle one.
    fn call_thread(self: &Arc<Self>, start: bool) {
        if start {
            self.spawn("grower-flush", Self::run_thread);
        } else {
            self.work.notify_one();
        }
    }

    fn run_thread(self: &Arc<Self>) {
        while let Some(job) = self.next_ready() {
            match job {
                Job::Round(partition) => self.run_round(&partition),
                Job::Appends(partition) => self.append_queued(&partition),
            }
        }
    }

    /// Appends the queued batches of a partition, one after the other, with the fences between them.
    fn append_queued(self: &Arc<Self>, partition: &Arc<Partition>) {
        while let Some(work) = partition.writer.next_queued() {
            match work {
                QueuedWork::Append(QueuedAppend { batch, now, memory, done }) => {
                    let appended = partition.append(batch, now).map_err(|failure| self.health.explain(failure));
                    drop(memory);
                    done(self, partition, appended);
                }
                QueuedWork::Fence(QueuedFence { fence, done }) => {
                    let _ = done.send(partition.fence_producer(&fence)); // The request may have ended.
                }
            }
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

    /// The flush timer: syncs delayed partitions when the delay of the first is over.
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

    /// Syncs a partition without waiters; the pool does so if fetches wait for it. `false` if a round runs: it may have
    /// begun before the last write, so the partition is delayed again.
    fn sync_due(self: &Arc<Self>, partition: &Arc<Partition>) -> bool {
        if !partition.commit.lock().claim_round_from_timer() {
            return false;
        }
        if partition.has_waiting_fetches() {
            self.enqueue(Job::Round(partition.clone()));
        } else {
            self.run_round(partition);
        }
        true
    }
}
