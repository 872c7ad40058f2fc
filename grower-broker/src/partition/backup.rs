//! A backup of a partition: the log is sealed, and its files get second names before retention can remove them.

use super::Partition;
use grower_protocol::ids::Timestamp;
use grower_storage::backup_files::BackupFile;
use grower_storage::disk::DiskError;
use grower_storage::log::ChangeError;

impl Partition {
    /// Seals the log and gives its files to `hold`, in two parts: the small files, which every checkpoint replaces,
    /// under the writer's lock; the segments, possibly thousands, only under the lock against dropping. When this
    /// returns, everything written before is held and durable. A deleted partition has no files.
    ///
    /// Sealing rolls, and a roll syncs. Sync before, so that producers hardly wait.
    pub(crate) fn hold_files(
        &self,
        now: Timestamp,
        hold: &mut dyn FnMut(&[BackupFile]) -> Result<(), DiskError>,
    ) -> Result<(), ChangeError> {
        let _dropping = self.dropping.lock();
        let mut tail = self.writer.lock_slowly();
        if tail.deleted {
            return Ok(());
        }
        let Some(files) = tail.log.files() else { return Ok(()) };
        let sealed = files.seal(now);
        let effects = self.follow_log(&mut tail);
        let held = sealed.and_then(|backup_files| {
            let (segments, small): (Vec<_>, Vec<_>) = backup_files.into_iter().partition(BackupFile::is_segment_file);
            hold(&small)?;
            Ok(segments)
        });
        drop(tail);
        self.carry_out(effects);
        Ok(hold(&held?)?)
    }
}
