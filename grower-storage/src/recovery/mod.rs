//! Opening a partition after whatever happened to it.
//!
//! What was seen is judged by a table (`decide`); the rest of this module looks, and carries the verdicts out. Only what
//! lies above the known durable end is read; everything below it was durable once, so damage there is rot and is found
//! when it is read, by the scrubber or by `verify`. Rot changes no file. What recovery takes into service, it syncs first:
//! a second crash must not take back what a consumer read after the first.

mod cut;
mod decide;
mod directory;
mod error;
mod exchange;
mod index;
mod location;
mod look;
mod replacement;
mod replay;
mod report;
mod sealed;
mod tail;

pub(crate) use cut::copy_range;
pub(crate) use directory::Directory;
pub use error::OpenError;
pub(crate) use exchange::{finish_exchange, name_of_new};
pub(crate) use index::reindex_cut;
pub use location::LogPlace;
pub(crate) use look::{Looked, look_at_last};
pub(crate) use replacement::finish_replacement;
pub(crate) use replay::{replay_epochs, replay_producers};
pub use report::{CutTail, DamagedRange, RecoveryReport};

use crate::disk::{Disk, DiskError, if_found};
use crate::kept::{self, AcceptedLosses, Checkpoint, CompactionState, DurableEnd, Identity, Kept, KeptError};
use crate::options::LogOptions;
use crate::producers::{PREVIOUS_NAME, Snapshots};
use crate::segment::{Active, Damage, Segment};
use grower_protocol::ids::{Offset, Timestamp};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

/// What the segments and the checkpoint of a partition came to.
pub(crate) struct Recovered {
    pub(crate) start: Offset,
    pub(crate) end: Offset,
    pub(crate) segments: Vec<Arc<Segment>>,
    /// None if there is no segment, or the last must not be touched.
    pub(crate) active: Option<Active>,
    pub(crate) durable: DurableEnd,
    pub(crate) checkpoint: Option<Checkpoint>,
    /// How far the log is compacted.
    pub(crate) cleaned_end: Offset,
    pub(crate) lost: Vec<(PathBuf, Damage)>,
    /// Whether the directory says whose log it holds.
    pub(crate) has_identity: bool,
}

/// Everything the steps of recovery need to know.
pub(crate) struct Context<'a> {
    pub(crate) disk: &'a dyn Disk,
    /// The same, for files that are opened again when they are read.
    pub(crate) shared_disk: &'a Arc<dyn Disk>,
    pub(crate) place: &'a LogPlace,
    pub(crate) options: &'a LogOptions,
    pub(crate) seed: u32,
    /// By the clock for ages.
    pub(crate) now: Timestamp,
}

/// Looks at the directory and makes the segments fit to be served; none if there is nothing.
pub(crate) fn recover(context: &Context<'_>, report: &mut RecoveryReport) -> Result<Option<Recovered>, OpenError> {
    let Context { disk, place, .. } = *context;
    if if_found(disk.list(&place.dir))?.is_none() {
        return Ok(None);
    }
    let has_identity = check_identity(context, report)?;
    let cleaned_end = finish_compaction(context, report)?;
    let Some(mut directory) = Directory::list(disk, &place.dir)? else { return Ok(None) };
    if directory.has(AcceptedLosses::NAME) {
        load_or_note::<AcceptedLosses>(disk, place, report)?; // What a later version began, it has to finish.
        finish_exchange(disk, &place.dir)?;
        directory = Directory::list(disk, &place.dir)?.unwrap_or(directory);
    }
    let checkpoint: Option<Checkpoint> = load_or_note(disk, place, report)?;
    directory.clean_up(disk, &place.dir, checkpoint.as_ref())?;
    let orphans = directory.end_by_orphans(disk, &place.dir)?;
    if !directory.has_begun(checkpoint.as_ref(), orphans) {
        return Ok(None); // A crash came before the first segment.
    }
    let mut recovered = Recovered::of_segments(context, &directory.logs, checkpoint, report)?;
    recovered.has_identity = has_identity;
    recovered.cleaned_end = cleaned_end.min(recovered.end);
    recovered.account_for_missing(place, directory.logs.first().copied(), orphans);
    if let Some(end) = checkpoint.and_then(|checkpoint| checkpoint.truncating) {
        // What a truncation had begun to remove may be missing in any way.
        let start = recovered.start;
        recovered.lost.retain(|(_, damage)| damage.offsets.start.max(start) < end);
    }
    recovered.lost.iter().for_each(|(path, damage)| report.damaged.push(DamagedRange::new(path.clone(), damage)));
    Ok(Some(recovered))
}

