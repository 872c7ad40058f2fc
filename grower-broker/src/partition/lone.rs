//! The request that syncs in its own task, which saves two hops between threads.
//!
//! Its task blocks a thread of the network, so there is one such request at a time, and none while the disk is slow. And
//! since that thread may be the one that was to look for what the network brings, a watchman wakes another one if the
//! sync takes long: whoever does not write must not notice that a disk stalls.

use parking_lot::{Condvar, Mutex};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;

/// A request up to this size may sync in its own task.
const BYTES_MAX: usize = 64 * 1024;
/// If the last sync took longer, a hand-off to another thread no longer matters.
const SYNC_MAX: Duration = Duration::from_millis(5);
/// How often the watchman looks.
const LOOK_EACH: Duration = Duration::from_millis(50);

/// What a connection knows of its own situation when it asks for a sync.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lone {
    /// Bytes it just appended.
    pub(crate) bytes: usize,
    /// It has received nothing further yet.
    pub(crate) last: bool,
}

impl Lone {
    pub(super) fn is_small(self) -> bool {
        self.last && self.bytes <= BYTES_MAX
    }
}

/// The turn of the lone request.
#[derive(Default)]
pub(super) struct Turn {
    taken: AtomicBool,
    /// The last sync, whoever did it, took long.
    slow: AtomicBool,
    /// It was taken since the watchman looked last.
    used: AtomicBool,
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Turn {
    /// Takes it, to be given back by [`Turn::done`]; `false` if it is not to be had.
    pub(super) fn take(&self) -> bool {
        if self.slow.load(Ordering::Relaxed) || self.taken.swap(true, Ordering::Relaxed) {
            return false;
        }
        if !self.used.load(Ordering::Relaxed) && !self.used.swap(true, Ordering::Relaxed) {
            drop(self.stopped.lock()); // The watchman either waits by now or sees it.
            self.changed.notify_one();
        }
        true
    }

    pub(super) fn done(&self) {
        self.taken.store(false, Ordering::Relaxed);
    }

    /// Notes how long a sync took.
    pub(super) fn synced(&self, took: Duration) {
        self.slow.store(SYNC_MAX < took, Ordering::Relaxed);
    }

    pub(super) fn stop(&self) {
        *self.stopped.lock() = true;
        self.changed.notify_one();
    }

    /// The watchman; ends after [`Turn::stop`].
    pub(super) fn watch(&self, network: &Handle) {
        let mut stopped = self.stopped.lock();
        while !*stopped {
            if !self.used.swap(false, Ordering::Relaxed) && !self.taken.load(Ordering::Relaxed) {
                self.changed.wait(&mut stopped);
                continue;
            }
            self.changed.wait_for(&mut stopped, LOOK_EACH);
            if self.taken.load(Ordering::Relaxed) {
                network.spawn(async {}); // An idle thread that was woken looks at the sockets before it sleeps again.
            }
        }
    }
}
