//! Giving up damaged records for which there is no other copy, so that a partition is whole again around them.
//!
//! Only an operator decides that, range by range, on a log that nobody has open. What is given up is exactly what a check
//! finds damaged: no sound record goes. Its bytes are copied aside, an audit record becomes durable, and only then do new
//! files take the places of the damaged ones, with empty batches where the records were: offsets keep their meaning, and
//! readers step over the hole as over one that compaction left.
//!
//! A crash before the audit record leaves the damage as it was. After it, the next opening (or the next repair) carries
//! the exchange out, however often it is interrupted: the new files are complete and synced by then.

mod aside;
mod choose;
mod rewrite;

pub use crate::kept::AcceptedLoss;
pub use crate::recovery::DamagedRange;
pub use choose::RangeError;

use crate::disk::{Disk, DiskError};
use crate::kept::{self, AcceptedLosses, Checkpoint, CompactionState, Exchange, Identity, KeptError};
use crate::recovery::{Directory, finish_exchange};
use crate::segment;
use crate::verify::{Finding, verify};
use grower_protocol::ids::{Offset, Timestamp};
use rewrite::{Rewrite, Rewritten};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Who gives records up, and when.
#[derive(Clone, Debug)]
pub struct Acceptance {
    /// As the system knows them.
    pub by: String,
    /// Now.
    pub at: Timestamp,
}

/// Why nothing was given up. The log is as it was, or the next opening finishes what was begun.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// A range cannot be given up.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// Opening the log changes it first.
    #[error("{dir} was being changed when its broker stopped: start the broker on it once, then check again", dir = dir.display())]
    Unfinished {
        /// The partition's directory.
        dir: PathBuf,
    },
    /// Sound records would have gone.
    #[error("offsets {}..{} would be lost besides: nothing was changed", offsets.start, offsets.end)]
    Unclear {
        /// What is not damaged by itself.
        offsets: Range<Offset>,
    },
    /// One of the small files cannot be read.
    #[error("{what}: start the broker on the directory once, which makes it anew, or restore it")]
    SmallFile {
        /// Which, and why.
        what: String,
    },
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// What of the findings of a check are records that are lost.
pub fn lost_records(findings: &[Finding]) -> Vec<DamagedRange> {
    let lost = findings.iter().filter_map(|finding| {
        let offsets = finding.offsets.clone()?;
        let bytes = finding.bytes.clone().unwrap_or(0..0);
        Some(DamagedRange { path: finding.path.clone(), bytes, offsets, what: finding.what.clone() })
    });
    lost.collect()
}

/// Gives up what is damaged within `ranges`; what was given up now is returned, nothing if all of it was before.
///
/// Nobody may have the log open. The damaged bytes are kept under `cut_dir`.
pub fn accept_loss(
    disk: &dyn Disk,
    dir: &Path,
    cut_dir: &Path,
    ranges: &[Range<Offset>],
    acceptance: &Acceptance,
) -> Result<Vec<AcceptedLoss>, RepairError> {
    finish_exchange(disk, dir)?;
    let repair = Repair::look(disk, dir, ranges)?;
    if repair.chosen.is_empty() {
        return Ok(Vec::new());
    }
    let losses = repair.set_aside(cut_dir, acceptance)?;
    let exchange = repair.prepare(acceptance.at)?;
    let mut record = repair.record;
    record.losses.extend(losses.iter().cloned());
    record.exchange = Some(exchange);
    kept::store(disk, dir, &record)?;
    finish_exchange(disk, dir)?;
    Ok(losses)
}

/// What was ever given up of the log in `dir`, oldest first. It may be open.
pub fn accepted_losses(disk: &dyn Disk, dir: &Path) -> Result<Vec<AcceptedLoss>, RepairError> {
    Ok(optional::<AcceptedLosses>(disk, dir)?.map_or_else(Vec::new, |record| record.losses))
}

/// Makes anew, from their logs, the indexes that a check found damaged or missing, and says which. That costs no record.
/// The last segment's is left to the next opening, and one whose log is damaged is evidence and stays.
pub fn rebuild_indexes(disk: &dyn Disk, dir: &Path) -> Result<Vec<PathBuf>, RepairError> {
    finish_exchange(disk, dir)?;
    let repair = Repair::look(disk, dir, &[])?;
    let findings = verify(disk, dir, |_| {})?.findings;
    let mut made = Vec::new();
    for (base, next) in repair.directory.logs.iter().zip(repair.directory.logs.iter().skip(1)) {
        let (log, index) = (dir.join(segment::log_name(*base)), dir.join(segment::index_name(*base)));
        let found = |path: &Path| findings.iter().any(|finding| finding.path == path);
        if found(&index) && !found(&log) {
            rewrite::rebuild_index(disk, dir, *base..*next, repair.identity.witness_seed())?;
            made.push(index);
        }
    }
    Ok(made)
}

