//! The threads that sync partitions, and that append what must not wait on the network.
//!
//! A few threads take partitions from a queue, each for a sync round or for its queued appends. A partition waits for at
//! most one round and one emptying of its queue at a time. Threads start when the queue grows, and stay until the pool ends.
//! Appends may take a stalled disk's time each, so rounds never wait for all threads to be done with appends: there is
//! always one for them, up to the limit.

use super::idle::Idle;
use super::lone::{Lone, Turn};
use super::writer::QueuedAppend;
use super::{Partition, Waiter};
use crate::background;
use crate::config::settings::LiveSettings;
use crate::critical::CriticalSection;
use crate::health::Health;
use crate::watchman::Watchman;
use grower_protocol::ids::Offset;
use grower_protocol::message::{ErrorCode, Failure};
use grower_storage::disk::Disk;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

const THREADS_MAX: usize = 16;

/// What the threads share.
pub(crate) struct SyncPool {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) health: Health,
    /// Say within which time unsynced bytes are flushed even without a waiter.
    settings: Arc<LiveSettings>,
    queue: Mutex<Queue>,
    /// A partition was queued, or the pool stops.
    work: Condvar,
    /// A partition was handed to the timer, or the pool stops.
    timer: Condvar,
    /// Requests that wait for a round to begin, over all partitions.
    pub(super) waiting: AtomicUsize,
    /// Waiters answered by the round before: more than one means that sharing pays.
    pub(super) last_round: AtomicUsize,
    pub(super) lone: Turn,
    watchman: Arc<Watchman>,
    pub(super) idle: Idle,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
struct Queue {
    ready: VecDeque<Job>,
    /// Hold bytes without a waiter, and since when the first of them does.
    delayed: Vec<Arc<Partition>>,
    delayed_since: Option<Instant>,
    /// The timer's partitions whose delay is over.
    due: VecDeque<Arc<Partition>>,
    /// Wait for a job. One that was woken counts as idle until it runs.
    idle_threads: usize,
    /// Of the ready jobs, those that append.
    ready_appends: usize,
    /// Threads that append.
    appending: usize,
    threads: usize,
    stopped: bool,
}

/// What a thread does next.
enum Job {
    /// A sync round of a partition that was claimed for it.
    Round(Arc<Partition>),
    /// The queued appends of a partition.
    Appends(Arc<Partition>),
}

impl Job {
    fn appends(&self) -> bool {
        matches!(self, Self::Appends(_))
    }
}

impl Queue {
    fn delay(&mut self, partition: Arc<Partition>) {
        self.delayed.push(partition);
        self.delayed_since.get_or_insert_with(Instant::now);
    }

    fn push(&mut self, job: Job) {
        self.ready_appends += usize::from(job.appends());
        self.ready.push_back(job);
    }

    fn pop(&mut self) -> Option<Job> {
        let job = self.ready.pop_front()?;
        self.ready_appends -= usize::from(job.appends());
        self.appending += usize::from(job.appends());
        Some(job)
    }

    /// Whether a job that was just queued takes another thread: idle ones are soon there, but none may wait behind appends.
    fn wants_thread(&self) -> bool {
        if 0 < self.idle_threads && (self.ready_appends == 0 || self.ready.len() <= self.idle_threads) {
            return false;
        }
        let all_append = self.threads == self.appending;
        self.threads < THREADS_MAX && (all_append || 1 < self.ready.len())
    }
}

impl SyncPool {
    pub(super) fn start(
        disk: Arc<dyn Disk>,
        health: Health,
        settings: Arc<LiveSettings>,
        watchman: Arc<Watchman>,
    ) -> Arc<Self> {
        let pool = Arc::new(Self {
            disk,
            health,
            settings,
            queue: Mutex::default(),
            work: Condvar::new(),
            timer: Condvar::new(),
            waiting: AtomicUsize::new(0),
            last_round: AtomicUsize::new(0),
            lone: Turn::new(Handle::try_current().map_or(1, |network| network.metrics().num_workers())),
            watchman,
            idle: Idle::default(),
            threads: Mutex::default(),
        });
        pool.spawn("grower-flush-timer", Self::run_timer);
        pool
    }

