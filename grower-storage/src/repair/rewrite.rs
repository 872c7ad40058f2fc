//! Makes a segment anew: its sound batches as they are, and empty ones in the places of what is given up.

use super::RepairError;
use crate::disk::{Disk, DiskError, FileOnDemand, SharedFile, if_found};
use crate::epochs::EpochHistory;
use crate::kept::{Checkpoint, DurableEnd};
use crate::options::IndexFactory;
use crate::recovery::{look_at_last, name_of_new};
use crate::segment::{self, Extent, Mode, Segment, Step, Walk, narrow};
use grower_index::{DenseIndex, StoredIndex};
use grower_protocol::batch::fillers;
use grower_protocol::ids::{LeaderEpoch, Offset, Timestamp};
use std::ops::Range;
use std::path::Path;

/// Log between two entries of the new index, in bytes: the default of topics.
const INDEX_INTERVAL: u32 = 4096;

/// One segment, and what goes from it.
pub(super) struct Rewrite<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) dir: &'a Path,
    pub(super) base: Offset,
    /// Where the next segment begins; none for the last.
    pub(super) next: Option<Offset>,
    pub(super) log_end: Offset,
    /// Whether there is a file, damaged or not.
    pub(super) there: bool,
    pub(super) lost: Vec<Range<Offset>>,
    pub(super) epochs: &'a EpochHistory,
    pub(super) checkpoint: Option<&'a Checkpoint>,
    pub(super) seed: u32,
    pub(super) now: Timestamp,
}

/// What became of it.
pub(super) struct Rewritten {
    /// Where the log ends in the new file, if it is the last.
    pub(super) durable: Option<DurableEnd>,
}

impl Rewrite<'_> {
    /// Writes both new files; durable when this returns, under names that mean nothing yet.
    pub(super) fn run(&self) -> Result<Rewritten, RepairError> {
        let file = create(self.disk, self.dir, &segment::log_name(self.base))?;
        let end = self.next.unwrap_or(self.log_end);
        let mut new = NewLog { rewrite: self, file: file.clone(), position: 0, at: self.base, last: None };
        if self.there {
            new.copy_sound(&self.old()?)?;
        }
        new.fill(end, self.now)?;
        let position = new.position;
        self.disk.sync_many(std::slice::from_ref(&file))?;
        index(self.disk, self.dir, self.base, file, Extent { position, end }, self.seed)?;
        self.disk.sync_dir(self.dir)?;
        let durable = DurableEnd { end, segment: self.base, position };
        Ok(Rewritten { durable: self.next.is_none().then_some(durable) })
    }

    /// The segment as it is, with the index that helps to find one's feet behind damage.
    fn old(&self) -> Result<Segment, DiskError> {
        let path = self.dir.join(segment::log_name(self.base));
        let extent = match self.next {
            Some(next) => Extent { position: self.disk.open(&path)?.len()?, end: next },
            None => look_at_last(self.disk, self.dir, self.base, self.checkpoint, Some(self.seed))?.end,
        };
        let map = if_found(self.disk.map(&self.dir.join(segment::index_name(self.base))))?;
        let index = StoredIndex::new(map.map(|map| map.as_ref().to_vec()).unwrap_or_default());
        Ok(Segment::sealed(self.base, FileOnDemand::held(self.disk.open(&path)?), Box::new(index), extent, None))
    }

    fn is_lost(&self, offsets: &Range<Offset>) -> bool {
        self.lost.iter().any(|lost| lost.start < offsets.end && offsets.start < lost.end)
    }

    /// Whether every offset of the range is given up: sound records never go.
    fn gives_up(&self, offsets: &Range<Offset>) -> bool {
        let mut at = offsets.start;
        while at < offsets.end {
            match self.lost.iter().find(|lost| lost.contains(&at)) {
                Some(lost) => at = lost.end,
                None => return false,
            }
        }
        true
    }
}

