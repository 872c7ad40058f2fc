//! The small files of a partition, read for a check.

use super::Finding;
use crate::disk::{Disk, DiskError};
use crate::epochs::EpochHistory;
use crate::kept::{self, AcceptedLosses, Checkpoint, CompactionState, Identity, Kept, KeptError, Replacing};
use crate::producers::{PREVIOUS_NAME, Snapshot};
use crate::recovery::Directory;
use std::path::Path;

/// What the small files say, as far as they are sound.
pub(super) struct SmallFiles {
    pub(super) checkpoint: Option<Checkpoint>,
    pub(super) epochs: EpochHistory,
    /// Compacted segments that count already, whatever their files are called.
    pub(super) replacing: Option<Replacing>,
    /// The seed of the witnesses; without a sound identity witnesses cannot be judged, but then that is found already.
    pub(super) seed: Option<u32>,
    pub(super) losses: AcceptedLosses,
}

impl SmallFiles {
    pub(super) fn read(
        disk: &dyn Disk,
        dir: &Path,
        directory: &Directory,
        findings: &mut Vec<Finding>,
    ) -> Result<Self, DiskError> {
        let checkpoint = read(disk, dir, false, findings)?;
        let orphans = directory.end_by_orphans(disk, dir)?;
        let begun = directory.has_begun(checkpoint.as_ref(), orphans);
        let identity: Option<Identity> = read(disk, dir, begun, findings)?;
        let epochs: Option<EpochHistory> = read(disk, dir, begun, findings)?;
        read::<Snapshot>(disk, dir, false, findings)?;
        let previous = kept::load_from::<Snapshot>(disk, dir.join(PREVIOUS_NAME));
        sound(previous, false, findings)?;
        let compaction: Option<CompactionState> = read(disk, dir, false, findings)?;
        let replacing = compaction.and_then(|state| state.replacing);
        let seed = identity.map(|identity| identity.witness_seed());
        let losses: AcceptedLosses = read(disk, dir, false, findings)?.unwrap_or_default();
        if losses.exchange.is_some() {
            let what = "a repair was cut short: repair again, or start the broker, which finishes it";
            findings.push(Finding::file(dir.join(AcceptedLosses::NAME), what));
        }
        Ok(Self { checkpoint, epochs: epochs.unwrap_or_default(), replacing, seed, losses })
    }
}

/// Every opening does without the required ones, from the log.
const WRITTEN_AGAIN: &str = "; the next start of a broker writes it again";

/// Every partition has the required ones before its first segment.
fn read<T: Kept>(
    disk: &dyn Disk,
    dir: &Path,
    required: bool,
    findings: &mut Vec<Finding>,
) -> Result<Option<T>, DiskError> {
    sound(kept::load::<T>(disk, dir), required, findings)
}

fn sound<T>(loaded: Result<T, KeptError>, required: bool, findings: &mut Vec<Finding>) -> Result<Option<T>, DiskError> {
    match loaded {
        Ok(content) => return Ok(Some(content)),
        Err(KeptError::Disk(error)) => return Err(error),
        Err(KeptError::Missing(path)) if required => {
            findings.push(Finding::file(path, format!("it is not there{WRITTEN_AGAIN}")));
        }
        Err(KeptError::Damaged { path, what }) if required => {
            findings.push(Finding::file(path, format!("{what}{WRITTEN_AGAIN}")));
        }
        Err(KeptError::Missing(_)) => {}
        Err(KeptError::Damaged { path, what }) => findings.push(Finding::file(path, what)),
        Err(KeptError::Newer { path, found, known }) => {
            let what = format!("it has format {found}, this program knows {known}: use a newer Grower");
            findings.push(Finding::file(path, what));
        }
    }
    Ok(None)
}
