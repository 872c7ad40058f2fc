//! The current or last requested backup, as clients see it: pure state.

use super::{BackedUp, BackupError};
use grower_protocol::ids::Timestamp;
use grower_protocol::message::{BackupDescription, BackupMade, BackupState, ErrorCode, Failure};

/// The current or last requested backup. There is one at a time, and each has the next number.
#[derive(Debug, Default)]
pub(super) struct LatestBackup {
    description: Option<BackupDescription>,
    cancelled: bool,
}

impl LatestBackup {
    /// Begins the next backup in `dir`, unless one is being made.
    pub(super) fn begin(&mut self, dir: &str, now: Timestamp) -> Result<BackupDescription, Failure> {
        let number = match &self.description {
            Some(running) if running.state == BackupState::Running => {
                let detail = format_args!("a backup in {:?} is being made: wait for it, or cancel it", running.dir);
                return Err(Failure::new(ErrorCode::BackupFailed, detail));
            }
            earlier => earlier.as_ref().map_or(1, |earlier| earlier.number + 1),
        };
        let state = BackupState::Running;
        let description = BackupDescription { number, dir: dir.to_owned(), began: now, read_bytes: 0, state };
        *self = Self { description: Some(description.clone()), cancelled: false };
        Ok(description)
    }

    /// Notes the progress of a backup, unless another one began since.
    pub(super) fn progress(&mut self, number: u64, read_bytes: u64) {
        if let Some(current) = self.description.as_mut().filter(|current| current.number == number) {
            debug_assert!(current.read_bytes <= read_bytes, "a backup only reads more");
            current.read_bytes = read_bytes;
        }
    }

    pub(super) fn cancel(&mut self) {
        self.cancelled = true;
    }

    /// Notes the result of the current backup, and returns its description.
    pub(super) fn end(&mut self, number: u64, made: Result<BackedUp, BackupError>) -> BackupDescription {
        let cancelled = self.cancelled;
        let current = self.description.as_mut().expect("a backup that ends has begun");
        debug_assert_eq!((current.number, &current.state), (number, &BackupState::Running), "it ends once");
        current.state = match made {
            Ok(made) => BackupState::Made(for_clients(made)),
            Err(BackupError::Stopped) => {
                let why = if cancelled { "the backup was cancelled" } else { "the broker is stopping" };
                BackupState::Failed(Failure::new(ErrorCode::BackupFailed, why))
            }
            Err(error) => BackupState::Failed(Failure::new(ErrorCode::BackupFailed, error)),
        };
        current.clone()
    }

    pub(super) fn describe(&self) -> Option<BackupDescription> {
        self.description.clone()
    }
}

fn for_clients(BackedUp { path, files, bytes, new_bytes, copied_bytes }: BackedUp) -> BackupMade {
    BackupMade { path: path.display().to_string(), files, bytes, new_bytes, copied_bytes }
}
