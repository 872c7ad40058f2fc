//! Inline syncs: a request that is alone syncs in its own task, which saves two hops between threads.
//!
//! The task blocks a network thread. So one request at a time does so, none while the disk is slow, and none at all on
//! a network of one thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A larger request does not sync inline.
const BYTES_MAX: usize = 64 * 1024;
/// If the last sync took longer, a hand-off to another thread does not matter.
const SYNC_MAX: Duration = Duration::from_millis(5);

/// Facts about a request that decide whether its sync may be inline.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InlineSyncHint {
    /// Bytes appended.
    pub(crate) bytes: usize,
    /// Nothing more was received yet.
    pub(crate) last: bool,
}

impl InlineSyncHint {
    pub(super) fn allows_inline(self) -> bool {
        self.last && self.bytes <= BYTES_MAX
    }
}

/// The right to sync inline: one request has it at a time.
pub(super) struct InlineSyncSlot {
    /// Another network thread serves the connections meanwhile.
    spare_thread: bool,
    taken: AtomicBool,
    /// The last sync, inline or not, took long.
    slow: AtomicBool,
}

impl InlineSyncSlot {
    pub(super) fn new(network_threads: usize) -> Self {
        Self { spare_thread: 1 < network_threads, taken: AtomicBool::new(false), slow: AtomicBool::new(false) }
    }

    /// Takes the slot until [`InlineSyncSlot::release`]; `false` if it is taken or an inline sync does not pay.
    pub(super) fn try_acquire(&self) -> bool {
        self.spare_thread && !self.slow.load(Ordering::Relaxed) && !self.taken.swap(true, Ordering::Relaxed)
    }

    pub(super) fn release(&self) {
        debug_assert!(self.taken.load(Ordering::Relaxed), "a slot is released that no request has");
        self.taken.store(false, Ordering::Relaxed);
    }

    /// Notes how long a sync took.
    pub(super) fn note_sync(&self, took: Duration) {
        self.slow.store(SYNC_MAX < took, Ordering::Relaxed);
    }
}
