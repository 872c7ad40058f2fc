//! One requested backup of a running broker.
//!
//! Work on the backup's file system runs on a thread that holds nothing of the broker. After a cancel or a stop that
//! thread is waited for only a moment: a file system that does not answer blocks nothing else.

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

/// The time for a stopped backup to finish its step.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);
/// A longer step is logged.
const STALLED: Duration = Duration::from_secs(60);

/// A backup that is being made.
pub(crate) struct BackupRun {
    pub(super) backups: Arc<Backups>,
    pub(super) dir: PathBuf,
    pub(super) number: u64,
    /// Cancelled when the backup is cancelled or the broker stops.
    pub(super) stop: CancellationToken,
    pub(super) steps: AtomicU64,
}

impl BackupRun {
    /// Its directory of backups.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Notes the progress. Returns false if the backup must stop.
    pub(crate) fn keeps_going(&self, read_bytes: u64) -> bool {
        self.steps.fetch_add(1, Ordering::Relaxed);
        self.backups.note(self.number, read_bytes);
        !self.stop.is_cancelled()
    }

    /// Notes the result.
    pub(crate) fn end(&self, made: Result<BackedUp, BackupError>) {
        match &made {
            Ok(made) => {
                let (path, bytes, new_bytes) = (made.path.display(), made.bytes, made.new_bytes);
                tracing::info!(%path, bytes, new_bytes, "a backup was made");
            }
            Err(BackupError::Stopped) => {}
            Err(error) => tracing::warn!(dir = %self.dir.display(), %error, "no backup was made"),
        }
        self.backups.end(self.number, made);
    }

    /// Runs work on the backup's file system, on its own thread.
    pub(crate) async fn run_apart<T: Send + 'static>(
        self: &Arc<Self>,
        health: &Health,
        work: impl FnOnce(&Self) -> Result<T, BackupError> + Send + 'static,
    ) -> Result<T, BackupError> {
        let (tell, done) = oneshot::channel();
        let (run, counted) = (self.clone(), self.backups.threads.clone());
        let working = move || {
            let _counted = counted;
            let _ = tell.send(catch_unwind(AssertUnwindSafe(|| work(&run)))); // It fails if the backup was abandoned.
        };
        background::thread("grower-backup", health, working).map_err(BackupError::Thread)?;
        tokio::select! {
            biased;
            done = done => match done {
                Ok(done) => done.unwrap_or_else(|panic| resume_unwind(panic)),
                Err(_) => Err(Failure::new(ErrorCode::Internal, "the thread of the backup ended early").into()),
            },
            () = self.abandoned() => Err(BackupError::Unanswered { dir: self.dir.clone() }),
            () = self.log_stalls() => Err(BackupError::Stopped), // It never returns.
        }
    }

    async fn abandoned(&self) {
        self.stop.cancelled().await;
        tokio::time::sleep(STOP_TIMEOUT).await;
    }

    /// Logs a step that does not end, repeatedly.
    async fn log_stalls(&self) {
        let mut seen = self.steps.load(Ordering::Relaxed);
        loop {
            tokio::time::sleep(STALLED).await;
            if self.is_stalled(&mut seen) {
                tracing::warn!(
                    dir = %self.dir.display(),
                    "the file system of a backup does not answer: deleted files that the backup holds keep their disk space \
                     until it answers, or until `grower-cli backup cancel`"
                );
            }
        }
    }

    /// Whether no step ended since the last call.
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
    fn a_step_that_does_not_end_is_a_stall() {
        let run = begin(&backups(), "a").unwrap();
        let mut seen = 0;
        assert!(run.keeps_going(0));
        assert!(!run.is_stalled(&mut seen));
        assert!(run.is_stalled(&mut seen));
        assert!(run.keeps_going(0));
        assert!(!run.is_stalled(&mut seen), "a step ended");
    }

    #[tokio::test]
    async fn a_backup_that_hangs_is_abandoned_and_several_of_them_block_new_ones() {
        let (backups, health) = (backups(), Health::new(Metrics::for_test()));
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
            let ended = run.run_apart(&health, work).await;
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
