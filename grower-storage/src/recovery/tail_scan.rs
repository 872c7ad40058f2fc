//! Scans the last segment and changes nothing: where it ends, what follows, and what is damaged.

use super::decide::{RecoveryAction, Region, RegionContent, TAIL, decide};
use super::index::{LoadedIndex, load_entries};
use crate::disk::{Disk, DiskError, FileOnDemand, SharedFile};
use crate::segment::{self, Damage, Expectations, LogPosition, ScanItem, ScanMode, Scanner, Segment, inspect};
use crate::state_file::Checkpoint;
use grower_index::{IndexEntry, StoredIndex};
use grower_protocol::ids::Offset;
use std::path::Path;

/// The scan of a log's last segment.
pub(crate) struct TailScan {
    pub(crate) file: SharedFile,
    /// The file's length in bytes.
    pub(crate) length: u64,
    /// Bytes known to be durable, present or not.
    pub(crate) durable: u64,
    /// Where its batches end.
    pub(crate) end: LogPosition,
    /// The log end offset: above `end` if durable records are gone.
    pub(crate) log_end: Offset,
    /// The action for the bytes after `end`.
    pub(crate) action: RecoveryAction,
    /// Damage below the durable end.
    pub(crate) damage: Vec<Damage>,
    /// Its index file.
    pub(super) loaded: LoadedIndex,
    /// Whether the index file has to be rebuilt, in whole or in part.
    pub(crate) index_broken: bool,
}

/// The knowledge of the index and the checkpoint before the file is read.
struct KnownBefore<'a> {
    index: &'a LoadedIndex,
    durable: u64,
    /// The offset at the durable end, or at the first known position after it.
    durable_offset: Offset,
    /// The last known position at or below the durable end: the scan starts here.
    trusted: LogPosition,
}

/// Scans the segment that begins at `base`, above the known durable end.
pub(crate) fn scan_tail(
    disk: &dyn Disk,
    dir: &Path,
    base: Offset,
    checkpoint: Option<&Checkpoint>,
    seed: Option<u32>,
) -> Result<TailScan, DiskError> {
    let file = disk.open(&dir.join(segment::log_name(base)))?;
    let length = file.len()?;
    let loaded = load_entries(disk, &dir.join(segment::index_name(base)), &file, base, length)?;
    let index_broken = 0 < length && loaded.as_ref().is_none_or(|loaded| loaded.broken);
    let loaded = loaded.unwrap_or_default();
    let known = KnownBefore::new(base, length, &loaded, checkpoint);
    let (end, observed, mut damage) = survey(&file, base, length, &known, seed)?;
    if length < known.durable && damage.is_empty() {
        damage.push(ends_early(&file, end, length, &known));
    }
    let action = decide(TAIL, observed);
    let log_end = log_end(&file, end, &known, &mut damage);
    let end = LogPosition { offset: end.offset.min(log_end), ..end };
    let durable = known.durable;
    debug_assert!(end.bytes <= length, "a scan stays within the file");
    debug_assert!(!damage.is_empty() || durable <= end.bytes, "durable records are found, or reported as damaged");
    debug_assert!(damage.iter().all(|lost| lost.offsets.start <= lost.offsets.end), "damage has an end");
    Ok(TailScan { file, length, durable, end, log_end, action, damage, loaded, index_broken })
}

impl<'a> KnownBefore<'a> {
    fn new(base: Offset, length: u64, index: &'a LoadedIndex, checkpoint: Option<&Checkpoint>) -> Self {
        let end_position = |entry: IndexEntry| LogPosition {
            bytes: entry.position.into(),
            offset: base.saturating_add(entry.relative_offset.into()),
        };
        let here = checkpoint.filter(|c| c.durable.segment == base && c.truncating.is_none()).map(|c| c.durable);
        let by_index = index.sound().map(|entry| u64::from(entry.durable_end)).max().unwrap_or(0);
        let durable = by_index.max(here.map_or(0, |durable| durable.position));
        let checked = here.map(|durable| LogPosition { bytes: durable.position, offset: durable.end });
        let positions = || index.sound().map(end_position).chain(checked);
        let start = LogPosition::start_of(base);
        let below = positions().filter(|known| known.bytes <= durable.min(length));
        let trusted = below.max_by_key(|known| known.bytes).unwrap_or(start);
        let above = positions().filter(|known| durable <= known.bytes);
        let after = above.min_by_key(|known| known.bytes).map_or(trusted.offset, |known| known.offset);
        Self { index, durable, durable_offset: after, trusted }
    }
}

