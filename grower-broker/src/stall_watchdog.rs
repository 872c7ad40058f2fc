//! Sees to it that the network is looked at while one of its threads waits for the disk.
//!
//! Whoever handles a request may write, roll a segment or sync on the spot: that is quick, and handing it to another
//! thread is not. When a disk stalls it is not quick either, and the thread that waits may be the very one that was to
//! look for what the network brings while the others sleep. So when one has been at the same piece of work for long,
//! another is woken; it looks at the sockets before it sleeps again. Without a stall nobody is: a second thread that
//! is awake takes requests to another core, at the cost of a record's whole latency.

use crate::background;
use crate::health::Health;
use parking_lot::{Condvar, Mutex};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Handle;

/// A piece of work that takes longer than this, or at most twice this, is a stall.
const LOOK_EACH: Duration = Duration::from_millis(50);

/// A thread of its own, which sleeps when nothing goes on.
pub(crate) struct StallWatchdog {
    shared: Arc<WatchdogState>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct WatchdogState {
    /// Pieces of work begun so far.
    begun: AtomicU64,
    /// Those that have not ended.
    open: AtomicUsize,
    /// The thread sleeps until a piece of work begins.
    asleep: AtomicBool,
    stopped: Mutex<bool>,
    changed: Condvar,
}

/// A piece of work that lasts until this is dropped.
pub(crate) struct WatchedWork<'a>(&'a AtomicUsize);

impl StallWatchdog {
    /// Watches over connections that run where this is called.
    pub(crate) fn start(health: &Health) -> io::Result<Self> {
        let (shared, network) = (Arc::new(WatchdogState::default()), Handle::current());
        let watching = shared.clone();
        let thread = background::thread("grower-watch", health, move || watching.run(&network))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Something begins on a thread of the network that may have to wait for the disk.
    pub(crate) fn watch(&self) -> WatchedWork<'_> {
        let shared = &*self.shared;
        shared.open.fetch_add(1, Ordering::Relaxed);
        shared.begun.fetch_add(1, Ordering::SeqCst);
        if shared.asleep.load(Ordering::SeqCst) && shared.asleep.swap(false, Ordering::SeqCst) {
            drop(shared.stopped.lock()); // By now the thread waits.
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

/// Tells a stall from work by two looks at the same counters.
#[derive(Debug, Default)]
struct StallDetector {
    begun_before: u64,
    /// The piece of work that was begun last, if one was open.
    open_before: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Observation {
    /// Nothing was begun since the last look, and nothing is open.
    AtRest {
        begun: u64,
    },
    AtWork,
    /// A piece of work has lasted since the last look, and no other was begun.
    Stalled,
}

impl StallDetector {
    /// Looks at how many pieces of work were begun so far, and how many of them are open.
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
