//! Opens a partition after any crash.
//!
//! A table (`decide`) judges each observation; the rest of this module observes and acts. Only bytes above the known
//! durable end are read. Everything below it was durable once: damage there is corruption, and is found when it is
//! read, by the scrubber or by `verify`. Corruption changes no file. Recovery syncs all that it takes into service: a
//! second crash must not take back records that were read after the first.

mod cut;
mod decide;
mod directory;
mod error;
mod exchange;
mod index;
mod location;
mod replacement;
mod replay;
mod report;
mod sealed;
mod tail;
mod tail_scan;

pub(crate) use cut::copy_range;
pub(crate) use directory::Directory;
pub use error::OpenError;
pub(crate) use exchange::{finish_exchange, name_of_new};
pub(crate) use index::reindex_cut;
pub use location::LogLocation;
pub(crate) use replacement::finish_replacement;
pub(crate) use replay::{replay_epochs, replay_producers};
pub use report::{CutTail, RecoveryReport};
pub(crate) use tail_scan::{TailScan, scan_tail};

pub use crate::segment::Damage;

use crate::disk::{Disk, DiskError, if_found};
use crate::options::LogOptions;
use crate::producers::{PREVIOUS_NAME, ProducerSnapshots};
use crate::segment::{ActiveSegment, Segment};
use crate::state_file::{
    self, AcceptedLosses, Checkpoint, CompactionState, DurableEnd, LogIdentity, StateFile, StateFileError,
};
use grower_protocol::ids::{Offset, Timestamp};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

/// The outcome of recovery.
pub(crate) struct Recovered {
    pub(crate) start: Offset,
    pub(crate) end: Offset,
    pub(crate) segments: Vec<Arc<Segment>>,
    /// None if there is no segment, or if the last must not be changed.
    pub(crate) active: Option<ActiveSegment>,
    pub(crate) durable: DurableEnd,
    pub(crate) checkpoint: Option<Checkpoint>,
    /// How far the log is compacted.
    pub(crate) cleaned_end: Offset,
    pub(crate) lost: Vec<Damage>,
    /// Whether the directory has a sound identity.
    pub(crate) has_identity: bool,
}

/// The arguments of all steps of recovery.
pub(crate) struct RecoveryContext<'a> {
    pub(crate) disk: &'a dyn Disk,
    /// The same, for files that are opened again when they are read.
    pub(crate) shared_disk: &'a Arc<dyn Disk>,
    pub(crate) location: &'a LogLocation,
    pub(crate) options: &'a LogOptions,
    pub(crate) seed: u32,
    /// By the clock for ages.
    pub(crate) now: Timestamp,
}

/// Recovers the segments of a directory; none if there is no log yet.
///
/// In this order, each step relying on the files of the one before:
///
/// 1. refuse another partition's directory;
/// 2. finish a published compaction and an accepted repair;
/// 3. remove leftovers of a crash, as far as the checkpoint explains them;
/// 4. open the segments, the last by a scan;
/// 5. report offsets that were known and that no file holds.
pub(crate) fn recover(
    context: &RecoveryContext<'_>,
    report: &mut RecoveryReport,
) -> Result<Option<Recovered>, OpenError> {
    let RecoveryContext { disk, location, .. } = *context;
    if if_found(disk.list(&location.dir))?.is_none() {
        return Ok(None);
    }
    let has_identity = check_identity(context, report)?;
    let cleaned_end = finish_compaction(context, report)?;
    let Some(mut directory) = Directory::list(disk, &location.dir)? else { return Ok(None) };
    if directory.has(AcceptedLosses::NAME) {
        // Fails if a later version wrote it: only that version can finish its exchange.
        load_or_note::<AcceptedLosses>(disk, location, report)?;
        finish_exchange(disk, &location.dir)?;
        directory = Directory::list(disk, &location.dir)?.unwrap_or(directory);
    }
    let checkpoint: Option<Checkpoint> = load_or_note(disk, location, report)?;
    directory.clean_up(disk, &location.dir, checkpoint.as_ref())?;
    let orphans = directory.end_by_orphans(disk, &location.dir)?;
    if !directory.has_begun(checkpoint.as_ref(), orphans) {
        return Ok(None); // A crash came before the first segment.
    }
    let known = KnownState { has_identity, cleaned_end, checkpoint };
    let mut recovered = Recovered::open(context, &directory.logs, known, report)?;
    recovered.account_for_missing(location, directory.logs.first().copied(), orphans);
    if let Some(end) = checkpoint.and_then(|checkpoint| checkpoint.truncating) {
        // A truncation may have removed any of it.
        let start = recovered.start;
        recovered.lost.retain(|damage| damage.offsets.start.max(start) < end);
    }
    report.damaged.extend_from_slice(&recovered.lost);
    Ok(Some(recovered))
}

/// The content of the state files.
struct KnownState {
    has_identity: bool,
    cleaned_end: Offset,
    checkpoint: Option<Checkpoint>,
}

