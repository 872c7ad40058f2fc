//! Opens the last segment: carries out what looking at it decided, and makes what it takes over durable.

use super::decide::Verdict;
use super::index::reindex_cut;
use super::look::{Looked, look_at_last};
use super::sealed::last_entry;
use super::{Context, RecoveryReport, cut};
use crate::disk::{DiskError, FileOnDemand, SharedFile};
use crate::kept::{Checkpoint, DurableEnd};
use crate::segment::{self, Active, Damage, Extent, Segment};
use grower_index::StoredIndex;
use grower_protocol::batch::{BatchHeader, HEADER_LENGTH};
use grower_protocol::ids::{Offset, Timestamp};
use std::path::PathBuf;
use std::sync::Arc;

/// The last segment, fit to be served.
pub(super) struct Tail {
    pub(super) segment: Arc<Segment>,
    /// None if the file must not be touched: then the next append begins a new one.
    pub(super) active: Option<Active>,
    pub(super) end: Offset,
    pub(super) durable: DurableEnd,
}

pub(super) fn open(
    context: &Context<'_>,
    base: Offset,
    checkpoint: Option<&Checkpoint>,
    lost: &mut Vec<(PathBuf, Damage)>,
    report: &mut RecoveryReport,
) -> Result<Tail, DiskError> {
    let Context { disk, place, seed, .. } = *context;
    let looked = look_at_last(disk, &place.dir, base, checkpoint, Some(seed))?;
    if looked.index_broken {
        report.reindexed.push(place.dir.join(segment::index_name(base)));
    }
    if !looked.damage.is_empty() {
        return keep_as_it_is(context, base, looked, lost);
    }
    if looked.verdict == Verdict::CutTornTail {
        report.cut = cut::cut(context, &looked.file, looked.end, looked.length)?;
    }
    take_over(context, base, &looked)
}

/// Damage below the durable end: no file is changed.
fn keep_as_it_is(
    context: &Context<'_>,
    base: Offset,
    looked: Looked,
    lost: &mut Vec<(PathBuf, Damage)>,
) -> Result<Tail, DiskError> {
    let Looked { file, durable, end, log_end, damage, loaded, .. } = looked;
    context.disk.sync_many(std::slice::from_ref(&file))?; // A file with a successor is durable, and it will have one.
    let index = StoredIndex::new(loaded.front(end.position));
    let latest = last_entry(&index).map(|entry| Timestamp::from_millis(entry.max_timestamp));
    let extent = Extent { position: end.position, end: log_end };
    let segment = Segment::sealed(base, FileOnDemand::held(file), Box::new(index), extent, latest);
    lost.extend(damage.into_iter().map(|damage| (segment.file.path().to_owned(), damage)));
    // A file that was longer when it was durable is missed again by the next start.
    let durable = DurableEnd { end: log_end, segment: base, position: durable.max(end.position) };
    Ok(Tail { segment: Arc::new(segment), active: None, end: log_end, durable })
}

/// The file is sound up to its end: index what is not indexed, make all of it durable, and go on writing to it.
fn take_over(context: &Context<'_>, base: Offset, looked: &Looked) -> Result<Tail, DiskError> {
    let Context { disk, place, options, seed, now, .. } = *context;
    let (file, end) = (&looked.file, looked.end);
    let old = Segment::growing(base, file.clone(), options.index.make(seed));
    old.set_extent(end);
    let rebuilt = reindex_cut(disk, &place.dir, &old, end, options, seed)?;
    let unsynced = looked.durable < end.position;
    if unsynced {
        cut::write_again(file, looked.durable..end.position)?;
        disk.sync_many(std::slice::from_ref(file))?;
    }
    if rebuilt.changed {
        disk.sync_many(std::slice::from_ref(&rebuilt.index))?;
    }
    if rebuilt.changed || unsynced {
        disk.sync_dir(&place.dir)?; // The last roll may not have come to this.
    }
    let segment = Arc::new(rebuilt.segment);
    // A timestamp of the future would keep the segment from ageing until then.
    let first = first_timestamp(file)?.filter(|_| 0 < end.position).map(|first| first.min(now));
    let last = segment.max_timestamp().map(|last| last.min(now));
    let active = Active::new(segment.clone(), rebuilt.log, rebuilt.index, file.len()?, context.seed);
    let active = active.aged_since(first, last);
    let durable = DurableEnd { end: end.end, segment: base, position: end.position };
    Ok(Tail { segment, active: Some(active), end: end.end, durable })
}

fn first_timestamp(file: &SharedFile) -> Result<Option<Timestamp>, DiskError> {
    let mut bytes = [0; HEADER_LENGTH];
    file.read_at(&mut bytes, 0)?;
    Ok(BatchHeader::parse(&bytes).ok().map(|header| header.max_timestamp))
}
