//! The stall watchdog: keeps the network served while a network thread waits for a stalled disk.
//!
//! A request may write, roll a segment or sync on its network thread: usually that is faster than a hand-off. On a
//! stalled disk the thread blocks, and it may be the one that polls the sockets while the others sleep. So if the same
//! piece of work lasts long, the watchdog wakes another thread, which polls before it sleeps again. Without a stall it
//! wakes none: a second thread would move requests to another core, at the cost of a record's whole latency.

use crate::background;
use crate::health::Health;
use parking_lot::{Condvar, Mutex};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Handle;

/// Work that lasts this long, at most twice this long, is a stall.
const LOOK_EACH: Duration = Duration::from_millis(50);

/// A thread that watches the network threads. It sleeps while they have no work.
pub(crate) struct StallWatchdog {
    shared: Arc<WatchdogState>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct WatchdogState {
    /// Work begun so far.
    begun: AtomicU64,
    /// Work that has not ended.
    open: AtomicUsize,
    /// The watchdog's thread sleeps until work begins.
    asleep: AtomicBool,
    stopped: Mutex<bool>,
    changed: Condvar,
}

/// Work under watch, until this is dropped.
pub(crate) struct WatchedWork<'a>(&'a AtomicUsize);

impl StallWatchdog {
    /// Starts the watchdog of the runtime that this is called in.
    pub(crate) fn start(health: &Health) -> io::Result<Self> {
        let (shared, network) = (Arc::new(WatchdogState::default()), Handle::current());
        let watching = shared.clone();
        let thread = background::thread("grower-watch", health, move || watching.run(&network))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Watches work of a network thread that may wait for the disk.
    pub(crate) fn watch(&self) -> WatchedWork<'_> {
        let shared = &*self.shared;
        shared.open.fetch_add(1, Ordering::Relaxed);
        shared.begun.fetch_add(1, Ordering::SeqCst);
        if shared.asleep.load(Ordering::SeqCst) && shared.asleep.swap(false, Ordering::SeqCst) {
            drop(shared.stopped.lock()); // Now the thread waits.
            shared.changed.notify_one();
        }
        WatchedWork(&shared.open)
    }
}

impl Drop for WatchedWork<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for StallWatchdog {
    fn drop(&mut self) {
        *self.shared.stopped.lock() = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // A panic there was reported by its hook.
        }
    }
}

impl WatchdogState {
    fn run(&self, network: &Handle) {
        let mut stopped = self.stopped.lock();
        let mut detector = StallDetector::default();
        while !*stopped {
            match detector.look(self.begun.load(Ordering::SeqCst), self.open.load(Ordering::Relaxed)) {
                Observation::AtRest { begun } => {
                    self.asleep.store(true, Ordering::SeqCst);
                    if begun == self.begun.load(Ordering::SeqCst) {
                        self.changed.wait(&mut stopped);
                    }
                    self.asleep.store(false, Ordering::SeqCst);
                    continue;
                }
                Observation::Stalled => drop(network.spawn(async {})), // Wakes a thread.
                Observation::AtWork => {}
            }
            self.changed.wait_for(&mut stopped, LOOK_EACH);
        }
    }
}

/// Detects a stall: two looks at the counters find the same work open and no other begun.
#[derive(Debug, Default)]
struct StallDetector {
    begun_before: u64,
    /// The number of the work begun last, if any was open.
    open_before: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Observation {
    /// Nothing was begun since the last look, and nothing is open.
    AtRest {
        begun: u64,
    },
    AtWork,
    /// Work was open at both looks, and none was begun in between.
    Stalled,
}

impl StallDetector {
    /// Compares with the last look: work `begun` so far, and work `open` now.
    fn look(&mut self, begun: u64, open: usize) -> Observation {
        debug_assert!(self.begun_before <= begun, "the count of begun work falls to {begun}: {self:?}");
        let open = (0 < open).then_some(begun);
        let look = match open {
            None if begun == self.begun_before => Observation::AtRest { begun },
            Some(_) if open == self.open_before => Observation::Stalled,
            _ => Observation::AtWork,
        };
        (self.begun_before, self.open_before) = (begun, open);
        look
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_work_that_lasts_while_nothing_else_begins_is_a_stall() {
        let mut detector = StallDetector::default();
        assert_eq!(detector.look(0, 0), Observation::AtRest { begun: 0 });
        assert_eq!(detector.look(1, 1), Observation::AtWork);
        assert_eq!(detector.look(1, 1), Observation::Stalled);
        assert_eq!(detector.look(2, 2), Observation::AtWork, "another thread looked at the network");
        assert_eq!(detector.look(5, 0), Observation::AtWork);
        assert_eq!(detector.look(5, 0), Observation::AtRest { begun: 5 });
    }
}
