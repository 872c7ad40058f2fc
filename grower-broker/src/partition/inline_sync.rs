//! The request that syncs in its own task, which saves two hops between threads.
//!
//! Its task blocks a thread of the network, so there is one such request at a time, none while the disk is slow, and none
//! at all if that thread is the only one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A request up to this size may sync in its own task.
const BYTES_MAX: usize = 64 * 1024;
/// If the last sync took longer, a hand-off to another thread no longer matters.
const SYNC_MAX: Duration = Duration::from_millis(5);

/// What a connection knows of its own situation when it asks for a sync.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InlineSyncHint {
    /// Bytes it just appended.
    pub(crate) bytes: usize,
    /// It has received nothing further yet.
    pub(crate) last: bool,
}

impl InlineSyncHint {
    pub(super) fn allows_inline(self) -> bool {
        self.last && self.bytes <= BYTES_MAX
    }
}

/// The turn of the lone request.
pub(super) struct InlineSyncSlot {
    /// Another thread looks after the network meanwhile.
    spare_thread: bool,
    taken: AtomicBool,
    /// The last sync, whoever did it, took long.
    slow: AtomicBool,
}

impl InlineSyncSlot {
    pub(super) fn new(network_threads: usize) -> Self {
        Self { spare_thread: 1 < network_threads, taken: AtomicBool::new(false), slow: AtomicBool::new(false) }
    }

    /// Takes it, to be given back by [`InlineSyncSlot::release`]; `false` if it is not to be had.
    pub(super) fn try_acquire(&self) -> bool {
        self.spare_thread && !self.slow.load(Ordering::Relaxed) && !self.taken.swap(true, Ordering::Relaxed)
    }

    pub(super) fn release(&self) {
        self.taken.store(false, Ordering::Relaxed);
    }

    /// Notes how long a sync took.
    pub(super) fn note_sync(&self, took: Duration) {
        self.slow.store(SYNC_MAX < took, Ordering::Relaxed);
    }
}
