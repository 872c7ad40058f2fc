//! Opening a partition after whatever happened to it.
//!
//! What was seen is judged by a table ([`decide`]); the rest of this module looks, and carries the verdicts out. Only what
//! lies above the known durable end is read; everything below it was durable once, so damage there is rot and is found
//! when it is read, by the scrubber or by `verify`. Rot changes no file. What recovery takes into service, it syncs first:
//! a second crash must not take back what a consumer read after the first.

mod cut;
mod decide;
mod directory;
mod replay;
mod report;
mod sealed;
mod tail;

pub(crate) use directory::Directory;
pub(crate) use replay::{replay_epochs, replay_producers};
pub use report::{CutTail, DamagedRange, RecoveryReport};
pub(crate) use tail::reindex_cut;

use crate::disk::{Disk, DiskError};
use crate::kept::{self, Checkpoint, DurableEnd, Identity, Kept, KeptError};
use crate::log::{LogOptions, LogPlace, OpenError};
use crate::segment::{Active, Damage, Segment};
use grower_protocol::ids::Offset;
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
    pub(crate) lost: Vec<(PathBuf, Damage)>,
}

/// Everything the steps of recovery need to know.
pub(crate) struct Context<'a> {
    pub(crate) disk: &'a dyn Disk,
    pub(crate) place: &'a LogPlace,
    pub(crate) options: &'a LogOptions,
    pub(crate) seed: u32,
}

/// Looks at the directory and makes the segments fit to be served; none if there is nothing.
pub(crate) fn recover(context: &Context<'_>, report: &mut RecoveryReport) -> Result<Option<Recovered>, OpenError> {
    let Context { disk, place, .. } = *context;
    let Some(directory) = Directory::list(disk, &place.dir)? else { return Ok(None) };
    check_identity(context, report)?;
    let checkpoint: Option<Checkpoint> = load_or_note(disk, place, report)?;
    let bases = directory.drop_before(disk, &place.dir, checkpoint.as_ref(), report)?;
    let Some((last, sealed)) = bases.split_last() else {
        return Ok(checkpoint.map(|checkpoint| without_segments(place, checkpoint)));
    };
    let mut lost = Vec::new();
    let mut segments = Vec::new();
    for (base, next) in sealed.iter().zip(&bases[1..]) {
        segments.push(Arc::new(sealed::open(context, *base, *next, &mut lost, report)?));
    }
    let tail = tail::open(context, *last, checkpoint.as_ref(), &mut lost, report)?;
    segments.push(tail.segment.clone());
    let start = checkpoint.map_or(bases[0], |checkpoint| checkpoint.log_start);
    let mut recovered =
        Recovered { start, end: tail.end, segments, active: tail.active, durable: tail.durable, checkpoint, lost };
    recovered.account_for_missing(place, bases[0]);
    recovered.lost.iter().for_each(|(path, damage)| report.damaged.push(DamagedRange::new(path.clone(), damage)));
    Ok(Some(recovered))
}

impl Recovered {
    /// Offsets that the checkpoint vouches for and that no file holds were lost with their files. They are never given
    /// to other records.
    fn account_for_missing(&mut self, place: &LogPlace, first: Offset) {
        let path = place.dir.join(Checkpoint::NAME);
        if self.start < first {
            self.lose(path.clone(), self.start..first, "the segment files before it are missing");
        }
        let known_end = self.checkpoint.filter(|c| c.truncating.is_none()).map_or(self.end, |c| c.durable.end);
        let known_end = known_end.max(self.start);
        if self.end < known_end {
            self.lose(
                path,
                self.end.max(self.start)..known_end,
                "the segment files that held it are missing or too short",
            );
            self.end = known_end;
            self.active = None;
        }
    }

    fn lose(&mut self, path: PathBuf, offsets: std::ops::Range<Offset>, what: &str) {
        if offsets.start < offsets.end {
            self.lost.push((path, Damage { bytes: 0..0, offsets, what: what.into() }));
        }
    }
}

/// All segments are gone, but the checkpoint knows how far the log went.
fn without_segments(place: &LogPlace, checkpoint: Checkpoint) -> Recovered {
    let mut recovered = Recovered {
        start: checkpoint.log_start,
        end: checkpoint.log_start,
        segments: Vec::new(),
        active: None,
        durable: checkpoint.durable,
        checkpoint: Some(checkpoint),
        lost: Vec::new(),
    };
    recovered.account_for_missing(place, checkpoint.log_start);
    recovered
}

/// Another partition's directory is never touched. A damaged identity is no reason to withhold the records.
fn check_identity(context: &Context<'_>, report: &mut RecoveryReport) -> Result<(), OpenError> {
    let place = context.place;
    let expected = Identity { topic_id: place.topic_id, partition: place.partition };
    match load_or_note::<Identity>(context.disk, place, report)? {
        Some(found) if found != expected => Err(OpenError::Foreign {
            path: place.dir.join(Identity::NAME),
            found: found.to_string(),
            expected: expected.to_string(),
        }),
        _ => Ok(()),
    }
}

/// One of the small files; a missing or damaged one is none. It is noted, and replaced when it is next written.
pub(crate) fn load_or_note<T: Kept>(
    disk: &dyn Disk,
    place: &LogPlace,
    report: &mut RecoveryReport,
) -> Result<Option<T>, OpenError> {
    match kept::load::<T>(disk, &place.dir) {
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

/// A file that is expected to be there, or not.
pub(crate) fn if_found<T>(result: Result<T, DiskError>) -> Result<Option<T>, DiskError> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}