impl Recovered {
    fn of_segments(
        context: &Context<'_>,
        bases: &[Offset],
        checkpoint: Option<Checkpoint>,
        report: &mut RecoveryReport,
    ) -> Result<Self, DiskError> {
        let start = checkpoint.map(|checkpoint| checkpoint.log_start).or(bases.first().copied()).unwrap_or_default();
        let durable = checkpoint.unwrap_or_default().durable;
        let (segments, lost) = (Vec::new(), Vec::new());
        let mut recovered = Self {
            start,
            end: start,
            segments,
            active: None,
            durable,
            checkpoint,
            cleaned_end: Offset::ZERO,
            lost,
            has_identity: true,
        };
        let Some((last, sealed)) = bases.split_last() else { return Ok(recovered) };
        for (base, next) in sealed.iter().zip(&bases[1..]) {
            let segment = sealed::open(context, *base, *next, &mut recovered.lost, report)?;
            segment.file.release(context.shared_disk);
            recovered.segments.push(Arc::new(segment));
        }
        let tail = tail::open(context, *last, checkpoint.as_ref(), &mut recovered.lost, report)?;
        recovered.segments.push(tail.segment);
        (recovered.end, recovered.active, recovered.durable) = (tail.end, tail.active, tail.durable);
        Ok(recovered)
    }

    /// Offsets that the checkpoint or an index vouches for and that no log file holds were lost with their files. They
    /// are never given to other records.
    fn account_for_missing(&mut self, place: &LogPlace, first: Option<Offset>, orphans: Option<Offset>) {
        let path = place.dir.join(Checkpoint::NAME);
        if let Some(first) = first {
            self.lose(path.clone(), self.start..first, "the segment files before it are missing");
        }
        let checkpoint = self.checkpoint.filter(|checkpoint| checkpoint.truncating.is_none());
        let known_end = checkpoint.map(|checkpoint| checkpoint.durable.end).max(orphans).max(Some(self.start));
        if let Some(end) = known_end.filter(|end| self.end < *end) {
            self.lose(path, self.end.max(self.start)..end, "the segment files that held it are missing or too short");
            self.end = end;
            self.active = None;
            // The next checkpoint must vouch for no less, or those offsets would be given out after it.
            self.durable = checkpoint
                .map(|checkpoint| checkpoint.durable)
                .filter(|known| known.end == end)
                .unwrap_or(self.durable);
        }
    }

    fn lose(&mut self, path: PathBuf, offsets: std::ops::Range<Offset>, what: &str) {
        if offsets.start < offsets.end {
            self.lost.push((path, Damage { bytes: 0..0, offsets, what: what.into() }));
        }
    }
}

/// Another partition's directory is never touched. A damaged or missing identity is no reason to withhold the records;
/// answers whether there is a sound one.
fn check_identity(context: &Context<'_>, report: &mut RecoveryReport) -> Result<bool, OpenError> {
    let place = context.place;
    let expected = Identity { topic_id: place.topic_id, partition: place.partition };
    match load_or_note::<Identity>(context.disk, place, report)? {
        Some(found) if found != expected => Err(OpenError::Foreign {
            path: place.dir.join(Identity::NAME),
            found: found.to_string(),
            expected: expected.to_string(),
        }),
        found => Ok(found.is_some()),
    }
}

/// Finishes what compaction had published and a crash interrupted; answers how far the log is compacted.
fn finish_compaction(context: &Context<'_>, report: &mut RecoveryReport) -> Result<Offset, OpenError> {
    let Context { disk, place, .. } = *context;
    let state: CompactionState = load_or_note(disk, place, report)?.unwrap_or_default();
    let Some(replacing) = &state.replacing else { return Ok(state.cleaned_end) };
    match finish_replacement(disk, &place.dir, replacing) {
        // Somebody else had a hand in it. All files stay, and what is damaged shows when they are opened.
        Err(error) if error.kind() == ErrorKind::InvalidData => report.notes.push(error.to_string()),
        finished => finished?,
    }
    let done = CompactionState { replacing: None, ..state };
    kept::store(disk, &place.dir, &done)?;
    Ok(done.cleaned_end)
}

/// One of the small files; a missing or damaged one is none. It is noted, and replaced when it is next written.
pub(crate) fn load_or_note<T: Kept>(
    disk: &dyn Disk,
    place: &LogPlace,
    report: &mut RecoveryReport,
) -> Result<Option<T>, OpenError> {
    noted(kept::load::<T>(disk, &place.dir), report)
}

/// What the snapshots of producers are, as far as they are sound.
pub(crate) fn load_snapshots(
    disk: &dyn Disk,
    place: &LogPlace,
    report: &mut RecoveryReport,
) -> Result<Snapshots, OpenError> {
    let newest = kept::load(disk, &place.dir);
    let previous = kept::load_from(disk, place.dir.join(PREVIOUS_NAME));
    let damaged = [&newest, &previous].iter().any(|loaded| matches!(loaded, Err(KeptError::Damaged { .. })));
    Ok(Snapshots { newest: noted(newest, report)?, previous: noted(previous, report)?, damaged })
}

fn noted<T>(loaded: Result<T, KeptError>, report: &mut RecoveryReport) -> Result<Option<T>, OpenError> {
    match loaded {
        Ok(content) => Ok(Some(content)),
        Err(KeptError::Missing(_)) => Ok(None),
        Err(error @ KeptError::Damaged { .. }) => {
            report.notes.push(error.to_string());
            Ok(None)
        }
        Err(KeptError::Newer { path, found, known }) => Err(OpenError::Newer { path, found, known }),
        Err(KeptError::Disk(error)) => Err(error.into()),
    }
}
