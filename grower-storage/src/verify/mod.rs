//! Checks every byte of a closed partition, and changes nothing.
//!
//! A batch's content is checked by its CRC; its position by the offsets around it, the epoch history and the index's
//! header checksum; index entries and state files by their own crc. Bytes that a crash left torn after the durable end
//! are no damage: the next opening cuts them.

mod dump;
mod finding;
mod state_files;

pub use dump::{Dumped, dump};
pub use finding::{Finding, Remedy};

use crate::disk::{Disk, DiskError, FileOnDemand};
use crate::recovery::{Directory, TailScan, scan_tail};
use crate::segment::{self, Expectations, LogPosition, Segment, inspect};
use crate::state_file::{AcceptedLoss, Checkpoint};
use grower_index::{ENTRY_LENGTH, IndexEntry, SegmentIndex, StoredIndex};
use grower_protocol::ids::Offset;
use state_files::StateFiles;
use std::ops::Range;
use std::path::Path;

/// The outcome of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// All faults; none if the partition is sound.
    pub findings: Vec<Finding>,
    /// Bytes of log that were checked.
    pub bytes: u64,
    /// The offsets that the segments hold; none if there is no segment.
    pub offsets: Option<Range<Offset>>,
    /// Bytes after the durable end that a crash left torn; the next opening cuts them.
    pub torn_bytes: u64,
    /// Accepted losses: they no longer count as damage.
    pub accepted: Vec<AcceptedLoss>,
}

/// Checks the partition in `dir`. Calls `progress` after each segment, with the bytes of log checked so far.
pub fn verify(disk: &dyn Disk, dir: &Path, mut progress: impl FnMut(u64)) -> Result<VerifyReport, DiskError> {
    let mut verified = VerifyReport::default();
    let Some(mut directory) = Directory::list(disk, dir)? else { return Ok(verified) };
    let state = StateFiles::read(disk, dir, &directory, &mut verified.findings)?;
    if let Some(replacing) = &state.replacing {
        directory.assume_finished(replacing);
    }
    directory.forget_dropped(state.checkpoint.as_ref());
    let check = PartitionCheck { disk, dir, directory: &directory, state: &state };
    for (at, base) in directory.logs.iter().enumerate() {
        let end = match directory.logs.get(at + 1) {
            Some(next) => check.sealed(*base, *next, &mut verified)?,
            None => check.last(*base, &mut verified)?,
        };
        let start = directory.logs.first().copied().unwrap_or(*base);
        verified.offsets = Some(start..end);
        progress(verified.bytes);
    }
    let leftover = directory.leftover_indexes(disk, dir, state.checkpoint.as_ref())?;
    let lost_logs = directory.indexes.iter().filter(|base| !directory.logs.contains(base) && !leftover.contains(base));
    for base in lost_logs {
        // The lost records are a finding of their own.
        let index = dir.join(segment::index_name(*base));
        verified.findings.push(Finding::file(index, Remedy::RebuildIndex, "its log file is not there"));
    }
    if let Some(end) = state.checkpoint.and_then(|checkpoint| checkpoint.truncating) {
        let kept = |finding: &Finding| finding.stays_after_truncation(&directory, end);
        verified.findings.retain(kept);
    }
    let orphans_end = directory.end_by_orphans(disk, dir)?;
    state.check_against(verified.offsets.clone(), orphans_end, dir, &mut verified.findings);
    verified.accepted = state.losses.losses;
    Ok(verified)
}

struct PartitionCheck<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    directory: &'a Directory,
    state: &'a StateFiles,
}

