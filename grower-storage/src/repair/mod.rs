//! Accepts the loss of damaged records that have no other copy, so that a partition is whole again around them.
//!
//! Only an operator decides that, range by range, on a closed log. An accepted loss is exactly
//! records that a check finds damaged, no sound one. Their bytes are copied, an audit record becomes durable, and only
//! then do new files replace the damaged ones, with empty batches in place of the records: offsets keep their meaning,
//! and readers step over the gap as over one that compaction left.
//!
//! A crash before the audit record leaves the damage. After it, the next opening or repair finishes the exchange of
//! files, however often it is interrupted: the new files are complete and synced by then.

mod choose;
mod copy_damaged;
mod rewrite;

pub use crate::recovery::Damage;
pub use crate::state_file::AcceptedLoss;
pub use choose::RangeError;

use crate::disk::{Disk, DiskError};
use crate::recovery::{Directory, finish_exchange};
use crate::segment;
use crate::state_file::{self, AcceptedLosses, Checkpoint, CompactionState, FileExchange, LogIdentity, StateFileError};
use crate::verify::{Finding, verify};
use grower_protocol::ids::{Offset, Timestamp};
use rewrite::{Rewrite, Rewritten};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The operator's consent: by whom, and when.
#[derive(Clone, Debug)]
pub struct Acceptance {
    /// The user, as the system names them.
    pub by: String,
    /// Now.
    pub at: Timestamp,
}

/// Why no loss was accepted. The log is unchanged, or the next opening finishes what was begun.
#[derive(Debug, thiserror::Error)]
pub enum AcceptLossError {
    /// The loss of a range cannot be accepted.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// Opening the log changes it first.
    #[error("{dir} was being changed when its broker stopped: start the broker on it once, then check again", dir = dir.display())]
    Unfinished {
        /// The partition's directory.
        dir: PathBuf,
    },
    /// Sound records would be lost.
    #[error("repair would also lose undamaged offsets {}..{}: nothing was changed", offsets.start, offsets.end)]
    Unclear {
        /// Offsets that are not damaged themselves.
        offsets: Range<Offset>,
    },
    /// A state file cannot be read.
    #[error("{what}: start the broker on the directory once, which rewrites it, or restore it")]
    StateFile {
        /// The file, and the reason.
        what: String,
    },
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// The records that a check found lost: an operator may accept that.
pub fn lost_records(findings: &[Finding]) -> Vec<Damage> {
    findings.iter().filter_map(Finding::acceptable_loss).collect()
}

/// Accepts the loss of the damage within `ranges` and returns the new losses: none if all were accepted before.
///
/// The log must be closed. The damaged bytes are kept under `cut_dir`.
pub fn accept_loss(
    disk: &dyn Disk,
    dir: &Path,
    cut_dir: &Path,
    ranges: &[Range<Offset>],
    acceptance: &Acceptance,
) -> Result<Vec<AcceptedLoss>, AcceptLossError> {
    finish_exchange(disk, dir)?;
    let repair = PartitionRepair::look(disk, dir, ranges)?;
    if repair.chosen.is_empty() {
        return Ok(Vec::new());
    }
    let losses = repair.copy_damaged(cut_dir, acceptance)?;
    let exchange = repair.prepare(acceptance.at)?;
    debug_assert!(losses.iter().all(|loss| !loss.offsets.is_empty()), "an accepted loss names its records");
    let mut record = repair.record;
    record.losses.extend(losses.iter().cloned());
    record.exchange = Some(exchange);
    state_file::store(disk, dir, &record)?;
    finish_exchange(disk, dir)?;
    Ok(losses)
}

/// All losses ever accepted for the log in `dir`, oldest first. The log may be open.
pub fn accepted_losses(disk: &dyn Disk, dir: &Path) -> Result<Vec<AcceptedLoss>, AcceptLossError> {
    Ok(optional::<AcceptedLosses>(disk, dir)?.map_or_else(Vec::new, |record| record.losses))
}

/// Rebuilds damaged or missing indexes from their logs and returns them. That costs no record. The last segment's is
/// left to the next opening; the index of a damaged log is evidence and stays.
pub fn rebuild_indexes(disk: &dyn Disk, dir: &Path) -> Result<Vec<PathBuf>, AcceptLossError> {
    finish_exchange(disk, dir)?;
    let repair = PartitionRepair::look(disk, dir, &[])?;
    let findings = verify(disk, dir, |_| {})?.findings;
    let mut made = Vec::new();
    for (base, next) in repair.directory.logs.iter().zip(repair.directory.logs.iter().skip(1)) {
        let (log, index) = (dir.join(segment::log_name(*base)), dir.join(segment::index_name(*base)));
        let found = |path: &Path| findings.iter().any(|finding| finding.path == path);
        if found(&index) && !found(&log) {
            rewrite::rebuild_index(disk, dir, *base..*next, repair.identity.checksum_seed())?;
            made.push(index);
        }
    }
    Ok(made)
}

/// The damage whose loss [`accept_loss`] would accept. Changes nothing.
pub fn would_lose(disk: &dyn Disk, dir: &Path, ranges: &[Range<Offset>]) -> Result<Vec<Damage>, AcceptLossError> {
    Ok(PartitionRepair::look(disk, dir, ranges)?.chosen)
}

/// A partition about to be repaired.
struct PartitionRepair<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    identity: LogIdentity,
    directory: Directory,
    record: AcceptedLosses,
    chosen: Vec<Damage>,
    log_end: Offset,
}

