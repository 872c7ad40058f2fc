//! The log's side of compaction: it offers sealed segments, and takes their replacements.

use super::{DiskLog, Log};
use crate::disk::{DiskError, FileOnDemand};
use crate::log::{ChangeError, Compacted, PassResult, SealedSegments, SegmentReplacement};
use crate::recovery::finish_replacement;
use crate::segment::{self, LogPosition, Segment};
use crate::state_file::CompactionState;
use grower_index::{SegmentIndex, StoredIndex};
use grower_protocol::ids::{Offset, Timestamp};
use std::io::ErrorKind;
use std::sync::Arc;

impl DiskLog {
    /// The segments that a pass may read, if one may begin.
    pub(super) fn sealed_until(&self, upto: Offset) -> Option<SealedSegments> {
        self.alive().ok()?;
        if self.is_compaction_unfinished() {
            // Opening the log follows the manifest: it would take a temporary file of this pass for the other one's.
            return None;
        }
        let mut segments = self.view.segments();
        segments.pop(); // It is being written.
        segments.truncate(segments.partition_point(|segment| segment.end_position().offset <= upto));
        Some(SealedSegments {
            disk: self.disk.clone(),
            dir: self.dir.clone(),
            seed: self.seed(),
            index: self.options.index.clone(),
            segment_bytes: self.options.segment_bytes.into(),
            segments,
            epochs: self.epochs.clone(),
            cleaned_end: self.cleaned_end,
            log_end: self.span().end,
            truncations: self.truncations,
        })
    }

    /// Takes a finished part of a pass; false if the log changed meanwhile.
    pub(super) fn take_compacted(&mut self, compacted: Compacted) -> Result<bool, ChangeError> {
        self.finish_pending_work()?;
        let same = compacted.truncations == self.truncations;
        match compacted.outcome {
            PassResult::Clean { end } if same => {
                debug_assert!(self.cleaned_end <= end, "a pass never knows less than the passes before");
                self.store_cleaned_end(end).map(|()| true)
            }
            // The pass may not have seen the records that are there now.
            PassResult::Clean { .. } => Ok(false),
            PassResult::Replacement(replacement) => match self.place_of(&replacement).filter(|_| same) {
                Some(at) => self.replace_segments(at, &replacement).map(|()| true),
                None => {
                    replacement.discard(&*self.disk, &self.dir);
                    Ok(false)
                }
            },
        }
    }

    /// Finds the segments that were rewritten, if none was dropped or cut meanwhile.
    fn place_of(&self, replacement: &SegmentReplacement) -> Option<usize> {
        let segments = self.view.segments();
        let at = segments.iter().position(|segment| segment.base == replacement.replacing.offsets.start)?;
        let current = segments.get(at..at + replacement.old.len())?;
        current.iter().zip(&replacement.old).all(|(current, old)| Arc::ptr_eq(current, old)).then_some(at)
    }

    fn replace_segments(&mut self, at: usize, replacement: &SegmentReplacement) -> Result<(), ChangeError> {
        let replacing = Some(replacement.replacing.clone());
        let manifest = CompactionState { cleaned_end: self.cleaned_end, replacing };
        let opened = self.open_replacement(replacement).map_err(|error| self.judge(error));
        let stored = opened.and_then(|new| self.store(&manifest).map(|()| new));
        let new = stored.inspect_err(|error| {
            if matches!(error, ChangeError::Disk(_)) {
                // Not after a failed sync: then the manifest may count, and needs the files.
                replacement.discard(&*self.disk, &self.dir);
            }
        })?;
        let mut segments = self.view.segments();
        assert_eq!(segments[at].base, new.base, "the new segment begins where the old ones do");
        assert!(at + replacement.old.len() < segments.len(), "the active segment is never replaced");
        let end = segments[at + replacement.old.len() - 1].end_position().offset;
        assert_eq!(end, new.end_position().offset, "the new segment ends where the old ones do");
        segments.splice(at..at + replacement.old.len(), [new.clone()]);
        self.view.replace(self.span(), segments); // Before names change: readers then have the new segment.
        replacement.old.iter().for_each(|old| old.file.retire());
        self.replacing = Some((replacement.replacing.clone(), new));
        match self.finish_replacing() {
            // The next change or opening finishes it: both follow the manifest.
            Err(ChangeError::Disk(error)) => tracing::warn!(%error, "a published compaction is not finished yet"),
            finished => finished?,
        }
        Ok(())
    }

    /// Opens the new segment under its temporary names. All that needs a descriptor comes before the manifest.
    fn open_replacement(&self, replacement: &SegmentReplacement) -> Result<Arc<Segment>, DiskError> {
        let replacing = &replacement.replacing;
        let base = replacing.offsets.start;
        let (log, index) = segment::compacted_names(base);
        let file = FileOnDemand::held_as(self.dir.join(segment::log_name(base)), self.disk.open(&self.dir.join(log))?);
        let index = StoredIndex::new(self.disk.map(&self.dir.join(index))?);
        let last = index.entry_count().checked_sub(1).and_then(|last| index.entry(last));
        let latest = last.map(|entry| Timestamp::from_millis(entry.max_timestamp));
        let end_position = LogPosition { bytes: replacing.bytes, offset: replacing.offsets.end };
        let segment = Segment::sealed(base, file, Box::new(index), end_position, latest);
        Ok(Arc::new(segment.with_delete_horizon(replacement.delete_horizon)))
    }

    /// Renames a published segment's files and removes those that it replaced; may be repeated.
    pub(super) fn finish_replacing(&mut self) -> Result<(), ChangeError> {
        let Some((replacing, new)) = self.replacing.clone() else { return Ok(()) };
        finish_replacement(&*self.disk, &self.dir, &replacing).map_err(|error| match error.kind() {
            // Another file than the one written: opening the log finds out.
            ErrorKind::InvalidData => ChangeError::Failed(self.fail(&error)),
            _ => self.judge(error),
        })?;
        new.file.release(&self.disk);
        self.replacing = None;
        self.manifest_stays = true;
        self.remove_manifest()
    }

    /// Removes the manifest of a finished compaction. If that fails, only the next pass has to wait.
    pub(super) fn remove_manifest(&mut self) -> Result<(), ChangeError> {
        if !self.manifest_stays {
            return Ok(());
        }
        match self.store_cleaned_end(self.cleaned_end) {
            Err(ChangeError::Disk(error)) => {
                tracing::warn!(%error, "a manifest of compaction stays for now");
                Ok(())
            }
            stored => stored,
        }
    }

    pub(super) fn is_compaction_unfinished(&self) -> bool {
        self.replacing.is_some() || self.manifest_stays
    }

    /// Stores how far the log is clean, and that no replacement is pending.
    pub(super) fn store_cleaned_end(&mut self, end: Offset) -> Result<(), ChangeError> {
        self.store(&CompactionState { cleaned_end: end, replacing: None })?;
        debug_assert!(self.replacing.is_none(), "a pending replacement stays in the manifest");
        self.cleaned_end = end;
        self.manifest_stays = false;
        Ok(())
    }
}
