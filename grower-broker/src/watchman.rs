//! Sees to it that the network is looked at while one of its threads waits for the disk.
//!
//! Whoever handles a request may write, roll a segment or sync on the spot: that is quick, and handing it to another
//! thread is not. When a disk stalls it is not quick either, and the thread that waits may be the very one that was to
//! look for what the network brings while the others sleep. So while there are requests, another one is woken every
//! so often; it looks at the sockets before it sleeps again.

use parking_lot::{Condvar, Mutex};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Handle;

/// For so long a stall may hold up those who have no part in it.
const WAKE_EACH: Duration = Duration::from_millis(50);

/// A thread of its own, which sleeps when nothing goes on.
pub(crate) struct Watchman {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    /// A request came since it looked last.
    stirred: AtomicBool,
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Watchman {
    /// Watches over connections that run where this is called.
    pub(crate) fn start() -> io::Result<Self> {
        let (shared, network) = (Arc::new(Shared::default()), Handle::current());
        let watching = shared.clone();
        let thread =
            std::thread::Builder::new().name("grower-watch".to_owned()).spawn(move || watching.run(&network))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// A request is going to be handled.
    pub(crate) fn stir(&self) {
        let shared = &self.shared;
        if !shared.stirred.load(Ordering::Relaxed) && !shared.stirred.swap(true, Ordering::Relaxed) {
            drop(shared.stopped.lock()); // By now the thread either waits or will see it.
            shared.changed.notify_one();
        }
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
        while !*stopped {
            if !self.stirred.swap(false, Ordering::Relaxed) {
                self.changed.wait(&mut stopped);
                continue;
            }
            self.changed.wait_for(&mut stopped, WAKE_EACH);
            network.spawn(async {});
        }
    }
}