/// Scans from the trusted position. Returns where the batches end, what follows, and the damage below the durable end.
fn survey(
    file: &SharedFile,
    base: Offset,
    length: u64,
    known: &KnownBefore<'_>,
    seed: Option<u32>,
) -> Result<(LogPosition, RegionContent, Vec<Damage>), DiskError> {
    let index = StoredIndex::new(known.index.front(length));
    let whole = LogPosition { bytes: length, offset: Offset::MAX };
    let segment = Segment::sealed(base, FileOnDemand::held(file.clone()), Box::new(index), whole, None);
    let mut scanner = Scanner::new(&segment, ScanMode::Content, known.trusted, segment.end_position());
    scanner.expect_durable_end(known.durable.min(length));
    let (mut end, mut corrupt, mut observed) = (known.trusted, Vec::new(), RegionContent::SoundToTheEnd);
    while let Some(item) = scanner.next_item()? {
        if let ScanItem::Damaged { damage, zeros } = item {
            observed = if zeros { RegionContent::ZerosToTheEnd } else { RegionContent::NoBatch };
            let region = Region { below_durable_end: damage.bytes.start < known.durable, ..TAIL };
            if decide(region, observed) != RecoveryAction::KeepAndRefuse {
                break;
            }
            corrupt.push(damage);
            observed = RegionContent::SoundToTheEnd; // The scan continues after it.
        }
        end = scanner.position();
    }
    if corrupt.is_empty() {
        segment.set_end_position(end);
        // Epochs are judged by `verify`: their history may be behind, or lost.
        let expected = Expectations { seed, epochs: &Default::default() };
        let last_indexed = segment.log_position(segment.lookup().around_position(known.trusted.bytes).start());
        corrupt = inspect(&segment, last_indexed, end, &expected)?; // From an entry: a checksum covers whole intervals.
        debug_assert_eq!(decide(TAIL, RegionContent::ChecksumDiffers), RecoveryAction::KeepAndRefuse);
    }
    Ok((end, observed, corrupt))
}

/// The damage if the file is shorter than its durable end.
fn ends_early(file: &SharedFile, end: LogPosition, length: u64, known: &KnownBefore<'_>) -> Damage {
    debug_assert_eq!(decide(TAIL, RegionContent::EndsEarly), RecoveryAction::KeepAndRefuse);
    let reason = format!("the file has {length} bytes, {} were durable", known.durable);
    let (bytes, offsets) = (end.bytes..known.durable, end.offset..known.durable_offset.max(end.offset));
    Damage { path: file.path().to_owned(), bytes, offsets, reason }
}

/// The log end if damage reaches the end of the file. Offsets that were given out are never given out again.
fn log_end(file: &SharedFile, end: LogPosition, known: &KnownBefore<'_>, damage: &mut Vec<Damage>) -> Offset {
    if damage.is_empty() {
        return end.offset;
    }
    let last_damaged = damage.iter().map(|damage| damage.offsets.start).max().unwrap_or_default();
    let sound_end = if end.offset == Offset::MAX { last_damaged } else { end.offset };
    let log_end = sound_end.max(known.durable_offset);
    for damage in damage.iter_mut() {
        damage.offsets.end = damage.offsets.end.min(log_end);
        damage.offsets.start = damage.offsets.start.min(log_end); // A forged index names offsets beyond the log.
    }
    let reported = damage.iter().any(|damage| damage.offsets.end == log_end);
    if sound_end < log_end && !reported {
        let reason = "they were durable, and the file does not hold them".into();
        let (path, bytes) = (file.path().to_owned(), end.bytes..end.bytes);
        damage.push(Damage { path, bytes, offsets: sound_end..log_end, reason });
    }
    log_end
}