impl Recovered {
    /// Opens the segments with these base offsets.
    fn open(
        context: &RecoveryContext<'_>,
        bases: &[Offset],
        known: KnownState,
        report: &mut RecoveryReport,
    ) -> Result<Self, DiskError> {
        let KnownState { has_identity, cleaned_end, checkpoint } = known;
        let start = checkpoint.map(|checkpoint| checkpoint.log_start).or(bases.first().copied()).unwrap_or_default();
        let (mut end, mut active, mut durable) = (start, None, checkpoint.unwrap_or_default().durable);
        let (mut segments, mut lost) = (Vec::new(), Vec::new());
        for pair in bases.windows(2) {
            let segment = sealed::open(context, pair[0], pair[1], &mut lost, report)?;
            segment.file.release(context.shared_disk);
            segments.push(Arc::new(segment));
        }
        if let Some(last) = bases.last() {
            let tail = tail::open(context, *last, checkpoint.as_ref(), &mut lost, report)?;
            segments.push(tail.segment);
            (end, active, durable) = (tail.end, tail.active, tail.durable);
        }
        let cleaned_end = cleaned_end.min(end);
        Ok(Self { start, end, segments, active, durable, checkpoint, cleaned_end, lost, has_identity })
    }

    /// Reports offsets that the checkpoint or an index knew and no log file holds: they were lost with their files,
    /// and are never given to other records.
    fn account_for_missing(&mut self, location: &LogLocation, first: Option<Offset>, orphans: Option<Offset>) {
        let path = location.dir.join(Checkpoint::NAME);
        if let Some(first) = first {
            self.lose(path.clone(), self.start..first, "the segment files before it are missing");
        }
        let checkpoint = self.checkpoint.filter(|checkpoint| checkpoint.truncating.is_none());
        let known_end = checkpoint.map(|checkpoint| checkpoint.durable.end).max(orphans).max(Some(self.start));
        if let Some(end) = known_end.filter(|end| self.end < *end) {
            self.lose(path, self.end.max(self.start)..end, "the segment files that held it are missing or too short");
            self.end = end;
            self.active = None;
        }
        if self.durable.end != self.end {
            // The next checkpoint must know no less, or those offsets would be given out after it. Nothing is written
            // to them any more, so they count as durable; the next segment begins after them.
            let known = checkpoint.map(|checkpoint| checkpoint.durable).filter(|known| known.end == self.end);
            self.durable = known.unwrap_or(DurableEnd { end: self.end, segment: self.end, position: 0 });
        }
        self.check();
    }

    /// Checks what every opening relies on, whatever the files hold.
    fn check(&self) {
        debug_assert!(self.start <= self.end, "the log would start at {}, past its end {}", self.start, self.end);
        debug_assert_eq!(self.durable.end, self.end, "recovery makes everything durable that it takes over");
    }

    fn lose(&mut self, path: PathBuf, offsets: std::ops::Range<Offset>, reason: &str) {
        if offsets.start < offsets.end {
            self.lost.push(Damage { path, bytes: 0..0, offsets, reason: reason.into() });
        }
    }
}

/// Refuses another partition's directory. A damaged or missing identity does not withhold the records. Returns whether
/// there is a sound one.
fn check_identity(context: &RecoveryContext<'_>, report: &mut RecoveryReport) -> Result<bool, OpenError> {
    let location = context.location;
    let expected = LogIdentity { topic_id: location.topic_id, partition: location.partition };
    match load_or_note::<LogIdentity>(context.disk, location, report)? {
        Some(found) if found != expected => Err(OpenError::Foreign {
            path: location.dir.join(LogIdentity::NAME),
            found: found.to_string(),
            expected: expected.to_string(),
        }),
        found => Ok(found.is_some()),
    }
}

/// Finishes a published compaction that a crash interrupted, and returns how far the log is compacted.
fn finish_compaction(context: &RecoveryContext<'_>, report: &mut RecoveryReport) -> Result<Offset, OpenError> {
    let RecoveryContext { disk, location, .. } = *context;
    let state: CompactionState = load_or_note(disk, location, report)?.unwrap_or_default();
    let Some(replacing) = &state.replacing else { return Ok(state.cleaned_end) };
    match finish_replacement(disk, &location.dir, replacing) {
        // The files were changed from outside. All stay, and damage shows when they are opened.
        Err(error) if error.kind() == ErrorKind::InvalidData => report.notes.push(error.to_string()),
        finished => finished?,
    }
    let done = CompactionState { replacing: None, ..state };
    state_file::store(disk, &location.dir, &done)?;
    Ok(done.cleaned_end)
}

/// Loads a state file. A missing or damaged one is none: it is reported, and replaced at the next write.
pub(crate) fn load_or_note<T: StateFile>(
    disk: &dyn Disk,
    location: &LogLocation,
    report: &mut RecoveryReport,
) -> Result<Option<T>, OpenError> {
    noted(state_file::load::<T>(disk, &location.dir), report)
}

/// Loads the snapshots of producers, as far as they are sound.
pub(crate) fn load_snapshots(
    disk: &dyn Disk,
    location: &LogLocation,
    report: &mut RecoveryReport,
) -> Result<ProducerSnapshots, OpenError> {
    let newest = state_file::load(disk, &location.dir);
    let previous = state_file::load_from(disk, location.dir.join(PREVIOUS_NAME));
    let damaged = [&newest, &previous].iter().any(|loaded| matches!(loaded, Err(StateFileError::Damaged { .. })));
    Ok(ProducerSnapshots { newest: noted(newest, report)?, previous: noted(previous, report)?, damaged })
}

fn noted<T>(loaded: Result<T, StateFileError>, report: &mut RecoveryReport) -> Result<Option<T>, OpenError> {
    match loaded {
        Ok(content) => Ok(Some(content)),
        Err(StateFileError::Missing(_)) => Ok(None),
        Err(error @ StateFileError::Damaged { .. }) => {
            report.notes.push(error.to_string());
            Ok(None)
        }
        Err(StateFileError::Newer { path, found, known }) => Err(OpenError::Newer { path, found, known }),
        Err(StateFileError::Disk(error)) => Err(error.into()),
    }
}
