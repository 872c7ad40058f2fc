//! Backups of this broker, made while it goes on: begun by one request, followed by others.

use super::Api;
use crate::background;
use crate::backup::{BackedUp, BackupError, Running};
use futures_util::FutureExt;
use grower_protocol::message::{ErrorCode, Failure, Response};
use grower_storage::log::ChangeError;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::Path;
use std::sync::Arc;

impl Api {
    pub(super) fn begin_backup(self: &Arc<Self>, dir: &str, full: bool) -> Result<Response, Failure> {
        let (path, description) = self.backups.begin(dir, self.clock.wall())?;
        let api = self.clone();
        self.tasks.spawn("a backup", async move {
            let made = {
                let api = api.clone();
                AssertUnwindSafe(background::blocking(move || api.make_backup(&path, full))).catch_unwind().await
            };
            let broken = |why: String| Err(BackupError::Partition(Failure::new(ErrorCode::Internal, why)));
            match made {
                Ok(made) => api.backups.end(made.unwrap_or_else(|error| broken(error.to_string()))),
                Err(panic) => {
                    api.backups.end(broken("a panic ended it".to_owned())); // Or it would keep all later ones waiting.
                    resume_unwind(panic);
                }
            }
        });
        Ok(Response::DescribeBackup(Some(description)))
    }

    fn make_backup(&self, dir: &Path, full: bool) -> Result<BackedUp, BackupError> {
        let disk = self.backups.disk(dir);
        let running = Running {
            data_dir: &self.backups.data_dir,
            topics: &self.topics,
            flushers: &self.flushers,
            clock: &self.clock,
            disk: &*disk,
        };
        let mut go_on = |bytes| self.backups.goes_on(bytes) && !self.stop.is_cancelled();
        running.backup(dir, full, &mut go_on).inspect_err(|error| {
            if let BackupError::Log(ChangeError::Failed(error)) = error {
                self.health.fail(error.to_string());
            }
        })
    }
}
