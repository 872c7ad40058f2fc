//! Backups that the broker makes of itself, on its own machine.

use super::Admin;
use crate::error::AdminError;
use grower_protocol::message::{BackupDescription, Request, Response};

impl Admin {
    /// Has the broker begin a backup in `dir`, a path below the directory that its setting `backup.dir` names. A `full` one
    /// shares nothing with those before. It is made while this returns: [`Admin::describe_backup`] tells how far it is.
    pub async fn begin_backup(&self, dir: impl Into<String>, full: bool) -> Result<BackupDescription, AdminError> {
        match self.cluster.ask(&Request::BeginBackup { dir: dir.into(), full }).await? {
            (_, Response::DescribeBackup(Some(backup))) => Ok(backup),
            (connection, other) => Err(connection.unexpected("begin backup", other).into()),
        }
    }

    /// The backup that the broker is making, or the latest that it made or failed to make since its start.
    pub async fn describe_backup(&self) -> Result<Option<BackupDescription>, AdminError> {
        match self.cluster.ask_retrying(&Request::DescribeBackup).await? {
            (_, Response::DescribeBackup(backup)) => Ok(backup),
            (connection, other) => Err(connection.unexpected("describe backup", other).into()),
        }
    }

    /// Ends the backup that is being made, if one is. It ends soon after this returned, and nothing is left of it.
    pub async fn cancel_backup(&self) -> Result<(), AdminError> {
        self.change("cancel backup", Request::CancelBackup).await
    }
}
