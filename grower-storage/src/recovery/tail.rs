//! Opens the last segment: finds its end, judges what stands there, and makes what it takes over durable.

use super::decide::{Place, Seen, Verdict, decide};
use super::sealed::begins_at;
use super::{Context, RecoveryReport, cut, if_found};
use crate::disk::{Disk, DiskError, SharedFile};
use crate::kept::{Checkpoint, DurableEnd};
use crate::log::LogOptions;
use crate::segment::{self, Active, Damage, Expectations, Extent, Mode, Segment, Step, Walk, inspect};
use grower_index::{ENTRY_LENGTH, Entry, SegmentIndex, StoredIndex};
use grower_protocol::ids::Offset;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The last segment, fit to be served.
pub(super) struct Tail {
    pub(super) segment: Arc<Segment>,
    pub(super) active: Option<Active>,
    pub(super) end: Offset,
    pub(super) durable: DurableEnd,
}

/// What the index and the checkpoint know of the file before it is read.
struct Known {
    /// Entries that agree with each other, rising.
    entries: Vec<Entry>,
    /// Bytes known to be durable.
    durable: u64,
    /// The offset there, or of the first known place after it.
    durable_offset: Offset,
    /// The last known place that is not above the durable end: reading starts here.
    trusted: Extent,
}

pub(super) fn open(
    context: &Context<'_>,
    base: Offset,
    checkpoint: Option<&Checkpoint>,
    lost: &mut Vec<(PathBuf, Damage)>,
    report: &mut RecoveryReport,
) -> Result<Tail, DiskError> {
    let file = context.disk.open(&context.place.dir.join(segment::log_name(base)))?;
    let length = file.len()?;
    let index_path = context.place.dir.join(segment::index_name(base));
    let entries = load_entries(context.disk, &index_path, &file, base, length)?;
    if entries.is_none() && 0 < length {
        report.reindexed.push(index_path);
    }
    let known = Known::new(base, length, entries.unwrap_or_default(), checkpoint);
    let (end, verdict, mut damage) = survey(context, &file, base, length, &known)?;
    let place = Place { has_successor: false, below_durable_end: length < known.durable };
    if damage.is_empty() && place.below_durable_end && decide(place, Seen::EndsEarly) == Verdict::KeepAndRefuse {
        damage.push(ends_early(end, length, &known));
    }
    if !damage.is_empty() {
        return keep_as_it_is(context, file, base, end, &known, damage, lost);
    }
    if verdict == Verdict::CutTornTail {
        report.cut = cut::cut(context, &file, end, length)?;
    }
    take_over(context, file, base, end, known.durable, verdict)
}

/// The sound entries of an index file up to the first that is damaged or out of place; none if it is not there or
/// belongs to another log.
fn load_entries(
    disk: &dyn Disk,
    path: &Path,
    file: &SharedFile,
    base: Offset,
    length: u64,
) -> Result<Option<Vec<Entry>>, DiskError> {
    let Some(map) = if_found(disk.map(path))? else { return Ok(None) };
    let index = StoredIndex::new(map);
    let mut entries: Vec<Entry> = Vec::new();
    for entry in (0..index.entry_count()).map_while(|at| index.entry(at)) {
        if entries
            .last()
            .is_some_and(|last| entry.position < last.position || entry.relative_offset < last.relative_offset)
        {
            break;
        }
        entries.push(entry);
    }
    let sample = entries.iter().rev().find(|entry| u64::from(entry.position) < length);
    match sample {
        Some(entry) if !begins_at(file, base, *entry)? && entries.len() == 1 => Ok(None),
        _ => Ok(Some(entries)),
    }
}

