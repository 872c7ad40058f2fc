//! Finishes a published compaction: renames the new files and removes the old ones. May be repeated after a crash.

use crate::disk::{Disk, DiskError, if_found};
use crate::segment;
use crate::state_file::PendingReplacement;
use grower_protocol::ids::Offset;
use std::io::ErrorKind;
use std::path::Path;

/// Puts the new files in place and removes those that they replace; durable when this returns. If the new log is not
/// as long as the manifest says, that is an error and nothing is removed.
pub(crate) fn finish_replacement(disk: &dyn Disk, dir: &Path, replacing: &PendingReplacement) -> Result<(), DiskError> {
    let base = replacing.offsets.start;
    let log = dir.join(segment::log_name(base));
    let (new_log, new_index) = segment::compacted_names(base);
    if_found(disk.rename(&dir.join(new_log), &log))?;
    if_found(disk.rename(&dir.join(new_index), &dir.join(segment::index_name(base))))?;
    disk.sync_dir(dir)?; // Before the old ones go: they hold the same records.
    let length = if_found(disk.open(&log))?.map_or(Ok(0), |log| log.len())?;
    if length != replacing.bytes {
        let what = format!("it has {length} bytes, compaction wrote {}", replacing.bytes);
        return Err(DiskError::at("finish the compaction of", &log)(std::io::Error::new(ErrorKind::InvalidData, what)));
    }
    let replaced = |at: Offset| base < at && at < replacing.offsets.end;
    for entry in disk.list(dir)? {
        let of = segment::base_of_log(&entry.name).or_else(|| segment::base_of_index(&entry.name));
        if of.is_some_and(replaced) {
            if_found(disk.remove_file(&dir.join(&entry.name)))?;
        }
    }
    disk.sync_dir(dir)
}
