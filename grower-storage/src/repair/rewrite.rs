//! Rewrites a segment: its sound batches unchanged, and empty batches in place of accepted losses.

use super::AcceptLossError;
use crate::disk::{Disk, DiskError, FileOnDemand, SharedFile, if_found};
use crate::epochs::EpochHistory;
use crate::options::IndexFactory;
use crate::recovery::{name_of_new, scan_tail};
use crate::segment::{self, LogPosition, ScanItem, ScanMode, Scanner, Segment, narrow};
use crate::state_file::{Checkpoint, DurableEnd};
use grower_index::{DenseIndex, StoredIndex};
use grower_protocol::batch::fillers;
use grower_protocol::ids::{LeaderEpoch, Offset, Timestamp};
use std::ops::Range;
use std::path::Path;

/// Bytes of log per entry of the new index: the default of topics.
const INDEX_INTERVAL: u32 = 4096;

/// One segment and the accepted losses in it.
pub(super) struct Rewrite<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) dir: &'a Path,
    pub(super) base: Offset,
    /// Where the next segment begins; none for the last.
    pub(super) next: Option<Offset>,
    pub(super) log_end: Offset,
    /// Whether its file exists, damaged or not.
    pub(super) there: bool,
    pub(super) lost: Vec<Range<Offset>>,
    pub(super) epochs: &'a EpochHistory,
    pub(super) checkpoint: Option<&'a Checkpoint>,
    pub(super) seed: u32,
    pub(super) now: Timestamp,
}

/// The new segment.
pub(super) struct Rewritten {
    /// Where the log ends in the new file, if it is the last.
    pub(super) durable: Option<DurableEnd>,
}

impl Rewrite<'_> {
    /// Writes both new files; durable when this returns, under temporary names.
    pub(super) fn run(&self) -> Result<Rewritten, AcceptLossError> {
        let file = create(self.disk, self.dir, &segment::log_name(self.base))?;
        let end = self.next.unwrap_or(self.log_end);
        let mut new = NewLog { rewrite: self, file: file.clone(), position: 0, at: self.base, last: None };
        if self.there {
            new.copy_sound(&self.old()?)?;
        }
        new.fill(end, self.now)?;
        assert_eq!(new.at, end, "the new file spans the offsets of the old one");
        let position = new.position;
        self.disk.sync_many(std::slice::from_ref(&file))?;
        index(self.disk, self.dir, self.base, file, LogPosition { bytes: position, offset: end }, self.seed)?;
        self.disk.sync_dir(self.dir)?;
        let durable = DurableEnd { end, segment: self.base, position };
        Ok(Rewritten { durable: self.next.is_none().then_some(durable) })
    }

    /// The present segment, with its index, which helps to resynchronise after damage.
    fn old(&self) -> Result<Segment, DiskError> {
        let path = self.dir.join(segment::log_name(self.base));
        let end_position = match self.next {
            Some(next) => LogPosition { bytes: self.disk.open(&path)?.len()?, offset: next },
            None => scan_tail(self.disk, self.dir, self.base, self.checkpoint, Some(self.seed))?.end,
        };
        let map = if_found(self.disk.map(&self.dir.join(segment::index_name(self.base))))?;
        let index = StoredIndex::new(map.map(|map| map.as_ref().to_vec()).unwrap_or_default());
        Ok(Segment::sealed(self.base, FileOnDemand::held(self.disk.open(&path)?), Box::new(index), end_position, None))
    }

    fn is_lost(&self, offsets: &Range<Offset>) -> bool {
        self.lost.iter().any(|lost| lost.start < offsets.end && offsets.start < lost.end)
    }

    /// Whether the loss of every offset of the range is accepted: that of sound records never is.
    fn is_accepted_loss(&self, offsets: &Range<Offset>) -> bool {
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

/// The new log file.
struct NewLog<'a> {
    rewrite: &'a Rewrite<'a>,
    file: SharedFile,
    position: u64,
    at: Offset,
    /// Timestamp and epoch of the last batch that was copied.
    last: Option<(Timestamp, LeaderEpoch)>,
}

impl NewLog<'_> {
    fn copy_sound(&mut self, old: &Segment) -> Result<(), AcceptLossError> {
        let start = LogPosition::start_of(old.base);
        let mut scanner = Scanner::new(old, ScanMode::Content, start, old.end_position());
        while let Some(item) = scanner.next_item()? {
            let ScanItem::Batch(found) = item else { continue };
            let header = found.header;
            if self.rewrite.is_lost(&(header.base_offset..header.next_offset())) {
                continue;
            }
            self.fill(header.base_offset, header.max_timestamp)?;
            assert_eq!(self.at, header.base_offset, "sound batches keep their offsets");
            self.file.write_all_at(scanner.content(&found)?, self.position)?;
            self.position += found.bytes.end - found.bytes.start;
            self.at = header.next_offset();
            self.last = Some((header.max_timestamp, header.leader_epoch.unwrap_or_default()));
        }
        Ok(())
    }

    /// Writes empty batches up to `end`, each of its offsets' epoch, with the time of the batch before them.
    fn fill(&mut self, end: Offset, timestamp: Timestamp) -> Result<(), AcceptLossError> {
        let missing = self.at..end;
        if !self.rewrite.is_accepted_loss(&missing) {
            return Err(AcceptLossError::Unclear { offsets: missing });
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
            debug_assert!(self.at < until, "filling moves on from {}", self.at);
            self.at = until;
        }
        Ok(())
    }
}

fn create(disk: &dyn Disk, dir: &Path, name: &str) -> Result<SharedFile, DiskError> {
    let path = dir.join(name_of_new(name));
    if_found(disk.remove_file(&path))?; // From a repair that a crash interrupted.
    disk.create(&path)
}

/// Indexes a new log by reading every byte again. The header checksums do not count: headers were copied.
fn index(
    disk: &dyn Disk,
    dir: &Path,
    base: Offset,
    log: SharedFile,
    end_position: LogPosition,
    seed: u32,
) -> Result<(), AcceptLossError> {
    let check = Segment::growing(base, log.clone(), Box::new(DenseIndex::new(0)));
    check.set_end_position(end_position);
    let segment = Segment::growing(base, log, IndexFactory::sparse(INDEX_INTERVAL).make(seed));
    let mut scanner = Scanner::new(&check, ScanMode::Content, LogPosition::start_of(base), end_position);
    let mut entries = Vec::new();
    while let Some(item) = scanner.next_item()? {
        match item {
            ScanItem::Batch(found) => entries.extend(segment.note(&found.indexed_batch(base), 0)),
            ScanItem::Damaged { damage, .. } => return Err(AcceptLossError::Unclear { offsets: damage.offsets }),
        }
    }
    entries.extend(segment.finish_index(narrow(end_position.bytes)));
    let index = create(disk, dir, &segment::index_name(base))?;
    let bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.encode()).collect();
    index.write_all_at(&bytes, 0)?;
    Ok(disk.sync_many(&[index])?)
}

/// Replaces the index of a sound, sealed log.
pub(super) fn rebuild_index(
    disk: &dyn Disk,
    dir: &Path,
    offsets: Range<Offset>,
    seed: u32,
) -> Result<(), AcceptLossError> {
    let log = disk.open(&dir.join(segment::log_name(offsets.start)))?;
    let end_position = LogPosition { bytes: log.len()?, offset: offsets.end };
    index(disk, dir, offsets.start, log, end_position, seed)?;
    let name = segment::index_name(offsets.start);
    disk.rename(&dir.join(name_of_new(&name)), &dir.join(name))?;
    Ok(disk.sync_dir(dir)?)
}
