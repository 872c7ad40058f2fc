//! Opens a segment that has a successor: nothing of it is read but a glance at its index.
//!
//! The glance compares the file's length and one batch with the index. It tells a file that was cut, or strayed in from
//! another base offset, but not one that was replaced whole by one of the same base offset, length and batches in the
//! same places: of another partition, or of this one at an older time together with its index. Only the witnesses tell
//! the former, and they do not say which of the two files is the stranger: refusing the records here would make a
//! swapped index, which costs nothing, cost a segment. `verify`, the check of a reported batch and a reader's own check do
//! look at them. The latter was sound once, so nothing in it is wrong but its age; a checkpoint would have to know every
//! segment's last witness, and be written at each roll. Who restores single files by hand runs `verify` first.

use super::decide::{IndexSeen, IndexVerdict, Place, Seen, Verdict, decide, decide_index};
use super::index::store_index;
use super::{Context, RecoveryReport};
use crate::disk::{DiskError, FileOnDemand, Mapped, SharedFile, if_found};
use crate::segment::{self, Damage, Extent, Mode, Segment, Step, Walk, narrow};
use grower_index::{Entry, NotedBatch, SegmentIndex, StoredIndex};
use grower_protocol::batch::{BatchHeader, HEADER_LENGTH};
use grower_protocol::ids::{Offset, Timestamp};
use std::path::PathBuf;

/// Opens the segment from `base` to `next`. A lost or useless index is made anew from the log.
pub(crate) fn open(
    context: &Context<'_>,
    base: Offset,
    next: Offset,
    lost: &mut Vec<(PathBuf, Damage)>,
    report: &mut RecoveryReport,
) -> Result<Segment, DiskError> {
    let file = context.disk.open(&context.place.dir.join(segment::log_name(base)))?;
    let extent = Extent { position: file.len()?, end: next };
    let index_path = context.place.dir.join(segment::index_name(base));
    let map = if_found(context.disk.map(&index_path))?;
    if let Some(index) = map.map(StoredIndex::new) {
        let last = last_entry(&index);
        if decide_index(look_at(&file, base, extent, &index, last)?) == IndexVerdict::Use {
            let latest = last.map(|entry| Timestamp::from_millis(entry.max_timestamp));
            return Ok(Segment::sealed(base, FileOnDemand::held(file), Box::new(index), extent, latest));
        }
    }
    let (segment, index, damage) = rebuild(context, base, file, extent)?;
    let verdict = decide(Place { has_successor: true, below_durable_end: true }, Seen::NoBatch);
    if damage.is_empty() {
        store_index(context.disk, &index_path, &index)?;
        segment.seal(Box::new(StoredIndex::new(context.disk.map(&index_path)?)));
    } else {
        // The old index stays as it is: its witnesses are evidence.
        segment.seal(Box::new(StoredIndex::new(index)));
    }
    if verdict == Verdict::KeepAndRefuse {
        lost.extend(damage.into_iter().map(|damage| (segment.file.path().to_owned(), damage)));
    }
    report.reindexed.push(index_path);
    Ok(segment)
}

pub(super) fn last_entry(index: &dyn SegmentIndex) -> Option<Entry> {
    index.entry(index.entry_count().checked_sub(1)?)
}

fn look_at(
    file: &SharedFile,
    base: Offset,
    extent: Extent,
    index: &StoredIndex<Mapped>,
    last: Option<Entry>,
) -> Result<IndexSeen, DiskError> {
    let speaks_for_all = index.surplus() == 0
        && last.is_some_and(|last| {
            u64::from(last.position) == extent.position && u64::from(last.relative_offset) == extent.end.since(base)
        });
    // One sample tells an index that strayed in from elsewhere: the last mark before the end.
    let sample = (0..index.entry_count())
        .rev()
        .filter_map(|at| index.entry(at))
        .find(|entry| last.is_some_and(|last| entry.position < last.position));
    let agrees = match sample {
        Some(entry) => begins_at(file, base, entry)?,
        None => true,
    };
    Ok(IndexSeen { readable: last.is_some(), has_successor: true, speaks_for_all, agrees })
}

/// Whether a batch lies where an entry says. A damaged batch there says no: then the log is read, which finds out.
pub(super) fn begins_at(file: &SharedFile, base: Offset, entry: Entry) -> Result<bool, DiskError> {
    let mut bytes = [0; HEADER_LENGTH];
    file.read_at(&mut bytes, entry.position.into())?;
    let offset = base.saturating_add(entry.relative_offset.into());
    Ok(BatchHeader::parse(&bytes).is_ok_and(|header| header.base_offset == offset))
}

/// Reads the whole log file, and makes the bytes of its index.
fn rebuild(
    context: &Context<'_>,
    base: Offset,
    file: SharedFile,
    extent: Extent,
) -> Result<(Segment, Vec<u8>, Vec<Damage>), DiskError> {
    let segment = Segment::growing(base, file, context.options.index.make(context.seed));
    segment.set_extent(extent);
    let (mut index, mut damage) = (Vec::new(), Vec::new());
    let mut put = |entry: Option<Entry>| {
        index.extend(entry.iter().flat_map(Entry::encode));
        segment.index_stored(index.len() as u64); // It is searched when it is whole, from its bytes.
    };
    let mut walk = Walk::new(&segment, Mode::Content, Extent { position: 0, end: base }, extent);
    while let Some(step) = walk.step()? {
        match step {
            Step::Batch(found) => put(segment.note(&found.noted(base), 0)),
            Step::Gap(gap) => damage.push(gap.into()),
        }
        segment.set_extent(extent); // How far the file goes, noted or not.
    }
    put(segment.finish_index(narrow(extent.position)));
    segment.set_extent(extent);
    Ok((segment, index, damage))
}

impl segment::Found {
    /// A batch that was found in the file, for an index that is made anew.
    pub(crate) fn noted(&self, base: Offset) -> NotedBatch<'_> {
        NotedBatch {
            prefix: &self.prefix,
            next_relative_offset: narrow(self.header.next_offset().since(base)),
            end: narrow(self.bytes.end),
            max_timestamp: self.header.max_timestamp.as_millis(),
            witnessed: false,
        }
    }
}