impl<'a> PartitionRepair<'a> {
    fn look(disk: &'a dyn Disk, dir: &'a Path, ranges: &[Range<Offset>]) -> Result<Self, AcceptLossError> {
        let verified = verify(disk, dir, |_| {})?;
        let damaged = lost_records(&verified.findings);
        let chosen = choose::choose(&damaged, &verified.accepted, ranges)?;
        let identity = required::<LogIdentity>(disk, dir)?;
        let record = optional::<AcceptedLosses>(disk, dir)?.unwrap_or_default();
        let truncating = optional::<Checkpoint>(disk, dir)?.is_some_and(|checkpoint| checkpoint.truncating.is_some());
        let compacting = optional::<CompactionState>(disk, dir)?.is_some_and(|state| state.replacing.is_some());
        if truncating || compacting {
            return Err(AcceptLossError::Unfinished { dir: dir.to_owned() });
        }
        let directory = Directory::list(disk, dir)?.unwrap_or_default();
        let ends = damaged.iter().map(|damage| damage.offsets.end).chain(verified.offsets.map(|offsets| offsets.end));
        let log_end = ends.max().unwrap_or_default();
        Ok(Self { disk, dir, identity, directory, record, chosen, log_end })
    }

    /// Copies the damaged bytes, durably.
    fn copy_damaged(&self, cut_dir: &Path, acceptance: &Acceptance) -> Result<Vec<AcceptedLoss>, DiskError> {
        let before = self.record.losses.len();
        let numbered = (before..).zip(&self.chosen);
        numbered
            .map(|(number, damage)| {
                let stem = format!("{}-{}", self.identity.topic_id, self.identity.partition);
                copy_damaged::copy_damaged(self.disk, cut_dir, &format!("{stem}-{number}.lost"), damage, acceptance)
            })
            .collect()
    }

    /// Writes the new files, under temporary names.
    fn prepare(&self, now: Timestamp) -> Result<FileExchange, AcceptLossError> {
        let epochs = optional(self.disk, self.dir)?.unwrap_or_default();
        let checkpoint = optional::<Checkpoint>(self.disk, self.dir)?;
        let mut exchange = FileExchange { segments: Vec::new(), orphans: Vec::new(), durable: None };
        for (base, lost) in self.by_segment() {
            let next = self.directory.logs.iter().copied().find(|next| base < *next);
            let there = self.directory.logs.binary_search(&base).is_ok();
            let rewrite = Rewrite {
                disk: self.disk,
                dir: self.dir,
                base,
                next,
                log_end: self.log_end,
                there,
                lost,
                epochs: &epochs,
                checkpoint: checkpoint.as_ref(),
                seed: self.identity.checksum_seed(),
                now,
            };
            let Rewritten { durable } = rewrite.run()?;
            debug_assert!(durable.is_none() || exchange.durable.is_none(), "one segment is the last");
            exchange.segments.push(base);
            exchange.durable = exchange.durable.or(durable);
        }
        exchange.orphans = self.lost_orphans(&exchange.segments);
        Ok(exchange)
    }

    /// Groups the accepted losses by segment. Those in no file go to the segment before them, or to a new one.
    fn by_segment(&self) -> BTreeMap<Offset, Vec<Range<Offset>>> {
        let mut segments: BTreeMap<Offset, Vec<Range<Offset>>> = BTreeMap::new();
        for Damage { path, offsets, .. } in &self.chosen {
            let named = path.file_name().and_then(|name| segment::base_of_log(name.to_str()?));
            let before = || self.directory.logs.iter().copied().rfind(|base| *base <= offsets.start);
            let base = named.or_else(before).unwrap_or(offsets.start);
            segments.entry(base).or_default().push(offsets.clone());
        }
        segments
    }

    /// Indexes without a log whose records are accepted losses.
    fn lost_orphans(&self, made: &[Offset]) -> Vec<Offset> {
        let alone = |base: &&Offset| self.directory.logs.binary_search(base).is_err() && !made.contains(base);
        let is_lost = |base: &&Offset| self.chosen.iter().any(|lost| lost.offsets.contains(base));
        self.directory.indexes.iter().filter(alone).filter(is_lost).copied().collect()
    }
}

fn optional<T: state_file::StateFile>(disk: &dyn Disk, dir: &Path) -> Result<Option<T>, AcceptLossError> {
    match state_file::load::<T>(disk, dir) {
        Ok(content) => Ok(Some(content)),
        Err(StateFileError::Missing(_)) => Ok(None),
        Err(StateFileError::Disk(error)) => Err(error.into()),
        Err(error) => Err(AcceptLossError::StateFile { what: error.to_string() }),
    }
}

fn required<T: state_file::StateFile>(disk: &dyn Disk, dir: &Path) -> Result<T, AcceptLossError> {
    let missing = || AcceptLossError::StateFile { what: format!("{} is not there", dir.join(T::NAME).display()) };
    optional(disk, dir)?.ok_or_else(missing)
}
