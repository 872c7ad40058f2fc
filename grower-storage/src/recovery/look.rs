//! Looks at the last segment, and changes nothing: where it ends, what stands there, and what of it is damaged.

use super::decide::{Place, Seen, Verdict, decide};
use super::index::{Loaded, load_entries};
use crate::disk::{Disk, DiskError, FileOnDemand, SharedFile};
use crate::kept::Checkpoint;
use crate::segment::{self, Damage, Expectations, Extent, Mode, Segment, Step, Walk, inspect};
use grower_index::{Entry, StoredIndex};
use grower_protocol::ids::Offset;
use std::path::Path;

/// What the last segment of a log looks like.
pub(crate) struct Looked {
    pub(crate) file: SharedFile,
    /// The file's length in bytes.
    pub(crate) length: u64,
    /// Bytes known to be durable, whether they are there or not.
    pub(crate) durable: u64,
    /// Where its batches end.
    pub(crate) end: Extent,
    /// The log end offset: later than `end` if records that were durable are gone.
    pub(crate) log_end: Offset,
    /// What stands at `end`.
    pub(crate) verdict: Verdict,
    /// Damage below the durable end.
    pub(crate) damage: Vec<Damage>,
    /// What its index file says.
    pub(super) loaded: Loaded,
    /// Whether the index file is not as it should be.
    pub(crate) index_broken: bool,
}

/// What the index and the checkpoint know of the file before it is read.
struct Known<'a> {
    index: &'a Loaded,
    durable: u64,
    /// The offset at the durable end, or at the first known place after it.
    durable_offset: Offset,
    /// The last known place that is not above the durable end: reading starts here.
    trusted: Extent,
}

/// Looks at the segment that begins at `base`. Only what lies above the known durable end is read.
pub(crate) fn look_at_last(
    disk: &dyn Disk,
    dir: &Path,
    base: Offset,
    checkpoint: Option<&Checkpoint>,
    seed: Option<u32>,
) -> Result<Looked, DiskError> {
    let file = disk.open(&dir.join(segment::log_name(base)))?;
    let length = file.len()?;
    let loaded = load_entries(disk, &dir.join(segment::index_name(base)), &file, base, length)?;
    let index_broken = 0 < length && loaded.as_ref().is_none_or(|loaded| loaded.broken);
    let loaded = loaded.unwrap_or_default();
    let known = Known::new(base, length, &loaded, checkpoint);
    let (end, seen, mut damage) = survey(&file, base, length, &known, seed)?;
    if length < known.durable && damage.is_empty() {
        damage.extend(ends_early(end, length, &known));
    }
    let verdict = decide(Place { has_successor: false, below_durable_end: false }, seen);
    let log_end = log_end(end, &known, &mut damage);
    let end = Extent { end: end.end.min(log_end), ..end };
    let durable = known.durable;
    Ok(Looked { file, length, durable, end, log_end, verdict, damage, loaded, index_broken })
}

impl<'a> Known<'a> {
    fn new(base: Offset, length: u64, index: &'a Loaded, checkpoint: Option<&Checkpoint>) -> Self {
        let extent = |entry: Entry| Extent {
            position: entry.position.into(),
            end: base.saturating_add(entry.relative_offset.into()),
        };
        let here = checkpoint.filter(|c| c.durable.segment == base && c.truncating.is_none()).map(|c| c.durable);
        let by_index = index.sound().map(|entry| u64::from(entry.durable_end)).max().unwrap_or(0);
        let durable = by_index.max(here.map_or(0, |durable| durable.position));
        let checked = here.map(|durable| Extent { position: durable.position, end: durable.end });
        let places = || index.sound().map(extent).chain(checked);
        let start = Extent { position: 0, end: base };
        let below = places().filter(|place| place.position <= durable.min(length));
        let trusted = below.max_by_key(|place| place.position).unwrap_or(start);
        let above = places().filter(|place| durable <= place.position);
        let after = above.min_by_key(|place| place.position).map_or(trusted.end, |place| place.end);
        Self { index, durable, durable_offset: after, trusted }
    }
}

/// Reads from the trusted place on: where the batches end, what stands there, and what is damaged below the durable end.
fn survey(
    file: &SharedFile,
    base: Offset,
    length: u64,
    known: &Known<'_>,
    seed: Option<u32>,
) -> Result<(Extent, Seen, Vec<Damage>), DiskError> {
    let index = StoredIndex::new(known.index.front(length));
    let whole = Extent { position: length, end: Offset::MAX };
    let segment = Segment::sealed(base, FileOnDemand::held(file.clone()), Box::new(index), whole, None);
    let mut walk = Walk::new(&segment, Mode::Content, known.trusted, segment.extent());
    walk.know(known.durable.min(length));
    let (mut end, mut rot, mut seen) = (known.trusted, Vec::new(), Seen::SoundToTheEnd);
    while let Some(step) = walk.step()? {
        if let Step::Gap(gap) = step {
            seen = if gap.zeros { Seen::ZerosToTheEnd } else { Seen::NoBatch };
            let place = Place { has_successor: false, below_durable_end: gap.bytes.start < known.durable };
            if decide(place, seen) != Verdict::KeepAndRefuse {
                break;
            }
            rot.push(Damage::from(gap));
            seen = Seen::SoundToTheEnd; // The walk goes on after it.
        }
        end = walk.at();
    }
    let place = Place { has_successor: false, below_durable_end: false };
    if rot.is_empty() && decide(place, Seen::WitnessDisagrees) == Verdict::KeepAndRefuse {
        segment.set_extent(end);
        // Epochs are judged by `verify`: their history may be behind, or lost.
        let expected = Expectations { seed, epochs: &Default::default() };
        let last_mark = segment.extent_at(segment.marks().around_position(known.trusted.position).start());
        rot = inspect(&segment, last_mark, end, &expected)?; // A witness speaks from one entry to the next.
    }
    Ok((end, seen, rot))
}

/// The file is shorter than it was when it was durable.
fn ends_early(end: Extent, length: u64, known: &Known<'_>) -> Option<Damage> {
    let place = Place { has_successor: false, below_durable_end: true };
    let what = format!("the file has {length} bytes, {} were durable", known.durable);
    let damage =
        Damage { bytes: end.position..known.durable, offsets: end.end..known.durable_offset.max(end.end), what };
    (decide(place, Seen::EndsEarly) == Verdict::KeepAndRefuse).then_some(damage)
}

/// The log end when damage reaches to the end of the file. Offsets that were given out once are never given out again.
fn log_end(end: Extent, known: &Known<'_>, damage: &mut Vec<Damage>) -> Offset {
    if damage.is_empty() {
        return end.end;
    }
    let last_damaged = damage.iter().map(|damage| damage.offsets.start).max().unwrap_or_default();
    let sound_end = if end.end == Offset::MAX { last_damaged } else { end.end };
    let log_end = sound_end.max(known.durable_offset);
    for damage in damage.iter_mut() {
        damage.offsets.end = damage.offsets.end.min(log_end);
    }
    let told = damage.iter().any(|damage| damage.offsets.end == log_end);
    if sound_end < log_end && !told {
        let what = "they were durable, and the file does not hold them".into();
        damage.push(Damage { bytes: end.position..end.position, offsets: sound_end..log_end, what });
    }
    log_end
}
