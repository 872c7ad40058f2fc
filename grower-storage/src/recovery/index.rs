//! The index of the last segment: read before the log, and completed after it.

use super::sealed::begins_at;
use crate::disk::{Disk, DiskError, Mapped, SharedFile, if_found};
use crate::options::LogOptions;
use crate::segment::{self, LogPosition, ScanItem, ScanMode, Scanner, Segment};
use grower_index::{ENTRY_LENGTH, IndexEntry, SegmentIndex, StoredIndex};
use grower_protocol::ids::Offset;
use std::collections::BTreeSet;
use std::path::Path;

/// An index file that was read. It stays mapped, however long it is.
pub(super) struct LoadedIndex {
    map: Mapped,
    /// How many entries come before the first damaged or misplaced one: a header checksum covers an interval between
    /// two.
    unbroken: usize,
    /// Whether there is a damaged or misplaced one.
    pub(super) broken: bool,
}

/// The bytes of an index file up to the end of an entry.
pub(super) struct IndexPrefix {
    map: Mapped,
    length: usize,
}

impl AsRef<[u8]> for IndexPrefix {
    fn as_ref(&self) -> &[u8] {
        &self.map.as_ref()[..self.length]
    }
}

/// Reads an index file; none if it is missing, or belongs to another log.
pub(super) fn load_entries(
    disk: &dyn Disk,
    path: &Path,
    file: &SharedFile,
    base: Offset,
    length: u64,
) -> Result<Option<LoadedIndex>, DiskError> {
    let Some(map) = if_found(disk.map(path))? else { return Ok(None) };
    let loaded = LoadedIndex::of(map);
    let mut agree = false;
    let samples = loaded.samples(length);
    for entry in &samples {
        agree |= begins_at(file, base, *entry)?;
    }
    // One disagreement may be a damaged batch: then the index must be kept.
    let foreign = !agree && 1 < samples.iter().map(|entry| entry.position).collect::<BTreeSet<_>>().len();
    Ok((!foreign).then_some(loaded))
}

impl Default for LoadedIndex {
    fn default() -> Self {
        Self::of(Mapped::new([]))
    }
}

impl LoadedIndex {
    fn of(map: Mapped) -> Self {
        let mut loaded = Self { map, unbroken: 0, broken: false };
        let mut last: Option<IndexEntry> = None;
        for at in 0..loaded.index().entry_count() {
            let entry = loaded.index().entry(at);
            let in_place = entry.zip(last).is_none_or(|(entry, last)| last.precedes(&entry));
            loaded.broken |= entry.is_none() || !in_place;
            loaded.unbroken += usize::from(!loaded.broken);
            last = entry.or(last);
        }
        loaded
    }

    fn index(&self) -> StoredIndex<&Mapped> {
        StoredIndex::new(&self.map)
    }

    /// Every sound entry: each was true when it was written.
    pub(super) fn sound(&self) -> impl Iterator<Item = IndexEntry> {
        let index = self.index();
        (0..index.entry_count()).filter_map(move |at| index.entry(at))
    }

    /// The first, the last and a middle one of the sound entries within a log of this length.
    fn samples(&self, length: u64) -> Vec<IndexEntry> {
        let index = self.index();
        let within = |at| Some((at, index.entry(at).filter(|entry| u64::from(entry.position) < length)?));
        let Some((last_at, last)) = (0..index.entry_count()).rev().find_map(within) else { return Vec::new() };
        let from = |at| (at..=last_at).find_map(within).map(|(_, entry)| entry);
        from(0).into_iter().chain(from(last_at / 2)).chain([last]).collect()
    }

    /// The unbroken entries up to a position.
    pub(super) fn front(&self, until: u64) -> IndexPrefix {
        let entries = self.sound().take(self.unbroken).take_while(|entry| u64::from(entry.position) <= until);
        let length = entries.count() * ENTRY_LENGTH;
        assert!(length <= self.map.as_ref().len(), "entries lie within the file");
        IndexPrefix { map: self.map.clone(), length }
    }
}

/// A segment whose index covers all of it.
pub(crate) struct RebuiltSegment {
    pub(crate) segment: Segment,
    pub(crate) log: SharedFile,
    pub(crate) index: SharedFile,
    /// Whether the index file was written to.
    pub(super) changed: bool,
}

/// Completes the index of a segment that ends at `end`: keeps the entries that hold, then adds one per interval.
pub(crate) fn reindex_cut(
    disk: &dyn Disk,
    dir: &Path,
    old: &Segment,
    end: LogPosition,
    options: &LogOptions,
    seed: u32,
) -> Result<RebuiltSegment, DiskError> {
    let path = dir.join(segment::index_name(old.base));
    let log = old.file.get()?;
    let stored = load_entries(disk, &path, &log, old.base, end.bytes)?.unwrap_or_default();
    let held = stored.front(end.bytes);
    let (index, mut changed) = open_with(disk, &path, held.as_ref())?;
    let mut length = index.len()?;
    let segment = Segment::growing(old.base, log.clone(), options.index.make(seed)).with_index_file(&index);
    let held = StoredIndex::new(held);
    (0..held.entry_count()).filter_map(|at| held.entry(at)).for_each(|entry| segment.restore(entry));
    debug_assert!(segment.end_position().bytes <= end.bytes, "the entries that stay lie within the log");
    let mut scanner = Scanner::new(&segment, ScanMode::Headers, segment.end_position(), end);
    while let Some(ScanItem::Batch(batch)) = scanner.next_item()? {
        if let Some(entry) = segment.note(&batch.indexed_batch(old.base), 0) {
            index.write_all_at(&entry.encode(), length)?;
            length += ENTRY_LENGTH as u64;
            segment.index_stored(length);
            changed = true;
        }
    }
    segment.set_end_position(end);
    Ok(RebuiltSegment { segment, log, index, changed })
}

/// Opens an index file with exactly these bytes, and says whether it had others. If so it is replaced by a new file:
/// readers may have mapped the old one, and a map must not be cut under them.
fn open_with(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(SharedFile, bool), DiskError> {
    if let Some(index) = if_found(disk.open(path))?
        && index.len()? == bytes.len() as u64
    {
        return Ok((index, false));
    }
    store_index(disk, path, bytes)?;
    Ok((disk.open(path)?, true))
}

/// Replaces an index. A crash leaves the old one, the new one or none.
pub(super) fn store_index(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
    let temporary = path.with_extension("growerindex.tmp");
    if_found(disk.remove_file(&temporary))?;
    let file = disk.create(&temporary)?;
    file.write_all_at(bytes, 0)?;
    disk.sync_many(&[file])?;
    disk.replace(&temporary, path)
}
