//! The writer's lock, and what happens to appends while it cannot be had at once.
//!
//! An append on a thread of the network takes the lock for one short write and nothing else. Work that waits for the disk
//! under the lock (a roll, a checkpoint, retention, a new policy) happens on other threads and announces itself first
//! ([`Writer::lock_slowly`]). From then on, and until it is done, appends of the network do not wait: they are queued,
//! and a flusher appends them in the order in which they came. An append that itself has to roll is queued likewise.

use super::{Partition, SyncPool};
use crate::critical::{StateGuard, StateMutex};
use crate::health::Health;
use crate::memory::{Remembered, Reserved};
use crate::replica::Replica;
use grower_protocol::batch::UnplacedBatch;
use grower_protocol::ids::{LeaderEpoch, Timestamp};
use grower_protocol::message::{ErrorCode, Failure};
use grower_storage::log::{Appended, Log};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// For how long an append waits for others before it looks again whether one of them takes long.
const LOOK_EACH: Duration = Duration::from_millis(1);

/// The single writer of a partition, and the queue before it.
pub(super) struct Writer {
    tail: StateMutex<PartitionTail>,
    /// Slow work that holds the lock or waits for it; the appends that are queued count as one.
    slow: AtomicUsize,
    queue: Mutex<AppendQueue>,
}

#[derive(Default)]
struct AppendQueue {
    appends: VecDeque<QueuedAppend>,
    /// A flusher was asked to append them and is not done.
    draining: bool,
}

/// What the single writer owns.
pub(super) struct PartitionTail {
    pub(super) log: Box<dyn Log>,
    pub(super) replica: Replica,
    pub(super) deleted: bool,
    /// What its producers are remembered by.
    pub(super) producers: Remembered,
}

impl PartitionTail {
    pub(super) fn check_open(&self) -> Result<(), Failure> {
        if self.deleted {
            return Err(Failure::new(ErrorCode::UnknownTopicId, "the topic was deleted"));
        }
        Ok(())
    }

    /// The epoch to append under.
    pub(super) fn writable_epoch(&self) -> Result<LeaderEpoch, Failure> {
        self.check_open()?;
        let not_leader = || Failure::new(ErrorCode::NotLeader, "this broker does not lead the partition");
        self.replica.epoch().ok_or_else(not_leader)
    }
}

/// A batch that waits for the writer.
pub(crate) struct QueuedAppend {
    pub(crate) batch: UnplacedBatch,
    /// When it came.
    pub(crate) now: Timestamp,
    /// Counts its bytes as long as it waits.
    pub(crate) memory: Reserved,
    /// Told what became of it, by the flusher that appended it.
    pub(crate) done: AppendDone,
}

/// What is to be done with a batch once it was appended, or refused.
pub(crate) type AppendDone = Box<dyn FnOnce(&Arc<SyncPool>, &Arc<Partition>, Result<Appended, Failure>) + Send>;

impl Writer {
    pub(super) fn new(tail: PartitionTail, health: &Health) -> Self {
        let tail = StateMutex::new(health, "a change of a partition's log", tail);
        Self { tail, slow: AtomicUsize::new(0), queue: Mutex::default() }
    }

    /// Locks for work that waits for no disk, on a thread that may wait for others.
    pub(super) fn lock(&self) -> StateGuard<'_, PartitionTail> {
        self.tail.lock()
    }

    /// Locks for work that waits for no disk; none while the lock is held, or about to be held, by work that does.
    pub(super) fn lock_unless_slow(&self) -> Option<StateGuard<'_, PartitionTail>> {
        while !self.is_slow() {
            if let Some(tail) = self.tail.try_lock_for(LOOK_EACH) {
                // Again: meanwhile an append that came before this one may have been queued.
                return if self.is_slow() { None } else { Some(tail) };
            }
        }
        None
    }

    /// Locks for work that may wait for the disk, which no thread of the network does.
    pub(super) fn lock_slowly(&self) -> SlowTailGuard<'_> {
        self.slow.fetch_add(1, Ordering::SeqCst);
        SlowTailGuard { tail: self.tail.lock(), slow: &self.slow }
    }

    /// Whether the lock is held, or about to be held, by work that waits for the disk.
    pub(super) fn is_slow(&self) -> bool {
        0 < self.slow.load(Ordering::SeqCst)
    }

    /// Queues an append behind those that wait already. True if a flusher has to be asked to append them.
    pub(super) fn queue(&self, append: QueuedAppend) -> bool {
        let mut queue = self.queue.lock();
        queue.appends.push_back(append);
        let idle = !std::mem::replace(&mut queue.draining, true);
        if idle {
            self.slow.fetch_add(1, Ordering::SeqCst);
        }
        idle
    }

    /// The append that has waited longest. None if none is left; then later ones need not wait.
    pub(super) fn next_queued(&self) -> Option<QueuedAppend> {
        let mut queue = self.queue.lock();
        debug_assert!(queue.draining, "appends are taken from a queue that no flusher was asked to empty");
        let next = queue.appends.pop_front();
        if next.is_none() {
            queue.draining = false;
            self.slow.fetch_sub(1, Ordering::SeqCst);
        }
        next
    }
}

/// The writer's lock in the hands of work that may take long.
pub(super) struct SlowTailGuard<'a> {
    tail: StateGuard<'a, PartitionTail>,
    slow: &'a AtomicUsize,
}

impl Drop for SlowTailGuard<'_> {
    fn drop(&mut self) {
        let before = self.slow.fetch_sub(1, Ordering::SeqCst);
        debug_assert!(0 < before, "slow work ends that did not begin");
    }
}

impl Deref for SlowTailGuard<'_> {
    type Target = PartitionTail;

    fn deref(&self) -> &PartitionTail {
        &self.tail
    }
}

impl DerefMut for SlowTailGuard<'_> {
    fn deref_mut(&mut self) -> &mut PartitionTail {
        &mut self.tail
    }
}