/// Whether `ranges` could be given up, and what that would be. Changes nothing.
pub fn would_lose(disk: &dyn Disk, dir: &Path, ranges: &[Range<Offset>]) -> Result<Vec<DamagedRange>, RepairError> {
    Ok(Repair::look(disk, dir, ranges)?.chosen)
}

/// A partition about to be repaired.
struct Repair<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    identity: Identity,
    directory: Directory,
    record: AcceptedLosses,
    chosen: Vec<DamagedRange>,
    log_end: Offset,
}

impl<'a> Repair<'a> {
    fn look(disk: &'a dyn Disk, dir: &'a Path, ranges: &[Range<Offset>]) -> Result<Self, RepairError> {
        let verified = verify(disk, dir, |_| {})?;
        let damaged = lost_records(&verified.findings);
        let chosen = choose::choose(&damaged, &verified.accepted, ranges)?;
        let identity = required::<Identity>(disk, dir)?;
        let record = optional::<AcceptedLosses>(disk, dir)?.unwrap_or_default();
        let truncating = optional::<Checkpoint>(disk, dir)?.is_some_and(|checkpoint| checkpoint.truncating.is_some());
        let compacting = optional::<CompactionState>(disk, dir)?.is_some_and(|state| state.replacing.is_some());
        if truncating || compacting {
            return Err(RepairError::Unfinished { dir: dir.to_owned() });
        }
        let directory = Directory::list(disk, dir)?.unwrap_or_default();
        let ends = damaged.iter().map(|damage| damage.offsets.end).chain(verified.offsets.map(|offsets| offsets.end));
        let log_end = ends.max().unwrap_or_default();
        Ok(Self { disk, dir, identity, directory, record, chosen, log_end })
    }

    /// Copies the damaged bytes, durably.
    fn set_aside(&self, cut_dir: &Path, acceptance: &Acceptance) -> Result<Vec<AcceptedLoss>, DiskError> {
        let before = self.record.losses.len();
        let numbered = (before..).zip(&self.chosen);
        numbered
            .map(|(number, damage)| {
                let stem = format!("{}-{}", self.identity.topic_id, self.identity.partition);
                aside::set_aside(self.disk, cut_dir, &format!("{stem}-{number}.lost"), damage, acceptance)
            })
            .collect()
    }

    /// Writes the new files beside the old ones.
    fn prepare(&self, now: Timestamp) -> Result<Exchange, RepairError> {
        let epochs = optional(self.disk, self.dir)?.unwrap_or_default();
        let checkpoint = optional::<Checkpoint>(self.disk, self.dir)?;
        let mut exchange = Exchange { segments: Vec::new(), orphans: Vec::new(), durable: None };
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
                seed: self.identity.witness_seed(),
                now,
            };
            let Rewritten { durable } = rewrite.run()?;
            exchange.segments.push(base);
            exchange.durable = exchange.durable.or(durable);
        }
        exchange.orphans = self.lost_orphans(&exchange.segments);
        Ok(exchange)
    }

    /// Which offsets go from which segment. What no file holds goes to the segment before it, or to a new one.
    fn by_segment(&self) -> BTreeMap<Offset, Vec<Range<Offset>>> {
        let mut segments: BTreeMap<Offset, Vec<Range<Offset>>> = BTreeMap::new();
        for DamagedRange { path, offsets, .. } in &self.chosen {
            let named = path.file_name().and_then(|name| segment::base_of_log(name.to_str()?));
            let before = || self.directory.logs.iter().copied().rfind(|base| *base <= offsets.start);
            let base = named.or_else(before).unwrap_or(offsets.start);
            segments.entry(base).or_default().push(offsets.clone());
        }
        segments
    }

    /// Indexes whose log is among what is given up, unless it is there again.
    fn lost_orphans(&self, made: &[Offset]) -> Vec<Offset> {
        let alone = |base: &&Offset| self.directory.logs.binary_search(base).is_err() && !made.contains(base);
        let given_up = |base: &&Offset| self.chosen.iter().any(|lost| lost.offsets.contains(base));
        self.directory.indexes.iter().filter(alone).filter(given_up).copied().collect()
    }
}

fn optional<T: kept::Kept>(disk: &dyn Disk, dir: &Path) -> Result<Option<T>, RepairError> {
    match kept::load::<T>(disk, dir) {
        Ok(content) => Ok(Some(content)),
        Err(KeptError::Missing(_)) => Ok(None),
        Err(KeptError::Disk(error)) => Err(error.into()),
        Err(error) => Err(RepairError::SmallFile { what: error.to_string() }),
    }
}

fn required<T: kept::Kept>(disk: &dyn Disk, dir: &Path) -> Result<T, RepairError> {
    let missing = || RepairError::SmallFile { what: format!("{} is not there", dir.join(T::NAME).display()) };
    optional(disk, dir)?.ok_or_else(missing)
}
