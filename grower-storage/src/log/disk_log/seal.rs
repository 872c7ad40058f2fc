//! Seals a log for a backup: all of it is in files that are never written again, so a second name for them is a copy.

use super::DiskLog;
use crate::backup_files::{BackupFile, sealed_files, state_files};
use crate::log::ChangeError;
use crate::recovery::Directory;
use crate::segment::ActiveSegment;
use grower_protocol::ids::{Offset, Timestamp};

impl DiskLog {
    /// Rolls unless the active segment is empty, and returns the files of all sealed segments.
    pub(super) fn seal_all(&mut self, now: Timestamp) -> Result<Vec<BackupFile>, ChangeError> {
        self.finish_pending_work()?;
        if !self.exists() {
            return Ok(Vec::new());
        }
        if self.active.as_ref().is_some_and(|active| 0 < active.position()) {
            self.roll()?;
        }
        self.write_down(now)?;
        let written = self.active.as_ref().map_or(0, ActiveSegment::position);
        assert_eq!(written, 0, "a backup by second names takes no file that is written again");
        let Some(directory) = Directory::list(&*self.disk, &self.dir)? else { return Ok(Vec::new()) };
        // Without an active segment the last one is damaged, and never written to again either.
        let active = self.active.as_ref().map_or(Offset::MAX, |active| active.segment.base);
        let sealed = directory.logs.partition_point(|base| *base < active);
        let mut backup_files = sealed_files(&directory, directory.logs.get(..sealed).unwrap_or_default());
        backup_files.extend(state_files(&directory));
        Ok(backup_files)
    }
}
