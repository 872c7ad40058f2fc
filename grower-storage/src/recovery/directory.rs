//! The files in a partition's directory.

use crate::disk::{Disk, DiskError, if_found};
use crate::segment;
use crate::state_file::{Checkpoint, PendingReplacement};
use grower_index::{IndexEntry, SegmentIndex, StoredIndex};
use grower_protocol::ids::Offset;
use std::path::Path;

/// The names in a partition's directory, sorted by kind.
#[derive(Default)]
pub(crate) struct Directory {
    /// Base offsets of the log files, rising.
    pub(crate) logs: Vec<Offset>,
    /// Base offsets of the index files, rising.
    pub(crate) indexes: Vec<Offset>,
    /// Names of everything else.
    pub(crate) others: Vec<String>,
    /// Base offset of a published compacted segment, whose files may still have their temporary names.
    published: Option<Offset>,
}

impl Directory {
    /// Lists a directory; none if it is not there.
    pub(crate) fn list(disk: &dyn Disk, dir: &Path) -> Result<Option<Self>, DiskError> {
        let Some(entries) = if_found(disk.list(dir))? else { return Ok(None) };
        let mut directory = Self { logs: Vec::new(), indexes: Vec::new(), others: Vec::new(), published: None };
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

    /// Shows the directory as it will be once a published compaction is finished.
    pub(crate) fn assume_finished(&mut self, replacing: &PendingReplacement) {
        let base = replacing.offsets.start;
        let stays = |at: &Offset| *at <= base || replacing.offsets.end <= *at;
        self.logs.retain(stays);
        self.indexes.retain(stays);
        self.published = Some(base);
    }

    /// Name of a segment's log file.
    pub(crate) fn log_name(&self, base: Offset) -> String {
        self.present(base, segment::compacted_names(base).0).unwrap_or_else(|| segment::log_name(base))
    }

    /// Name of a segment's index file.
    pub(crate) fn index_name(&self, base: Offset) -> String {
        self.present(base, segment::compacted_names(base).1).unwrap_or_else(|| segment::index_name(base))
    }

    fn present(&self, base: Offset, temporary: String) -> Option<String> {
        Some(temporary).filter(|name| self.published == Some(base) && self.others.contains(name))
    }

    /// Whether there is another file of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.others.iter().any(|other| other == name)
    }

    /// Removes leftovers of a crash: segments wholly before the log start, temporary files, and indexes whose log an
    /// interrupted trim, truncation or roll explains.
    pub(crate) fn clean_up(
        &mut self,
        disk: &dyn Disk,
        dir: &Path,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<(), DiskError> {
        let dropped = self.forget_dropped(checkpoint);
        let mut names: Vec<String> = dropped.into_iter().map(segment::log_name).collect();
        names.extend(self.leftover_indexes(disk, dir, checkpoint)?.into_iter().map(segment::index_name));
        names.extend(self.others.iter().filter(|name| name.ends_with(".tmp")).cloned());
        for name in &names {
            if_found(disk.remove_file(&dir.join(name)))?;
        }
        if names.is_empty() { Ok(()) } else { disk.sync_dir(dir) }
    }

    /// Drops the logs wholly before the log start from the listing, as if they had been removed, and returns them.
    pub(crate) fn forget_dropped(&mut self, checkpoint: Option<&Checkpoint>) -> Vec<Offset> {
        let log_start = checkpoint.map_or(Offset::ZERO, |checkpoint| checkpoint.log_start);
        debug_assert!(self.logs.is_sorted_by(|a, b| a < b), "a segment has one log file");
        let gone = self.logs.partition_point(|base| *base <= log_start).saturating_sub(1);
        self.logs.drain(..gone).collect()
    }

    /// Indexes without a log that prove no loss: an interrupted trim, truncation or roll explains them.
    pub(crate) fn leftover_indexes(
        &self,
        disk: &dyn Disk,
        dir: &Path,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<Vec<Offset>, DiskError> {
        let log_start = checkpoint.map_or(Offset::ZERO, |checkpoint| checkpoint.log_start);
        let truncating = checkpoint.is_some_and(|checkpoint| checkpoint.truncating.is_some());
        let mut leftover = Vec::new();
        for base in self.indexes.iter().filter(|base| self.logs.binary_search(base).is_err()) {
            let explained = truncating || *base < log_start;
            if explained || last_entry(disk, &dir.join(segment::index_name(*base)))?.is_none() {
                leftover.push(*base);
            }
        }
        Ok(leftover)
    }

    /// Whether the partition has had a segment: before that it has nothing to lose.
    pub(crate) fn has_begun(&self, checkpoint: Option<&Checkpoint>, orphans: Option<Offset>) -> bool {
        !self.logs.is_empty() || checkpoint.is_some() || orphans.is_some()
    }

    /// The log end according to indexes that have lost their logs.
    pub(crate) fn end_by_orphans(&self, disk: &dyn Disk, dir: &Path) -> Result<Option<Offset>, DiskError> {
        let mut end = None;
        for base in self.indexes.iter().filter(|base| self.logs.binary_search(base).is_err()) {
            let last = last_entry(disk, &dir.join(segment::index_name(*base)))?;
            end = end.max(last.map(|entry| base.saturating_add(entry.relative_offset.into())));
        }
        Ok(end)
    }
}

fn last_entry(disk: &dyn Disk, path: &Path) -> Result<Option<IndexEntry>, DiskError> {
    let Some(index) = if_found(disk.map(path))?.map(StoredIndex::new) else { return Ok(None) };
    Ok((0..index.entry_count()).rev().find_map(|at| index.entry(at)))
}