impl Known {
    fn new(base: Offset, length: u64, entries: Vec<Entry>, checkpoint: Option<&Checkpoint>) -> Self {
        let extent = |entry: &Entry| Extent {
            position: entry.position.into(),
            end: base.saturating_add(entry.relative_offset.into()),
        };
        let here = checkpoint.filter(|c| c.durable.segment == base && c.truncating.is_none()).map(|c| c.durable);
        let witnessed = entries.iter().map(|entry| u64::from(entry.durable_end)).max().unwrap_or(0);
        let durable = witnessed.max(here.map_or(0, |durable| durable.position));
        let mut places: Vec<Extent> = entries.iter().map(extent).collect();
        places.extend(here.map(|durable| Extent { position: durable.position, end: durable.end }));
        places.sort_by_key(|place| place.position);
        let start = Extent { position: 0, end: base };
        let trusted = places.iter().rev().find(|place| place.position <= durable.min(length)).copied().unwrap_or(start);
        let after = places.iter().find(|place| durable <= place.position).map_or(trusted.end, |place| place.end);
        Self { entries, durable, durable_offset: after, trusted }
    }
}

/// Reads from the trusted place on: where the log ends, what stands there, and what is damaged below the durable end.
fn survey(
    context: &Context<'_>,
    file: &SharedFile,
    base: Offset,
    length: u64,
    known: &Known,
) -> Result<(Extent, Verdict, Vec<Damage>), DiskError> {
    let segment = Segment::growing(base, file.clone(), context.options.index.make(context.seed));
    let entries = known.entries.iter().filter(|entry| u64::from(entry.position) <= length);
    entries.for_each(|entry| segment.restore(*entry));
    segment.set_extent(Extent { position: length, end: Offset::MAX });
    let mut walk = Walk::new(&segment, Mode::Content, known.trusted, segment.extent());
    walk.know(known.durable.min(length));
    let (mut end, mut rot, mut seen) = (known.trusted, Vec::new(), Seen::SoundToTheEnd);
    while let Some(step) = walk.step()? {
        if let Step::Gap(gap) = step {
            seen = if cut::only_zeros(file, gap.bytes.start, length)? { Seen::ZerosToTheEnd } else { Seen::NoBatch };
            let place = Place { has_successor: false, below_durable_end: gap.bytes.start < known.durable };
            if decide(place, seen) != Verdict::KeepAndRefuse {
                break;
            }
            rot.push(Damage::from(gap));
        }
        end = walk.at();
    }
    let place = Place { has_successor: false, below_durable_end: false };
    segment.set_extent(end);
    if rot.is_empty() && decide(place, Seen::WitnessDisagrees) == Verdict::KeepAndRefuse {
        // The epoch history may be behind or lost; it is judged when it is there, by `verify`.
        let expected = Expectations { seed: context.seed, epochs: &Default::default() };
        let last_mark = segment.extent_at(segment.floor_by_position(known.trusted.position));
        rot = inspect(&segment, last_mark, end, &expected)?; // A witness speaks from one entry to the next.
    }
    Ok((end, decide(place, seen), rot))
}

/// The file is shorter than it was when it was durable.
fn ends_early(end: Extent, length: u64, known: &Known) -> Damage {
    let what = format!("the file has {length} bytes, {} were durable", known.durable);
    Damage { bytes: end.position..known.durable, offsets: end.end..known.durable_offset.max(end.end), what }
}

/// Damage below the durable end: no file is changed, and the next append begins a new segment.
fn keep_as_it_is(
    context: &Context<'_>,
    file: SharedFile,
    base: Offset,
    end: Extent,
    known: &Known,
    mut damage: Vec<Damage>,
    lost: &mut Vec<(PathBuf, Damage)>,
) -> Result<Tail, DiskError> {
    let log_end = if end.end == Offset::MAX { known.durable_offset } else { end.end.max(known.durable_offset) };
    let log_end = log_end.max(damage.iter().map(|damage| damage.offsets.start).max().unwrap_or(log_end));
    for damage in &mut damage {
        damage.offsets.end = damage.offsets.end.min(log_end);
    }
    if end.end < log_end {
        damage.push(Damage {
            bytes: end.position..end.position,
            offsets: end.end..log_end,
            what: "not in the file".into(),
        });
    }
    context.disk.sync_many(std::slice::from_ref(&file))?;
    let segment = Segment::growing(base, file, context.options.index.make(context.seed));
    let sound = known.entries.iter().filter(|entry| u64::from(entry.position) <= end.position);
    sound.for_each(|entry| segment.restore(*entry));
    segment.set_extent(Extent { position: end.position, end: log_end });
    lost.extend(damage.into_iter().map(|damage| (segment.file.path().to_owned(), damage)));
    let durable = DurableEnd { end: log_end, segment: base, position: end.position };
    Ok(Tail { segment: Arc::new(segment), active: None, end: log_end, durable })
}

