//! Backups of this broker, made while it serves: one request begins a backup, others follow it.

use super::{Answered, Api};
use crate::background;
use crate::backup::{BackedUp, BackupError, BackupRun, HeldBrokerFiles, RunningBroker, UnfinishedBackup, remove_links};
use futures_util::FutureExt;
use grower_protocol::message::{ErrorCode, Failure, Response};
use grower_storage::log::ChangeError;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;

impl Api {
    pub(super) async fn begin_backup(self: Arc<Self>, dir: String, full: bool) -> Answered {
        let (run, description) = self.state.backups.begin(&dir, self.state.clock.wall(), &self.state.stop)?;
        let api = self.clone();
        self.state.tasks.spawn("a backup", async move {
            let made = AssertUnwindSafe(api.make_backup(&run, full)).catch_unwind().await;
            if let Ok(Err(BackupError::Log(ChangeError::Failed(error)))) = &made {
                api.state.health.log_failed(error);
            }
            match made {
                Ok(made) => run.end(made),
                Err(panic) => {
                    // Or it would keep all later ones waiting.
                    run.end(Err(Failure::new(ErrorCode::Internal, "the backup panicked").into()));
                    resume_unwind(panic);
                }
            }
        });
        Ok(Response::DescribeBackup(Some(description)))
    }

    pub(super) async fn describe_backup(self: Arc<Self>) -> Answered {
        Ok(Response::DescribeBackup(self.state.backups.describe()))
    }

    pub(super) async fn cancel_backup(self: Arc<Self>) -> Answered {
        self.state.backups.cancel();
        Ok(Response::Done)
    }

    /// Only `hold_files` uses this broker's partitions; the rest only reads and writes files.
    async fn make_backup(self: &Arc<Self>, run: &Arc<BackupRun>, full: bool) -> Result<BackedUp, BackupError> {
        let (data_dir, target) = (self.state.backups.data_dir.clone(), self.state.backups.disk(run.dir()));
        let begin = move |run: &BackupRun| UnfinishedBackup::begin(&target, &data_dir, run.dir(), full);
        let backup = run.run_apart(&self.state.health, begin).await?;
        let (api, holder) = (self.clone(), run.clone());
        let held = background::blocking(move || api.hold_files(&holder)).await;
        let held = held.unwrap_or_else(|error| Err(Failure::new(ErrorCode::Internal, error).into()));
        // Without files too: what was begun is removed there.
        let finish = move |run: &BackupRun| held?.finish(backup, &mut |bytes| run.keeps_going(bytes));
        let made = run.run_apart(&self.state.health, finish).await;
        if matches!(made, Err(BackupError::Unanswered { .. })) {
            self.let_files_go().await;
        }
        made
    }

    fn hold_files(&self, run: &BackupRun) -> Result<HeldBrokerFiles, BackupError> {
        let running = RunningBroker {
            data_dir: &self.state.backups.data_dir,
            topics: &self.state.topics,
            sync_pool: &self.state.sync_pool,
            clock: &self.state.clock,
            disk: self.state.backups.disk(&self.state.backups.data_dir),
        };
        running.hold(&mut |bytes| run.keeps_going(bytes))
    }

    /// A backup that was given up must not keep the room of files that are deleted.
    async fn let_files_go(&self) {
        let (disk, data_dir) =
            (self.state.backups.disk(&self.state.backups.data_dir), self.state.backups.data_dir.clone());
        if let Ok(Err(error)) = background::blocking(move || remove_links(&*disk, &data_dir)).await {
            tracing::warn!(%error, "files of a backup could not be removed; the next backup or start removes them");
        }
    }
}
