//! Opens the last segment: acts on its scan, and makes the bytes that it takes over durable.

use super::decide::RecoveryAction;
use super::index::reindex_cut;
use super::sealed::last_entry;
use super::tail_scan::{TailScan, scan_tail};
use super::{RecoveryContext, RecoveryReport, cut};
use crate::disk::{DiskError, FileOnDemand, SharedFile};
use crate::segment::{self, ActiveSegment, Damage, LogPosition, Segment};
use crate::state_file::{Checkpoint, DurableEnd};
use grower_index::StoredIndex;
use grower_protocol::batch::{BatchHeader, HEADER_LENGTH};
use grower_protocol::ids::{Offset, Timestamp};
use std::sync::Arc;

/// The last segment, ready to serve.
pub(super) struct RecoveredTail {
    pub(super) segment: Arc<Segment>,
    /// None if the file must not be changed: then the next append begins a new one.
    pub(super) active: Option<ActiveSegment>,
    pub(super) end: Offset,
    pub(super) durable: DurableEnd,
}

pub(super) fn open(
    context: &RecoveryContext<'_>,
    base: Offset,
    checkpoint: Option<&Checkpoint>,
    lost: &mut Vec<Damage>,
    report: &mut RecoveryReport,
) -> Result<RecoveredTail, DiskError> {
    let RecoveryContext { disk, location, seed, .. } = *context;
    let scan = scan_tail(disk, &location.dir, base, checkpoint, Some(seed))?;
    if scan.index_broken {
        report.reindexed.push(location.dir.join(segment::index_name(base)));
    }
    if !scan.damage.is_empty() {
        return keep_as_it_is(context, base, scan, lost);
    }
    if scan.action == RecoveryAction::CutTornTail {
        assert!(scan.durable <= scan.end.bytes, "nothing durable is cut off");
        report.cut = cut::cut(context, &scan.file, scan.end, scan.length)?;
    }
    take_over(context, base, &scan)
}

/// Opens a segment with damage below the durable end. No file is changed.
fn keep_as_it_is(
    context: &RecoveryContext<'_>,
    base: Offset,
    scan: TailScan,
    lost: &mut Vec<Damage>,
) -> Result<RecoveredTail, DiskError> {
    let TailScan { file, durable, end, log_end, damage, loaded, .. } = scan;
    // A file with a successor is durable, and this one will have one.
    context.disk.sync_many(std::slice::from_ref(&file))?;
    let index = StoredIndex::new(loaded.front(end.bytes));
    let latest = last_entry(&index).map(|entry| Timestamp::from_millis(entry.max_timestamp));
    let end_position = LogPosition { bytes: end.bytes, offset: log_end };
    let segment = Segment::sealed(base, FileOnDemand::held(file), Box::new(index), end_position, latest);
    lost.extend(damage);
    // The next start reports again that the file was longer when it was durable.
    let durable = DurableEnd { end: log_end, segment: base, position: durable.max(end.bytes) };
    Ok(RecoveredTail { segment: Arc::new(segment), active: None, end: log_end, durable })
}

/// Opens a sound segment: completes its index, makes all of it durable, and continues writing to it.
fn take_over(context: &RecoveryContext<'_>, base: Offset, scan: &TailScan) -> Result<RecoveredTail, DiskError> {
    let RecoveryContext { disk, location, options, seed, now, .. } = *context;
    let (file, end) = (&scan.file, scan.end);
    debug_assert_eq!(scan.log_end, end.offset, "a sound log ends with its bytes");
    let old = Segment::growing(base, file.clone(), options.index.make(seed));
    old.set_end_position(end);
    let rebuilt = reindex_cut(disk, &location.dir, &old, end, options, seed)?;
    let unsynced = scan.durable < end.bytes;
    if unsynced {
        cut::write_again(file, scan.durable..end.bytes)?;
        disk.sync_many(std::slice::from_ref(file))?;
    }
    if rebuilt.changed {
        disk.sync_many(std::slice::from_ref(&rebuilt.index))?;
    }
    if rebuilt.changed || unsynced {
        disk.sync_dir(&location.dir)?; // The last roll may not have reached this sync.
    }
    let segment = Arc::new(rebuilt.segment);
    // A timestamp of the future would keep the segment from ageing until then.
    let first = first_timestamp(file)?.filter(|_| 0 < end.bytes).map(|first| first.min(now));
    let last = segment.max_timestamp().map(|last| last.min(now));
    let active = ActiveSegment::new(segment.clone(), rebuilt.log, rebuilt.index, file.len()?, context.seed);
    let active = active.aged_since(first, last);
    let durable = DurableEnd { end: end.offset, segment: base, position: end.bytes };
    Ok(RecoveredTail { segment, active: Some(active), end: end.offset, durable })
}

fn first_timestamp(file: &SharedFile) -> Result<Option<Timestamp>, DiskError> {
    let mut bytes = [0; HEADER_LENGTH];
    file.read_at(&mut bytes, 0)?;
    Ok(BatchHeader::parse(&bytes).ok().map(|header| header.max_timestamp))
}
