//! Which files a partition's directory holds.

use super::{RecoveryReport, if_found};
use crate::disk::{Disk, DiskError};
use crate::kept::Checkpoint;
use crate::segment;
use grower_protocol::ids::Offset;
use std::path::Path;

/// The names in a partition's directory, sorted out.
pub(crate) struct Directory {
    /// Base offsets of the log files, rising.
    pub(crate) logs: Vec<Offset>,
    /// Base offsets of the index files, rising.
    pub(crate) indexes: Vec<Offset>,
    /// Names of everything else.
    pub(crate) others: Vec<String>,
}

impl Directory {
    /// Lists a directory; none if it is not there.
    pub(crate) fn list(disk: &dyn Disk, dir: &Path) -> Result<Option<Self>, DiskError> {
        let Some(entries) = if_found(disk.list(dir))? else { return Ok(None) };
        let mut directory = Self { logs: Vec::new(), indexes: Vec::new(), others: Vec::new() };
        for entry in entries {
            match (segment::base_of_log(&entry.name), segment::base_of_index(&entry.name)) {
                (Some(base), _) if !entry.is_dir => directory.logs.push(base),
                (_, Some(base)) if !entry.is_dir => directory.indexes.push(base),
                _ => directory.others.push(entry.name),
            }
        }
        directory.logs.sort_unstable();
        directory.indexes.sort_unstable();
        Ok(Some(directory))
    }

    /// Removes the segments wholly before the log start, which a crash kept a trim from doing. What is left, by base.
    pub(crate) fn drop_before(
        mut self,
        disk: &dyn Disk,
        dir: &Path,
        checkpoint: Option<&Checkpoint>,
        report: &mut RecoveryReport,
    ) -> Result<Vec<Offset>, DiskError> {
        let Some(checkpoint) = checkpoint else { return Ok(self.logs) };
        let gone = self.logs.partition_point(|base| *base <= checkpoint.log_start).saturating_sub(1);
        let dropped: Vec<Offset> = self.logs.drain(..gone).collect();
        for base in &dropped {
            if_found(disk.remove_file(&dir.join(segment::log_name(*base))))?;
            if_found(disk.remove_file(&dir.join(segment::index_name(*base))))?;
            report.notes.push(format!("removed {}, which was trimmed before the stop", segment::log_name(*base)));
        }
        if !dropped.is_empty() {
            disk.sync_dir(dir)?;
        }
        Ok(self.logs)
    }
}
