//! One backup that a running broker makes of itself.
//!
//! What is done where the backup goes is done on a thread that holds nothing of the broker. Once the backup was cancelled,
//! or the broker stops, that thread is waited for only a moment: a file system that does not answer keeps nobody.

use super::service::Backups;
use super::{BackedUp, BackupError};
use crate::background;
use crate::health::Health;
use grower_protocol::message::{ErrorCode, Failure};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// How long a backup that was told to stop may take for the step that it is at.
const PATIENCE: Duration = Duration::from_secs(3);
/// A step that takes longer is worth a line in the log.
const STALLED: Duration = Duration::from_secs(60);

/// A backup that is being made.
pub(crate) struct BackupRun {
    pub(super) backups: Arc<Backups>,
    pub(super) dir: PathBuf,
    pub(super) number: u64,
    /// It was cancelled, or the broker stops.
    pub(super) stop: CancellationToken,
    pub(super) steps: AtomicU64,
}

impl BackupRun {
    /// Where it is made.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Notes how far it is. False if it is to stop.
    pub(crate) fn keeps_going(&self, read_bytes: u64) -> bool {
        self.steps.fetch_add(1, Ordering::Relaxed);
        self.backups.note(self.number, read_bytes);
        !self.stop.is_cancelled()
    }

    /// Notes what became of it.
    pub(crate) fn end(&self, made: Result<BackedUp, BackupError>) {
        self.backups.end(made);
    }

    /// Does work where the backup goes.
    pub(crate) async fn apart<T: Send + 'static>(
        self: &Arc<Self>,
        health: &Health,
        work: impl FnOnce(&Self) -> Result<T, BackupError> + Send + 'static,
    ) -> Result<T, BackupError> {
        let (tell, done) = oneshot::channel();
        let (run, counted) = (self.clone(), self.backups.threads.clone());
        let working = move || {
            let _counted = counted;
            let _ = tell.send(catch_unwind(AssertUnwindSafe(|| work(&run)))); // Else it was given up.
        };
        background::thread("grower-backup", health, working).map_err(BackupError::Thread)?;
        tokio::select! {
            biased;
            done = done => match done {
                Ok(done) => done.unwrap_or_else(|panic| resume_unwind(panic)),
                Err(_) => Err(Failure::new(ErrorCode::Internal, "the thread of the backup ended early").into()),
            },
            () = self.given_up() => Err(BackupError::Unanswered { dir: self.dir.clone() }),
            () = self.tell_stalls() => Err(BackupError::Stopped), // Which never returns.
        }
    }

    async fn given_up(&self) {
        self.stop.cancelled().await;
        tokio::time::sleep(PATIENCE).await;
    }

    /// Tells, again and again, of a step that does not end.
    async fn tell_stalls(&self) {
        let mut seen = self.steps.load(Ordering::Relaxed);
        loop {
            tokio::time::sleep(STALLED).await;
            if self.is_stalled(&mut seen) {
                tracing::warn!(
                    dir = %self.dir.display(),
                    "the file system of a backup does not answer; until it does, or `grower-cli backup cancel`, files that \
                     the backup holds take room though they were deleted"
                );
            }
        }
    }

    /// Whether no step ended since the last look.
    fn is_stalled(&self, seen: &mut u64) -> bool {
        let steps = self.steps.load(Ordering::Relaxed);
        std::mem::replace(seen, steps) == steps
    }
}

#[cfg(test)]
mod tests {
    use super::super::service::tests::{backups, begin};
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn a_step_that_does_not_end_is_noticed() {
        let run = begin(&backups(), "a").unwrap();
        let mut seen = 0;
        assert!(run.keeps_going(0));
        assert!(!run.is_stalled(&mut seen));
        assert!(run.is_stalled(&mut seen));
        assert!(run.keeps_going(0));
        assert!(!run.is_stalled(&mut seen), "it goes on");
    }

    #[tokio::test]
    async fn work_that_does_not_come_back_is_given_up_and_so_much_of_it_keeps_new_backups_away() {
        let (backups, health) = (backups(), Health::new(Metrics::new()));
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let held = Arc::new(parking_lot::Mutex::new(held));
        let refused = loop {
            let run = match begin(&backups, "a") {
                Ok(run) => run,
                Err(refused) => break refused,
            };
            let hanging = held.clone();
            backups.cancel();
            let work = move |_: &BackupRun| hanging.lock().recv().map_err(|_| BackupError::Stopped);
            tokio::time::pause();
            let ended = run.apart(&health, work).await;
            tokio::time::resume();
            assert!(matches!(ended, Err(BackupError::Unanswered { .. })), "{ended:?}");
            run.end(ended.map(|()| unreachable!()));
        };
        assert!(refused.contains("does not answer"), "{refused}");
        drop(hold);
        while begin(&backups, "b").is_err() {
            tokio::task::yield_now().await;
        }
        assert_eq!(health.failure(), None);
    }
}
