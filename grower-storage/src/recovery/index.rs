//! The index of the last segment: what it knows before the log is read, and making it whole again afterwards.

use super::if_found;
use super::sealed::begins_at;
use crate::disk::{Disk, DiskError, SharedFile};
use crate::log::LogOptions;
use crate::segment::{self, Extent, Mode, Segment, Step, Walk};
use grower_index::{ENTRY_LENGTH, Entry, SegmentIndex, StoredIndex};
use grower_protocol::ids::Offset;
use std::collections::BTreeSet;
use std::path::Path;

/// What an index file has to say.
#[derive(Default)]
pub(super) struct Loaded {
    /// Every sound entry: each was true when it was written.
    pub(super) sound: Vec<Entry>,
    /// How many of them come before the first that is damaged or out of place: a witness speaks from one to the next.
    unbroken: usize,
    /// Whether there is such a one.
    pub(super) broken: bool,
}

/// Reads an index file; none if it is not there, or belongs to another log.
pub(super) fn load_entries(
    disk: &dyn Disk,
    path: &Path,
    file: &SharedFile,
    base: Offset,
    length: u64,
) -> Result<Option<Loaded>, DiskError> {
    let Some(map) = if_found(disk.map(path))? else { return Ok(None) };
    let index = StoredIndex::new(map);
    let rises =
        |last: &Entry, entry: &Entry| last.position <= entry.position && last.relative_offset <= entry.relative_offset;
    let mut loaded = Loaded::default();
    for at in 0..index.entry_count() {
        let Some(entry) = index.entry(at) else {
            loaded.broken = true;
            continue;
        };
        loaded.broken |= loaded.sound.last().is_some_and(|last| !rises(last, &entry));
        loaded.sound.push(entry);
        loaded.unbroken += usize::from(!loaded.broken);
    }
    let samples: Vec<&Entry> = loaded.sound.iter().filter(|entry| u64::from(entry.position) < length).collect();
    let samples = [samples.first(), samples.get(samples.len() / 2), samples.last()];
    let mut agree = false;
    for entry in samples.iter().flatten() {
        agree |= begins_at(file, base, ***entry)?;
    }
    // One disagreement may be a batch that is damaged; then the index must not be thrown away.
    let foreign = !agree && 1 < samples.iter().flatten().map(|entry| entry.position).collect::<BTreeSet<_>>().len();
    Ok((!foreign).then_some(loaded))
}

impl Loaded {
    /// The entries that follow one on another without a gap.
    pub(super) fn entries(&self) -> &[Entry] {
        self.sound.get(..self.unbroken).unwrap_or_default()
    }
}

/// A segment with an index for everything up to its end.
pub(crate) struct Rebuilt {
    pub(crate) segment: Segment,
    pub(crate) index: SharedFile,
    /// Whether the index file was written to.
    pub(super) changed: bool,
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
    let stored = load_entries(disk, &path, &old.file, old.base, end.position)?.unwrap_or_default();
    let holds = |entry: &&Entry| u64::from(entry.position) <= end.position;
    let held: Vec<Entry> = stored.entries().iter().take_while(holds).copied().collect();
    let (index, mut changed) = open_with(disk, dir, &path, &held)?;
    let mut length = index.len()?;
    let segment = Segment::growing(old.base, old.file.clone(), options.index.make(seed)).with_index_file(&index);
    held.iter().for_each(|entry| segment.restore(*entry));
    let mut walk = Walk::new(&segment, Mode::Headers, segment.extent(), end);
    while let Some(Step::Batch(batch)) = walk.step()? {
        if let Some(entry) = segment.note(&batch.noted(old.base), 0) {
            index.write_all_at(&entry.encode(), length)?;
            length += ENTRY_LENGTH as u64;
            segment.index_stored(length);
            changed = true;
        }
    }
    segment.set_extent(end);
    Ok(Rebuilt { segment, index, changed })
}

/// The index file with exactly these entries, and whether it had others. It is then another file: readers may have
/// mapped the old one, and a map must not be cut short under them.
fn open_with(disk: &dyn Disk, dir: &Path, path: &Path, entries: &[Entry]) -> Result<(SharedFile, bool), DiskError> {
    let length = (entries.len() * ENTRY_LENGTH) as u64;
    if let Some(index) = if_found(disk.open(path))?
        && index.len()? == length
    {
        return Ok((index, false));
    }
    store_index(disk, dir, path, entries)?;
    Ok((disk.open(path)?, true))
}

/// Puts an index in the place of the old one. Whenever a crash comes, it leaves one of them or none.
pub(super) fn store_index(disk: &dyn Disk, dir: &Path, path: &Path, entries: &[Entry]) -> Result<(), DiskError> {
    let temporary = path.with_extension("growerindex.tmp");
    if_found(disk.remove_file(&temporary))?;
    let file = disk.create(&temporary)?;
    let bytes: Vec<u8> = entries.iter().flat_map(Entry::encode).collect();
    file.write_all_at(&bytes, 0)?;
    disk.sync_many(&[file])?;
    disk.rename(&temporary, path)?;
    disk.sync_dir(dir)
}