/// The file is sound up to `end`: index what is not indexed, make all of it durable, and go on writing to it.
fn take_over(
    context: &Context<'_>,
    file: SharedFile,
    base: Offset,
    end: Extent,
    durable: u64,
    verdict: Verdict,
) -> Result<Tail, DiskError> {
    let old = Segment::growing(base, file.clone(), context.options.index.make(context.seed));
    old.set_extent(end);
    let Context { disk, place, options, seed } = *context;
    let rebuilt = reindex_cut(disk, &place.dir, &old, end, options, seed)?;
    if durable < end.position {
        cut::write_again(&file, durable..end.position)?;
        disk.sync_many(std::slice::from_ref(&file))?;
    }
    if rebuilt.changed {
        disk.sync_many(std::slice::from_ref(&rebuilt.index))?;
    }
    if rebuilt.changed || durable < end.position {
        disk.sync_dir(&place.dir)?; // The last roll may not have come to this.
    }
    let allocated = if verdict == Verdict::CutTornTail { end.position } else { file.len()? };
    let segment = Arc::new(rebuilt.segment);
    let active = Active::new(segment.clone(), rebuilt.index, allocated);
    let durable = DurableEnd { end: end.end, segment: base, position: end.position };
    Ok(Tail { segment, active: Some(active), end: end.end, durable })
}

/// A segment with an index for everything up to its end.
pub(crate) struct Rebuilt {
    pub(crate) segment: Segment,
    pub(crate) index: SharedFile,
    /// Whether the index file was written to.
    changed: bool,
}

/// Makes the index of a segment that ends at `end`: the entries that still hold, then one for each interval after them.
pub(crate) fn reindex_cut(
    disk: &dyn Disk,
    dir: &Path,
    old: &Segment,
    end: Extent,
    options: &LogOptions,
    seed: u32,
) -> Result<Rebuilt, DiskError> {
    let path = dir.join(segment::index_name(old.base));
    let entries = load_entries(disk, &path, &old.file, old.base, end.position)?.unwrap_or_default();
    let (index, mut changed) = match if_found(disk.open(&path))? {
        Some(index) => (index, false),
        None => (disk.create(&path)?, true),
    };
    let segment = Segment::growing(old.base, old.file.clone(), options.index.make(seed));
    let holds = |entry: &&Entry| u64::from(entry.position) <= end.position;
    entries.iter().take_while(holds).for_each(|entry| segment.restore(*entry));
    let mut length = (segment.entry_count() * ENTRY_LENGTH) as u64;
    if index.len()? != length {
        index.set_len(length)?;
        changed = true;
    }
    let start = segment.extent();
    segment.set_extent(end);
    let mut found = Vec::new();
    let mut walk = Walk::new(&segment, Mode::Headers, start, end);
    while let Some(Step::Batch(batch)) = walk.step()? {
        found.push(batch);
    }
    segment.set_extent(start);
    for entry in found.iter().filter_map(|batch| segment.note(&batch.noted(old.base), 0)) {
        index.write_all_at(&entry.encode(), length)?;
        length += ENTRY_LENGTH as u64;
        changed = true;
    }
    segment.set_extent(end);
    Ok(Rebuilt { segment, index, changed })
}
