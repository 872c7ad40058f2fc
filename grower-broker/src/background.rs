//! The one way to start threads and tasks of the broker.
//!
//! A thread or task that runs until the stop does what others wait for: syncs, expiry of members, retention. If a panic
//! ends it, nothing takes its place but a restart, which recovers everything that was acknowledged. So the broker fails
//! for good when one of them ends for another reason than that it was told to stop.
//!
//! A connection or a request that panics ends alone: its connection closes, and a client that sends the request again
//! may do no more harm than that. A panic that leaves shared state half changed is another matter: see
//! [`critical`](crate::critical).

use crate::health::Health;
use futures_util::FutureExt;
use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::thread::JoinHandle;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Starts a thread that runs until it is told to stop.
#[expect(clippy::disallowed_methods, reason = "the one place where threads are started")]
pub(crate) fn thread(
    name: &'static str,
    health: &Health,
    run: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let guard = PanicGuard { what: name, health: health.clone() };
    let guarded = move || {
        let _guard = guard;
        run();
    };
    std::thread::Builder::new().name(name.to_owned()).spawn(guarded)
}

/// Does work that may block on a thread for such work. A panic there continues in the task that waits for it.
#[expect(clippy::disallowed_methods, reason = "the one place where work is handed to such threads")]
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
    match tokio::task::spawn_blocking(work).await {
        Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
        done => done,
    }
}

/// The tasks of a broker, which its stop waits for.
#[derive(Clone)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    health: Health,
}

impl Tasks {
    pub(crate) fn new(health: Health) -> Self {
        Self { tracker: TaskTracker::new(), health }
    }

    /// Starts a task that ends by itself: a connection, or a request.
    pub(crate) fn spawn(
        &self,
        what: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> tokio::task::JoinHandle<()> {
        let health = self.health.clone();
        self.tracker.spawn(async move {
            if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
                contained(&health, what, &*panic);
            }
        })
    }

    /// Starts a task that runs until `stop`.
    pub(crate) fn spawn_until(
        &self,
        stop: &CancellationToken,
        what: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let (stop, health) = (stop.clone(), self.health.clone());
        let guard = PanicGuard { what, health: health.clone() };
        self.tracker.spawn(async move {
            let _guard = guard;
            task.await;
            if !stop.is_cancelled() {
                health.fail(format!("{what} ended without a stop of the broker: restart the broker"));
            }
        });
    }

    /// How many are running.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.tracker.len()
    }

    /// Returns when all of them have ended. There will be no more.
    pub(crate) async fn end(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// Reports and counts a panic that ends `what` and nothing else.
pub(crate) fn contained(health: &Health, what: &str, panic: &(dyn Any + Send)) {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let panic = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text");
    tracing::error!(what, panic, "this panicked and lost its connection; the broker serves on; please report it");
    health.metrics().panicked();
}

/// Ends the broker if the thread or task that holds it panics.
struct PanicGuard {
    what: &'static str,
    health: Health,
}

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let what = self.what;
            self.health.fail(format!("{what} panicked and left its work half done: restart the broker"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    fn health() -> Health {
        Health::new(Metrics::for_test())
    }

    #[test]
    fn a_thread_that_panics_fails_the_broker_and_one_that_ends_does_not() {
        let health = health();
        thread("a stopped thread", &health, || {}).unwrap().join().unwrap();
        assert_eq!(health.failure(), None);
        thread("a broken thread", &health, || panic!("a bug")).unwrap().join().unwrap_err();
        assert!(health.failure().unwrap().contains("a broken thread"));
    }

    #[tokio::test]
    async fn a_panic_of_a_request_ends_only_that_request_and_is_counted() {
        let health = health();
        let tasks = Tasks::new(health.clone());
        tasks.spawn("a request", async { blocking(|| panic!("a bug")).await.unwrap() }).await.unwrap();
        assert_eq!(health.failure(), None);
        assert!(health.metrics().print().contains("grower_panics_total 1\n"));
    }

    #[tokio::test]
    async fn a_panic_of_work_on_another_thread_fails_the_broker() {
        let (health, stop) = (health(), CancellationToken::new());
        let tasks = Tasks::new(health.clone());
        tasks.spawn("a request", async { assert_eq!(blocking(|| 1).await.unwrap(), 1) });
        tasks.spawn_until(&stop, "a broken task", async { blocking(|| panic!("a bug")).await.unwrap() });
        assert!(health.failed().await.contains("a broken task panicked"));
        tasks.end().await;
    }

    #[tokio::test]
    async fn a_job_that_ends_before_the_broker_stops_fails_the_broker() {
        let (health, stop) = (health(), CancellationToken::new());
        let tasks = Tasks::new(health.clone());
        let told = stop.clone();
        tasks.spawn_until(&stop, "a task that stops", async move { told.cancelled().await });
        tasks.spawn_until(&stop, "a task that is done", async {});
        assert!(health.failed().await.contains("a task that is done ended"));
        stop.cancel();
        tasks.end().await;
    }
}
