//! Backups, which the broker writes on its own machine.

use super::Admin;
use crate::error::AdminError;
use grower_protocol::message::{BackupDescription, Request, Response};

impl Admin {
    /// Starts a backup in `dir`, a path below the directory of the broker's setting `backup.dir`. A `full` backup
    /// shares no files with earlier ones. The backup continues after this call returns: [`Admin::describe_backup`]
    /// shows its progress.
    pub async fn begin_backup(&self, dir: impl Into<String>, full: bool) -> Result<BackupDescription, AdminError> {
        match self.cluster.ask(&Request::BeginBackup { dir: dir.into(), full }, self.cluster.deadline()).await? {
            (_, Response::DescribeBackup(Some(backup))) => Ok(backup),
            (connection, other) => Err(connection.unexpected("begin backup", other).into()),
        }
    }

    /// Describes the running backup, or the latest one that finished or failed since the broker's start.
    pub async fn describe_backup(&self) -> Result<Option<BackupDescription>, AdminError> {
        match self.cluster.ask_retrying(&Request::DescribeBackup, self.cluster.deadline()).await? {
            (_, Response::DescribeBackup(backup)) => Ok(backup),
            (connection, other) => Err(connection.unexpected("describe backup", other).into()),
        }
    }

    /// Cancels the running backup, if any. It stops soon after this call returns, and its files are removed.
    pub async fn cancel_backup(&self) -> Result<(), AdminError> {
        self.change("cancel backup", Request::CancelBackup).await
    }
}
