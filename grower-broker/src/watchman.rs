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
pub(crate) struct Watchman {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
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
pub(crate) struct Work<'a>(&'a AtomicUsize);

impl Watchman {
    /// Watches over connections that run where this is called.
    pub(crate) fn start(health: &Health) -> io::Result<Self> {
        let (shared, network) = (Arc::new(Shared::default()), Handle::current());
        let watching = shared.clone();
        let thread = background::thread("grower-watch", health, move || watching.run(&network))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Something begins on a thread of the network that may have to wait for the disk.
    pub(crate) fn begin(&self) -> Work<'_> {
        let shared = &*self.shared;
        shared.open.fetch_add(1, Ordering::Relaxed);
        shared.begun.fetch_add(1, Ordering::SeqCst);
        if shared.asleep.load(Ordering::SeqCst) && shared.asleep.swap(false, Ordering::SeqCst) {
            drop(shared.stopped.lock()); // By now the thread waits.
            shared.changed.notify_one();
        }
        Work(&shared.open)
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Watchman {
    fn drop(&mut self) {
        *self.shared.stopped.lock() = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // A panic there was reported by its hook.
        }
    }
}

impl Shared {
    fn run(&self, network: &Handle) {
        let mut stopped = self.stopped.lock();
        let (mut begun_before, mut stuck_before) = (0, None);
        while !*stopped {
            let (begun, at_work) = (self.begun.load(Ordering::SeqCst), self.at_work());
            if begun == begun_before && at_work.is_none() {
                self.asleep.store(true, Ordering::SeqCst);
                if begun == self.begun.load(Ordering::SeqCst) {
                    self.changed.wait(&mut stopped);
                }
                self.asleep.store(false, Ordering::SeqCst);
                continue;
            }
            if at_work.is_some() && at_work == stuck_before {
                network.spawn(async {});
            }
            (begun_before, stuck_before) = (begun, at_work);
            self.changed.wait_for(&mut stopped, LOOK_EACH);
        }
    }

    /// Which piece of work was begun last, if any is open. The same twice: whoever is at it waits, and nobody else works.
    fn at_work(&self) -> Option<u64> {
        let open = 0 < self.open.load(Ordering::Relaxed);
        open.then(|| self.begun.load(Ordering::Relaxed))
    }
}
