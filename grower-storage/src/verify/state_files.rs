//! The state files of a partition, read for a check.

use super::{Finding, Remedy};
use crate::disk::{Disk, DiskError};
use crate::epochs::EpochHistory;
use crate::producers::{PREVIOUS_NAME, ProducerSnapshot};
use crate::recovery::Directory;
use crate::state_file::{
    self, AcceptedLosses, Checkpoint, CompactionState, LogIdentity, PendingReplacement, StateFile, StateFileError,
};
use std::path::Path;

/// The content of the state files, as far as they are sound.
pub(super) struct StateFiles {
    pub(super) checkpoint: Option<Checkpoint>,
    pub(super) epochs: EpochHistory,
    /// A published compaction, whose files may have their temporary names.
    pub(super) replacing: Option<PendingReplacement>,
    /// The seed of header checksums; none without a sound identity, which is a finding already: then they are not
    /// checked.
    pub(super) seed: Option<u32>,
    pub(super) losses: AcceptedLosses,
}

impl StateFiles {
    pub(super) fn read(
        disk: &dyn Disk,
        dir: &Path,
        directory: &Directory,
        findings: &mut Vec<Finding>,
    ) -> Result<Self, DiskError> {
        let checkpoint = read(disk, dir, false, findings)?;
        let orphans = directory.end_by_orphans(disk, dir)?;
        let begun = directory.has_begun(checkpoint.as_ref(), orphans);
        let identity: Option<LogIdentity> = read(disk, dir, begun, findings)?;
        let epochs: Option<EpochHistory> = read(disk, dir, begun, findings)?;
        read::<ProducerSnapshot>(disk, dir, false, findings)?;
        let previous = state_file::load_from::<ProducerSnapshot>(disk, dir.join(PREVIOUS_NAME));
        sound(previous, false, findings)?;
        let compaction: Option<CompactionState> = read(disk, dir, false, findings)?;
        let replacing = compaction.and_then(|state| state.replacing);
        let seed = identity.map(|identity| identity.checksum_seed());
        let losses: AcceptedLosses = read(disk, dir, false, findings)?.unwrap_or_default();
        if losses.exchange.is_some() {
            let reason = "a repair was cut short: repair again, or start the broker, which finishes it";
            findings.push(Finding::file(dir.join(AcceptedLosses::NAME), Remedy::NextStart, reason));
        }
        Ok(Self { checkpoint, epochs: epochs.unwrap_or_default(), replacing, seed, losses })
    }
}

/// An opening rebuilds the required ones from the log.
const WRITTEN_AGAIN: &str = "; the next start of a broker writes it again";

/// Every partition has the required ones before its first segment.
fn read<T: StateFile>(
    disk: &dyn Disk,
    dir: &Path,
    required: bool,
    findings: &mut Vec<Finding>,
) -> Result<Option<T>, DiskError> {
    sound(state_file::load::<T>(disk, dir), required, findings)
}

fn sound<T>(
    loaded: Result<T, StateFileError>,
    required: bool,
    findings: &mut Vec<Finding>,
) -> Result<Option<T>, DiskError> {
    match loaded {
        Ok(content) => return Ok(Some(content)),
        Err(StateFileError::Disk(error)) => return Err(error),
        Err(StateFileError::Missing(path)) if required => {
            findings.push(Finding::file(path, Remedy::NextStart, format!("it is not there{WRITTEN_AGAIN}")));
        }
        Err(StateFileError::Damaged { path, reason }) if required => {
            findings.push(Finding::file(path, Remedy::NextStart, format!("{reason}{WRITTEN_AGAIN}")));
        }
        Err(StateFileError::Missing(_)) => {}
        Err(StateFileError::Damaged { path, reason }) => findings.push(Finding::file(path, Remedy::NextStart, reason)),
        Err(StateFileError::Newer { path, found, known }) => {
            let reason = format!("it has format {found}, this program knows {known}: use a newer Grower");
            findings.push(Finding::file(path, Remedy::NextStart, reason));
        }
    }
    Ok(None)
}
