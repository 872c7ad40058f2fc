//! Opens a segment that has a successor: it reads the index's last entries and one batch header.
//!
//! The file's length and that batch are compared with the index. So a file that was cut, or that belongs to another
//! base offset, is noticed. A file that was replaced whole by another of the same base offset, length and batch
//! positions is not:
//!
//! - From another partition: only the header checksums tell, and not which of the two files is wrong. Refusing the
//!   records here would make a swapped index, which costs nothing, cost a segment. `verify`, the check of a reported
//!   batch and a reader's own check do compare them.
//! - From this partition at an older time, with its index: it was sound once. To notice it, a checkpoint would have to
//!   hold every segment's last header checksum and be written at each roll. An operator who restores single files runs
//!   `verify` first.

use super::decide::{IndexAction, ObservedIndex, RecoveryAction, Region, RegionContent, decide, decide_index};
use super::index::store_index;
use super::{RecoveryContext, RecoveryReport};
use crate::disk::{DiskError, FileOnDemand, Mapped, SharedFile, if_found};
use crate::segment::{self, Damage, LogPosition, ScanItem, ScanMode, Scanner, Segment, narrow};
use grower_index::{IndexEntry, IndexedBatch, SegmentIndex, StoredIndex};
use grower_protocol::batch::{BatchHeader, HEADER_LENGTH};
use grower_protocol::ids::{Offset, Timestamp};

/// Opens the segment from `base` to `next`. A lost or useless index is rebuilt from the log.
pub(crate) fn open(
    context: &RecoveryContext<'_>,
    base: Offset,
    next: Offset,
    lost: &mut Vec<Damage>,
    report: &mut RecoveryReport,
) -> Result<Segment, DiskError> {
    debug_assert!(base < next, "segments are in order");
    let file = context.disk.open(&context.location.dir.join(segment::log_name(base)))?;
    let end_position = LogPosition { bytes: file.len()?, offset: next };
    let index_path = context.location.dir.join(segment::index_name(base));
    let map = if_found(context.disk.map(&index_path))?;
    if let Some(index) = map.map(StoredIndex::new) {
        let last = last_entry(&index);
        if decide_index(look_at(&file, base, end_position, &index, last)?) == IndexAction::Use {
            let latest = last.map(|entry| Timestamp::from_millis(entry.max_timestamp));
            return Ok(Segment::sealed(base, FileOnDemand::held(file), Box::new(index), end_position, latest));
        }
    }
    let (segment, index, damage) = rebuild(context, base, file, end_position)?;
    if damage.is_empty() {
        store_index(context.disk, &index_path, &index)?;
        segment.seal(Box::new(StoredIndex::new(context.disk.map(&index_path)?)));
    } else {
        // The old index stays: its header checksums are evidence.
        segment.seal(Box::new(StoredIndex::new(index)));
    }
    let action = decide(Region { has_successor: true, below_durable_end: true }, RegionContent::NoBatch);
    debug_assert_eq!(action, RecoveryAction::KeepAndRefuse);
    lost.extend(damage);
    report.reindexed.push(index_path);
    Ok(segment)
}

pub(super) fn last_entry(index: &dyn SegmentIndex) -> Option<IndexEntry> {
    index.entry(index.entry_count().checked_sub(1)?)
}

fn look_at(
    file: &SharedFile,
    base: Offset,
    end_position: LogPosition,
    index: &StoredIndex<Mapped>,
    last: Option<IndexEntry>,
) -> Result<ObservedIndex, DiskError> {
    let covers_all = index.trailing_bytes() == 0
        && last.is_some_and(|last| {
            u64::from(last.position) == end_position.bytes
                && u64::from(last.relative_offset) == end_position.offset.since(base)
        });
    // One sample reveals a foreign index: the last entry before the end.
    let sample = (0..index.entry_count())
        .rev()
        .filter_map(|at| index.entry(at))
        .find(|entry| last.is_some_and(|last| entry.position < last.position));
    let agrees = match sample {
        Some(entry) => begins_at(file, base, entry)?,
        None => true,
    };
    Ok(ObservedIndex { readable: last.is_some(), has_successor: true, covers_all, agrees })
}

/// Whether a batch begins where an entry says. At a damaged batch the answer is no: then the log is read, which finds
/// out.
pub(super) fn begins_at(file: &SharedFile, base: Offset, entry: IndexEntry) -> Result<bool, DiskError> {
    let mut bytes = [0; HEADER_LENGTH];
    file.read_at(&mut bytes, entry.position.into())?;
    let offset = base.saturating_add(entry.relative_offset.into());
    Ok(BatchHeader::parse(&bytes).is_ok_and(|header| header.base_offset == offset))
}

/// Reads the whole log file and rebuilds its index.
fn rebuild(
    context: &RecoveryContext<'_>,
    base: Offset,
    file: SharedFile,
    end_position: LogPosition,
) -> Result<(Segment, Vec<u8>, Vec<Damage>), DiskError> {
    let segment = Segment::growing(base, file, context.options.index.make(context.seed));
    segment.set_end_position(end_position);
    let (mut index, mut damage) = (Vec::new(), Vec::new());
    let mut put = |entry: Option<IndexEntry>| {
        index.extend(entry.iter().flat_map(IndexEntry::encode));
        segment.index_stored(index.len() as u64); // It is searched once complete, from its bytes.
    };
    let mut scanner = Scanner::new(&segment, ScanMode::Content, LogPosition::start_of(base), end_position);
    while let Some(item) = scanner.next_item()? {
        match item {
            ScanItem::Batch(found) => put(segment.note(&found.indexed_batch(base), 0)),
            ScanItem::Damaged { damage: found, .. } => damage.push(found),
        }
        segment.set_end_position(end_position); // The file's length, indexed or not.
    }
    put(segment.finish_index(narrow(end_position.bytes)));
    segment.set_end_position(end_position);
    Ok((segment, index, damage))
}

impl segment::FoundBatch {
    /// A batch that was found in the file, for an index that is rebuilt.
    pub(crate) fn indexed_batch(&self, base: Offset) -> IndexedBatch<'_> {
        IndexedBatch {
            prefix: &self.prefix,
            next_relative_offset: narrow(self.header.next_offset().since(base)),
            end: narrow(self.bytes.end),
            max_timestamp: self.header.max_timestamp.as_millis(),
            checksummed: false,
        }
    }
}