    /// Leaves a waiter for records that end before `end`. Call after the write, and [`SyncPool::sync`] soon.
    pub(crate) fn wait(&self, partition: &Partition, end: Offset, waiter: Waiter) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        partition.commit.lock().wait(end, waiter);
    }

    /// Has the partition synced: by this very thread if the request is alone, else by the pool.
    pub(crate) fn sync(self: &Arc<Self>, partition: &Arc<Partition>, lone: Lone) {
        let _whole = CriticalSection::enter(&self.health, "a sync round"); // Others wait for what was claimed here.
        if !claim(partition) {
            return; // A round is on its way; it, or the one after it, covers everything written by now.
        }
        let alone = lone.is_small() && !partition.writer.is_slow() && self.takes_lone();
        if !alone || self.lone_round(partition) {
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
        self.wait(partition, end, Waiter::Internal(settled));
        self.sync(partition, Lone { bytes: 0, last: true });
        outcome.await.unwrap_or_else(|_| Err(Failure::new(ErrorCode::ShuttingDown, "the broker is stopping")))
    }

    /// Has the partition synced within the flush delay.
    pub(crate) fn sync_later(&self, partition: &Arc<Partition>) {
        let _whole = CriticalSection::enter(&self.health, "asking for a sync");
        {
            let mut commit = partition.commit.lock();
            if commit.will_sync() {
                return;
            }
            commit.delayed = true;
        }
        self.queue.lock().delay(partition.clone());
        self.timer.notify_one();
    }

    /// Has a batch appended by a thread of the pool, after those that wait already.
    pub(crate) fn append_later(self: &Arc<Self>, partition: &Arc<Partition>, append: QueuedAppend) {
        let _whole = CriticalSection::enter(&self.health, "queueing an append");
        if partition.writer.queue(append) {
            self.enqueue(Job::Appends(partition.clone()));
        }
    }

    /// A producer's batch was refused.
    pub(crate) fn write_refused(&self, code: ErrorCode) {
        self.health.metrics().write_refused(code);
    }

    pub(crate) fn health(&self) -> &Health {
        &self.health
    }

    pub(super) fn stop(&self) {
        self.queue.lock().stopped = true;
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
    fn takes_lone(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) == 1 && self.last_round.load(Ordering::Relaxed) <= 1 && self.lone.take()
    }

    /// A round in the task of the request that asked for it; true if a thread of the pool has to do one.
    fn lone_round(&self, partition: &Arc<Partition>) -> bool {
        let work = self.watchman.begin();
        let more = self.round(partition);
        drop(work);
        self.lone.done();
        more
    }

    /// The disk has more to do than it gets done: producers wait for it, or it is late with what nothing waits for.
    pub(super) fn is_contended(&self) -> bool {
        let queue = self.queue.lock();
        0 < self.waiting.load(Ordering::Relaxed) || !queue.ready.is_empty() || !queue.due.is_empty()
    }

    /// Without holding the lock afterwards: a thread that ends may still start another.
    fn take_thread(&self) -> Option<JoinHandle<()>> {
        self.threads.lock().pop()
    }

    /// Queues a job. The first thread starts at once, a further one only when work piles up.
    fn enqueue(self: &Arc<Self>, job: Job) {
        let mut queue = self.queue.lock();
        queue.push(job);
        let grow = queue.wants_thread();
        queue.threads += usize::from(grow);
        drop(queue);
        if grow {
            self.spawn("grower-flush", Self::run_thread);
        } else {
            self.work.notify_one();
        }
    }

    fn run_thread(self: &Arc<Self>) {
        while let Some(job) = self.next_ready() {
            match job {
                Job::Round(partition) if self.round(&partition) => {
                    self.queue.lock().push(Job::Round(partition));
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
        self.queue.lock().appending -= 1;
    }

    fn next_ready(&self) -> Option<Job> {
        let mut queue = self.queue.lock();
        loop {
            if let Some(job) = queue.pop() {
                return Some(job);
            }
            if queue.stopped {
                return None;
            }
            queue.idle_threads += 1;
            self.work.wait(&mut queue);
            queue.idle_threads -= 1;
        }
    }

    /// Collects partitions without waiters, and syncs them when the delay of the first is over.
    fn run_timer(self: &Arc<Self>) {
        let mut queue = self.queue.lock();
        while !queue.stopped {
            let Some(since) = queue.delayed_since else {
                self.timer.wait(&mut queue);
                continue;
            };
            while !queue.stopped {
                // Asked anew after each wake: the delay may have been changed.
                let until = since + self.settings.now().broker.flush_delay;
                if self.timer.wait_until(&mut queue, until).timed_out() {
                    break;
                }
            }
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

    /// Syncs what no producer waits for. Where readers wait, the pool is faster. `false` if a round runs: it may have begun
    /// before the last bytes came, so the partition must be looked at again.
    fn sync_due(self: &Arc<Self>, partition: &Arc<Partition>) -> bool {
        if !claim(partition) {
            return false;
        }
        partition.commit.lock().delayed = false;
        if partition.has_waiting_fetches() || self.round(partition) {
            self.enqueue(Job::Round(partition.clone()));
        }
        true
    }
}

/// Takes the partition's turn to be synced; `false` if another has it.
fn claim(partition: &Partition) -> bool {
    partition.commit.lock().claim()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::topic::TopicConfig;
    use crate::memory::{Memory, StateKind};
    use crate::metrics::Metrics;
    use grower_protocol::ids::{LeaderEpoch, PartitionId, TopicId, TopicName};
    use grower_storage::log::{LogOptions, MemLog};

    fn partition() -> Arc<Partition> {
        let whose = (TopicId::from_random([1; 16]), TopicName::new("events").unwrap(), PartitionId::new(0));
        let producers = Memory::new(16 << 20).remember(StateKind::Producers);
        let (log, health) = (Box::new(MemLog::new(LogOptions::default())), Health::new(Metrics::new()));
        Arc::new(Partition::lead(whose, &health, log, LeaderEpoch::default(), TopicConfig::default(), producers))
    }

    /// A disk may stall under an append for as long as it likes.
    #[test]
    fn no_round_waits_behind_appends_while_there_may_be_more_threads() {
        let (round, appends) = (|| Job::Round(partition()), || Job::Appends(partition()));
        let mut idle = Queue { threads: 1, idle_threads: 1, ..Queue::default() };
        idle.push(appends());
        assert!(!idle.wants_thread());
        idle.push(round());
        assert!(idle.wants_thread(), "the thread that is idle has the appends to do");

        let mut busy = Queue { threads: 1, ..Queue::default() };
        busy.push(appends());
        assert!(busy.pop().is_some_and(|job| job.appends()));
        busy.push(round());
        assert!(busy.wants_thread(), "the only thread appends from when it has taken the job");

        let mut rounds = Queue { threads: 1, idle_threads: 1, ..Queue::default() };
        rounds.push(round());
        rounds.push(round());
        assert!(!rounds.wants_thread(), "one thread does many rounds");
    }
}