/// The new file as it grows.
struct NewLog<'a> {
    rewrite: &'a Rewrite<'a>,
    file: SharedFile,
    position: u64,
    at: Offset,
    /// Timestamp and epoch of the last batch that was copied.
    last: Option<(Timestamp, LeaderEpoch)>,
}

impl NewLog<'_> {
    fn copy_sound(&mut self, old: &Segment) -> Result<(), RepairError> {
        let start = Extent { position: 0, end: old.base };
        let mut walk = Walk::new(old, Mode::Content, start, old.extent());
        while let Some(step) = walk.step()? {
            let Step::Batch(found) = step else { continue };
            let header = found.header;
            if self.rewrite.is_lost(&(header.base_offset..header.next_offset())) {
                continue;
            }
            self.fill(header.base_offset, header.max_timestamp)?;
            self.file.write_all_at(walk.content(&found)?, self.position)?;
            self.position += found.bytes.end - found.bytes.start;
            self.at = header.next_offset();
            self.last = Some((header.max_timestamp, header.leader_epoch.unwrap_or_default()));
        }
        Ok(())
    }

    /// Empty batches up to `end`, each of the epoch that its offsets have, as old as what is before them.
    fn fill(&mut self, end: Offset, timestamp: Timestamp) -> Result<(), RepairError> {
        let missing = self.at..end;
        if !self.rewrite.gives_up(&missing) {
            return Err(RepairError::Unclear { offsets: missing });
        }
        while self.at < end {
            let epochs = self.rewrite.epochs;
            let until = epochs.next_start_after(self.at).map_or(end, |start| start.min(end));
            let before = self.last.map(|(_, epoch)| epoch).unwrap_or_default();
            let epoch = epochs.at(self.at).unwrap_or(before);
            for batch in fillers(self.at..until, epoch, self.last.map_or(timestamp, |(before, _)| before)) {
                self.file.write_all_at(batch.bytes(), self.position)?;
                self.position += batch.bytes().len() as u64;
            }
            self.at = until;
        }
        Ok(())
    }
}

fn create(disk: &dyn Disk, dir: &Path, name: &str) -> Result<SharedFile, DiskError> {
    let path = dir.join(name_of_new(name));
    if_found(disk.remove_file(&path))?; // From a repair that was cut short.
    disk.create(&path)
}

/// Reads a new log once more, every byte, and indexes what is found. Headers were copied, not witnessed.
fn index(
    disk: &dyn Disk,
    dir: &Path,
    base: Offset,
    log: SharedFile,
    extent: Extent,
    seed: u32,
) -> Result<(), RepairError> {
    let check = Segment::growing(base, log.clone(), Box::new(DenseIndex::new(0)));
    check.set_extent(extent);
    let segment = Segment::growing(base, log, IndexFactory::sparse(INDEX_INTERVAL).make(seed));
    let mut walk = Walk::new(&check, Mode::Content, Extent { position: 0, end: base }, extent);
    let mut entries = Vec::new();
    while let Some(step) = walk.step()? {
        match step {
            Step::Batch(found) => entries.extend(segment.note(&found.noted(base), 0)),
            Step::Gap(gap) => return Err(RepairError::Unclear { offsets: gap.offsets }),
        }
    }
    entries.extend(segment.finish_index(narrow(extent.position)));
    let index = create(disk, dir, &segment::index_name(base))?;
    let bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.encode()).collect();
    index.write_all_at(&bytes, 0)?;
    Ok(disk.sync_many(&[index])?)
}

/// Puts a new index in the place of the old one, for a sound log that has a successor.
pub(super) fn rebuild_index(disk: &dyn Disk, dir: &Path, offsets: Range<Offset>, seed: u32) -> Result<(), RepairError> {
    let log = disk.open(&dir.join(segment::log_name(offsets.start)))?;
    let extent = Extent { position: log.len()?, end: offsets.end };
    index(disk, dir, offsets.start, log, extent, seed)?;
    let name = segment::index_name(offsets.start);
    disk.rename(&dir.join(name_of_new(&name)), &dir.join(name))?;
    Ok(disk.sync_dir(dir)?)
}
