//! Tasks without which a consumer cannot read: if one ends early, the reader gets an error instead of silence.

use crate::consumer::state::SharedSubscription;
use crate::error::ConsumeError;
use std::future::Future;
use std::sync::Arc;

/// Reports the end of its task when it is dropped before the task is done.
struct TaskGuard {
    shared: Arc<SharedSubscription>,
    is_done: bool,
}

/// Returns `task`, which reports an error to the reader if it panics or its runtime ends.
pub(crate) fn essential<F: Future<Output = ()>>(
    shared: &Arc<SharedSubscription>,
    task: F,
) -> impl Future<Output = ()> + use<F> {
    let guard = TaskGuard { shared: shared.clone(), is_done: false };
    async move {
        let mut guard = guard; // Captured whole: it is dropped with a task that never ran.
        task.await;
        guard.is_done = true;
    }
}

impl Drop for TaskGuard {
    fn drop(&mut self) {
        if !self.is_done {
            let is_panic = std::thread::panicking();
            self.shared.stop(if is_panic { ConsumeError::Panicked } else { ConsumeError::RuntimeEnded });
        }
    }
}
