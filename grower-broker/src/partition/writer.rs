//! The writer's lock of a partition, and the queue of appends that cannot take it at once.
//!
//! An append on a network thread takes the lock for one short write. Work that waits for the disk under the lock (a
//! roll, a checkpoint, retention, a new policy) runs on other threads and announces itself first
//! ([`PartitionWriter::lock_slowly`]). Until it is done, network threads queue their appends, and the sync pool appends
//! them in order. An append that has to roll is queued as well. A fence of a producer takes the same way.

use super::{Partition, PartitionFence, SyncPool};
use crate::critical::{StateGuard, StateMutex};
use crate::health::Health;
use crate::memory::{Reserved, StateReservation};
use crate::replica::Replica;
use grower_protocol::batch::UnplacedBatch;
use grower_protocol::ids::{LeaderEpoch, Timestamp};
use grower_protocol::message::{ErrorCode, Failure, Part, ProducerFence};
use grower_storage::log::{Appended, Log};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;

/// How long an append waits for the lock before it checks again whether slow work is announced.
const LOOK_EACH: Duration = Duration::from_millis(1);

/// The single writer of a partition, and the append queue in front of it.
pub(super) struct PartitionWriter {
    tail: StateMutex<PartitionTail>,
    /// Slow work that holds the lock or waits for it. A non-empty append queue counts as one.
    slow: AtomicUsize,
    queue: Mutex<AppendQueue>,
}

#[derive(Default)]
struct AppendQueue {
    waiting: VecDeque<QueuedWork>,
    /// A thread of the sync pool empties the queue.
    draining: bool,
}

/// The state that the single writer owns.
pub(super) struct PartitionTail {
    pub(super) log: Box<dyn Log>,
    pub(super) replica: Replica,
    pub(super) deleted: bool,
    /// Memory of its idempotent producers.
    pub(super) producers: StateReservation,
}

impl PartitionTail {
    pub(super) fn check_open(&self) -> Result<(), Failure> {
        if self.deleted {
            return Err(deleted());
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

/// The answer of a deleted partition.
pub(super) fn deleted() -> Failure {
    Failure::new(ErrorCode::UnknownTopicId, "the topic was deleted")
}

/// Work in the append queue.
pub(crate) enum QueuedWork {
    Append(QueuedAppend),
    Fence(QueuedFence),
}

/// A batch in the append queue.
pub(crate) struct QueuedAppend {
    pub(crate) batch: UnplacedBatch,
    /// When it was received.
    pub(crate) now: Timestamp,
    /// Accounts for its bytes while it waits.
    pub(crate) memory: Reserved,
    /// Takes the outcome, on the thread that appended it.
    pub(crate) done: AppendDone,
}

/// A fence in the append queue.
pub(crate) struct QueuedFence {
    pub(crate) fence: Arc<PartitionFence>,
    /// Takes the outcome, if the request still waits for it.
    pub(crate) done: oneshot::Sender<Part<ProducerFence>>,
}

/// Takes the outcome of a queued append.
pub(crate) type AppendDone = Box<dyn FnOnce(&Arc<SyncPool>, &Arc<Partition>, Result<Appended, Failure>) + Send>;

impl PartitionWriter {
    pub(super) fn new(tail: PartitionTail, health: &Health) -> Self {
        let tail = StateMutex::new(health, "a change of a partition's log", tail);
        Self { tail, slow: AtomicUsize::new(0), queue: Mutex::default() }
    }

    /// Locks for work that does not wait for the disk, on a thread that may wait for slow work.
    pub(super) fn lock(&self) -> StateGuard<'_, PartitionTail> {
        self.tail.lock()
    }

    /// Locks for work that does not wait for the disk; none while slow work holds the lock or waits for it.
    pub(super) fn lock_unless_slow(&self) -> Option<StateGuard<'_, PartitionTail>> {
        while !self.is_slow() {
            if let Some(tail) = self.tail.try_lock_for(LOOK_EACH) {
                // Check again: an earlier append may have been queued meanwhile.
                return if self.is_slow() { None } else { Some(tail) };
            }
        }
        None
    }

    /// Locks for work that may wait for the disk. Network threads never call this.
    pub(super) fn lock_slowly(&self) -> SlowTailGuard<'_> {
        self.slow.fetch_add(1, Ordering::SeqCst);
        SlowTailGuard { tail: self.tail.lock(), slow: &self.slow }
    }

    /// Whether slow work holds the lock or waits for it.
    pub(super) fn is_slow(&self) -> bool {
        0 < self.slow.load(Ordering::SeqCst)
    }

    /// Adds work to the queue. True if the sync pool has to be asked to empty it.
    pub(super) fn queue(&self, work: QueuedWork) -> bool {
        let mut queue = self.queue.lock();
        debug_assert!(queue.draining || queue.waiting.is_empty(), "appends wait in a queue that no thread empties");
        queue.waiting.push_back(work);
        let idle = !std::mem::replace(&mut queue.draining, true);
        if idle {
            self.slow.fetch_add(1, Ordering::SeqCst);
        }
        idle
    }

    /// Takes the oldest queued work. None if the queue is empty: later appends take the lock again.
    pub(super) fn next_queued(&self) -> Option<QueuedWork> {
        let mut queue = self.queue.lock();
        debug_assert!(queue.draining, "an append leaves a queue that no thread was asked to empty");
        let next = queue.waiting.pop_front();
        if next.is_none() {
            queue.draining = false;
            let before = self.slow.fetch_sub(1, Ordering::SeqCst);
            debug_assert!(0 < before, "a queue ends that did not count as slow work");
        }
        next
    }
}

/// The writer's lock, held by slow work.
pub(super) struct SlowTailGuard<'a> {
    tail: StateGuard<'a, PartitionTail>,
    slow: &'a AtomicUsize,
}

impl Drop for SlowTailGuard<'_> {
    fn drop(&mut self) {
        let before = self.slow.fetch_sub(1, Ordering::SeqCst);
        debug_assert!(0 < before, "slow work ends that has not begun");
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