impl PartitionCheck<'_> {
    /// Checks a segment with a successor: its index covers all of it.
    fn sealed(&self, base: Offset, next: Offset, verified: &mut VerifyReport) -> Result<Offset, DiskError> {
        let file = self.disk.open(&self.dir.join(self.directory.log_name(base)))?;
        let end_position = LogPosition { bytes: file.len()?, offset: next };
        let index = self.index(base, u64::MAX, &mut verified.findings)?;
        let last = (0..index.entry_count()).rev().find_map(|at| index.entry(at));
        let segment = Segment::sealed(base, FileOnDemand::held(file), Box::new(index), end_position, None);
        self.inspect(&segment, end_position, verified)?;
        let covered = last.map_or(0, |last| last.position.into());
        if covered != end_position.bytes {
            let reason = format!("it covers {covered} bytes of log, there are {}", end_position.bytes);
            let index = self.dir.join(self.directory.index_name(base));
            verified.findings.push(Finding::file(index, Remedy::RebuildIndex, reason));
        }
        Ok(next)
    }

    /// Checks the last segment: its bytes above the durable end may be torn.
    fn last(&self, base: Offset, verified: &mut VerifyReport) -> Result<Offset, DiskError> {
        let durable = self.state.checkpoint.map(|checkpoint| checkpoint.durable).filter(|end| end.segment == base);
        let index = self.index(base, durable.map_or(0, |end| end.position), &mut verified.findings)?;
        let TailScan { file, end, log_end, durable, length, damage, .. } =
            scan_tail(self.disk, self.dir, base, self.state.checkpoint.as_ref(), self.state.seed)?;
        let segment = Segment::sealed(base, FileOnDemand::held(file), Box::new(index), end, None);
        self.inspect(&segment, end, verified)?;
        for damage in damage {
            let finding = Finding::from(damage);
            let same_bytes = |found: &Finding| (&found.path, &found.bytes) == (&finding.path, &finding.bytes);
            if !verified.findings.iter().any(same_bytes) {
                verified.findings.push(finding);
            }
        }
        verified.torn_bytes += length.saturating_sub(end.bytes.max(durable));
        Ok(log_end)
    }

    fn inspect(&self, segment: &Segment, until: LogPosition, verified: &mut VerifyReport) -> Result<(), DiskError> {
        let start = LogPosition::start_of(segment.base);
        let expected = Expectations { seed: self.state.seed, epochs: &self.state.epochs };
        let damage = inspect(segment, start, until, &expected)?;
        verified.findings.extend(damage.into_iter().map(Finding::from));
        verified.bytes += until.bytes;
        Ok(())
    }

    /// Reads the index of a segment; each damaged entry is a finding. The file was synced up to the entry
    /// for `synced` bytes of log. Later entries may be zeros after a crash, which is no damage: the next opening
    /// completes the index.
    fn index(&self, base: Offset, synced: u64, findings: &mut Vec<Finding>) -> Result<StoredIndex<Vec<u8>>, DiskError> {
        let path = self.dir.join(self.directory.index_name(base));
        let bytes = match self.disk.map(&path) {
            Ok(map) => map.as_ref().to_vec(),
            Err(error) if error.is_not_found() => {
                findings.push(Finding::file(path, Remedy::RebuildIndex, "it is not there"));
                return Ok(StoredIndex::new(Vec::new()));
            }
            Err(error) => return Err(error),
        };
        let is_lost: Vec<bool> =
            bytes.chunks_exact(ENTRY_LENGTH).map(|entry| entry.iter().all(|byte| *byte == 0)).collect();
        let index = StoredIndex::new(bytes);
        let covers = |entry: IndexEntry| synced <= entry.position.into();
        let count = index.entry_count();
        let last_synced = (0..count).find(|at| index.entry(*at).is_some_and(covers));
        let whole = if synced == 0 { 0 } else { last_synced.map_or(count, |at| at + 1) };
        let is_damaged = |at: &usize| index.entry(*at).is_none() && (*at < whole || is_lost.get(*at) == Some(&false));
        for at in (0..count).filter(is_damaged) {
            let start = (at * ENTRY_LENGTH) as u64;
            let bytes = Some(start..start + ENTRY_LENGTH as u64);
            findings.push(Finding { bytes, ..Finding::file(path.clone(), Remedy::RebuildIndex, "a damaged entry") });
        }
        if 0 < synced && last_synced.is_none() && index.trailing_bytes() != 0 {
            let reason = format!("{} bytes after the last entry", index.trailing_bytes());
            findings.push(Finding::file(path, Remedy::RebuildIndex, reason));
        }
        Ok(index)
    }
}

impl StateFiles {
    /// Checks that the state files and the segments describe the same log.
    fn check_against(
        &self,
        offsets: Option<Range<Offset>>,
        orphans_end: Option<Offset>,
        dir: &Path,
        findings: &mut Vec<Finding>,
    ) {
        if self.checkpoint.is_some_and(|checkpoint| checkpoint.truncating.is_some()) {
            return;
        }
        let log_start = self.checkpoint.map(|checkpoint| checkpoint.log_start);
        let found = offsets.unwrap_or(log_start.unwrap_or_default()..log_start.unwrap_or_default());
        let path = dir.join(<Checkpoint as crate::state_file::StateFile>::NAME);
        let lost = |offsets: Range<Offset>, reason: &str| Finding {
            path: path.clone(),
            bytes: None,
            offsets: Some(offsets),
            reason: reason.into(),
            remedy: Remedy::AcceptLoss,
        };
        if let Some(log_start) = log_start.filter(|log_start| *log_start < found.start) {
            findings.push(lost(log_start..found.start, "the segment files that held them are missing"));
        }
        let durable_end = self.checkpoint.map(|checkpoint| checkpoint.durable.end).max(orphans_end);
        if let Some(durable_end) = durable_end.filter(|durable_end| found.end < *durable_end) {
            findings.push(lost(found.end..durable_end, "they were durable, and no file holds them"));
        }
    }
}
