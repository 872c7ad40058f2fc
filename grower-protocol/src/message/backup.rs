//! Backups that a running broker makes of its own data directory.

use super::Failure;
use crate::ids::Timestamp;
use serde::{Deserialize, Serialize};

/// Describes a backup, running or finished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupDescription {
    /// The number of the backup since the broker started, from 1.
    pub number: u64,
    /// The directory of backups in the request.
    pub dir: String,
    /// The start time, by the broker's clock.
    pub began: Timestamp,
    /// The bytes read so far. The broker reads only data that the previous backup lacks.
    pub read_bytes: u64,
    /// The state of the backup.
    pub state: BackupState,
}

/// The state of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BackupState {
    /// The backup is running.
    Running,
    /// The backup is complete and can be restored.
    Made(BackupMade),
    /// The backup failed, and its files are removed.
    Failed(Failure),
}

/// A complete backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupMade {
    /// The path of the backup on the broker's machine.
    pub path: String,
    /// The number of files.
    pub files: u64,
    /// The total length of the files in bytes.
    pub bytes: u64,
    /// The bytes that the previous backup lacks.
    pub new_bytes: u64,
    /// The bytes that were copied. The other files are hard links to existing ones.
    pub copied_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::tests::{refused, request_rows, rows};
    use crate::message::{Request, Response};

    #[test]
    fn messages_about_backups_keep_their_bytes() {
        let requests = [
            Request::BeginBackup { dir: "nightly".to_owned(), full: true },
            Request::DescribeBackup,
            Request::CancelBackup,
        ];
        insta::assert_snapshot!(request_rows(&requests), @"
        BeginBackup 18076e696768746c7901
        DescribeBackup 19
        CancelBackup 1a
        ");
        let responses = [
            Response::DescribeBackup(None),
            Response::DescribeBackup(Some(backup(BackupState::Running))),
            Response::DescribeBackup(Some(backup(BackupState::Made(BackupMade {
                path: "/b".to_owned(),
                files: 1,
                bytes: 300,
                new_bytes: 2,
                copied_bytes: 3,
            })))),
            Response::DescribeBackup(Some(backup(BackupState::Failed(refused())))),
        ];
        insta::assert_snapshot!(rows(&responses), @"
        DescribeBackup 1100
        DescribeBackup 110101016402fb2c0100
        DescribeBackup 110101016402fb2c0101022f6201fb2c010203
        DescribeBackup 110101016402fb2c0102180466756c6c00
        ");
    }

    fn backup(state: BackupState) -> BackupDescription {
        BackupDescription { number: 1, dir: "d".to_owned(), began: Timestamp::from_millis(1), read_bytes: 300, state }
    }
}
