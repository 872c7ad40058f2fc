//! One pass over a log: it reads and writes files without holding the log; the log then takes what came out.

use super::files::{NewSegment, Written, discard};
use super::keys::{KeyMap, bytes_for};
use super::plan::{self, Piece};
use super::sift::Sieve;
use super::{CompactionError, CompactionPolicy};
use crate::disk::Disk;
use crate::epochs::EpochHistory;
use crate::kept::Replacing;
use crate::log::IndexFactory;
use crate::log::rules::RECORDS_LENGTH_MAX;
use crate::segment::{Damage, Expectations, Extent, Mode, Segment, Step, Walk, inspect};
use bytes::Bytes;
use grower_protocol::batch::{Batch, Entry, RecordsError, RewriteLimits};
use grower_protocol::ids::{Offset, Timestamp};
use std::collections::{HashSet, VecDeque};
use std::ops::{ControlFlow, Range};
use std::path::PathBuf;
use std::sync::Arc;

/// What a pass needs to know of its log, as of when it began.
pub(crate) struct Subject {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) seed: u32,
    pub(crate) index: IndexFactory,
    pub(crate) segment_bytes: u64,
    /// Those that may be compacted.
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) epochs: EpochHistory,
    pub(crate) remembered: HashSet<Offset>,
    pub(crate) cleaned_end: Offset,
    /// How often the log had been truncated.
    pub(crate) truncations: u64,
    pub(crate) now: Timestamp,
    pub(crate) policy: CompactionPolicy,
}

/// Asked between batches whether the pass goes on, and told before memory is taken: how many bytes the pass holds from then
/// on, its keys apart.
pub type GoOn<'a> = &'a dyn Fn(usize) -> bool;

/// A pass that is due. Everything in it takes place outside the log's lock.
pub struct Compaction(Subject);

/// A pass whose survey is done: each step gives one thing for [`Log::publish`](crate::log::Log::publish) to take.
pub struct CompactionPass {
    subject: Subject,
    keys: KeyMap,
    known_end: Offset,
    groups: VecDeque<Range<usize>>,
    done: bool,
}

/// Something that a pass has finished.
pub struct Compacted {
    pub(crate) outcome: Outcome,
    /// How often the log had been truncated when the pass began: offsets may mean other records since.
    pub(crate) truncations: u64,
}

pub(crate) enum Outcome {
    /// One segment for the place of several, or of one.
    Segments(Rewritten),
    /// The pass came to its end: up to here the log is clean.
    Clean { end: Offset },
}

/// A segment that is written and synced under a temporary name.
pub(crate) struct Rewritten {
    /// Those that it replaces.
    pub(crate) old: Vec<Arc<Segment>>,
    pub(crate) replacing: Replacing,
    /// When the first of its tombstones may go.
    pub(crate) delete_horizon: Option<Timestamp>,
}

impl Compacted {
    /// Bytes of log before and after.
    pub fn bytes(&self) -> (u64, u64) {
        match &self.outcome {
            Outcome::Segments(rewritten) => {
                let before = rewritten.old.iter().map(|segment| segment.extent().position).sum();
                (before, rewritten.replacing.bytes)
            }
            Outcome::Clean { .. } => (0, 0),
        }
    }
}

impl Rewritten {
    /// Its files are not needed.
    pub(crate) fn discard(&self, disk: &dyn Disk, dir: &std::path::Path) {
        discard(disk, dir, self.replacing.offsets.start);
    }
}

impl Compaction {
    pub(crate) fn new(subject: Subject) -> Self {
        Self(subject)
    }

    /// Memory that its keys will take at most, in bytes.
    pub fn keys_bytes(&self) -> usize {
        bytes_for(self.dirty_offsets()).min(self.0.policy.keys_bytes)
    }

    fn dirty_offsets(&self) -> u64 {
        let end = self.0.segments.last().map_or(Offset::ZERO, |last| last.extent().end);
        end.since(self.0.cleaned_end.min(end))
    }

    /// Reads what is new, and notes the last record of each key; then verifies all that the pass will touch, before it
    /// changes anything.
    pub fn survey(self, go_on: GoOn<'_>) -> Result<CompactionPass, CompactionError> {
        let mut keys = KeyMap::new(self.0.policy.keys_bytes, self.dirty_offsets());
        let subject = self.0;
        let mut known_end = subject.cleaned_end;
        for segment in subject.segments.iter().filter(|segment| subject.cleaned_end < segment.extent().end) {
            let (end, full) = survey(segment, known_end, &mut keys, go_on)?;
            known_end = end;
            if full {
                break;
            }
        }
        let pieces: Vec<Piece> = subject.segments.iter().map(|segment| segment.piece()).collect();
        let groups: VecDeque<Range<usize>> = plan::groups(&pieces, known_end, subject.segment_bytes).into();
        let touched = groups.back().map_or(0, |last| last.end);
        subject.segments.iter().take(touched).try_for_each(|segment| subject.verify(segment, go_on))?;
        Ok(CompactionPass { subject, keys, known_end, groups, done: false })
    }
}

impl Subject {
    /// Content by its CRCs, headers by witness and epochs.
    fn verify(&self, segment: &Segment, go_on: GoOn<'_>) -> Result<(), CompactionError> {
        if !go_on(0) {
            return Err(CompactionError::Stopped);
        }
        let expected = Expectations { seed: Some(self.seed), epochs: &self.epochs };
        let start = Extent { position: 0, end: segment.base };
        let damage = inspect(segment, start, segment.extent(), &expected)?;
        damage.into_iter().next().map_or(Ok(()), |damage| Err(damaged(segment, damage)))
    }
}

/// Notes the keys of one segment from `from` on. Where it came to, and whether there was no room for more.
fn survey(
    segment: &Segment,
    from: Offset,
    keys: &mut KeyMap,
    go_on: GoOn<'_>,
) -> Result<(Offset, bool), CompactionError> {
    let start = segment.extent_at(segment.floor_by_offset(from.max(segment.base)));
    let mut stopped_at = None;
    for_each_batch(segment, start, go_on, |batch| {
        if batch.header().attributes.is_control() {
            return Ok(ControlFlow::Continue(()));
        }
        let each = |entry: &Entry<'_>| match entry.key.filter(|_| from <= entry.offset) {
            Some(key) if keys.note(key, entry.offset).is_err() => {
                stopped_at = Some(entry.offset);
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        };
        let charge = |bytes| {
            go_on(bytes_around(&batch) + bytes); // It is asked again before the next batch.
        };
        let limits = RewriteLimits { plain_bytes: RECORDS_LENGTH_MAX, charge: &charge };
        let read = batch.for_each_entry(limits, each);
        read.map_err(|error| unreadable(segment, &batch, &error))?;
        Ok(if stopped_at.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok((stopped_at.unwrap_or(segment.extent().end), stopped_at.is_some()))
}

impl CompactionPass {
    /// The next thing that is finished, its files synced; none at the end of the pass.
    pub fn step(&mut self, go_on: GoOn<'_>) -> Result<Option<Compacted>, CompactionError> {
        while let Some(group) = self.groups.pop_front() {
            if let Some(rewritten) = self.rewrite(group, go_on)? {
                return Ok(Some(self.done(Outcome::Segments(rewritten))));
            }
        }
        let first = !std::mem::replace(&mut self.done, true);
        Ok(first.then(|| self.done(Outcome::Clean { end: self.known_end })))
    }

    fn done(&self, outcome: Outcome) -> Compacted {
        Compacted { outcome, truncations: self.subject.truncations }
    }

    /// Writes one segment for the place of some; none if that one would be as it was.
    fn rewrite(&self, group: Range<usize>, go_on: GoOn<'_>) -> Result<Option<Rewritten>, CompactionError> {
        let subject = &self.subject;
        let old = subject.segments.get(group).unwrap_or_default().to_vec();
        let (Some(first), Some(last)) = (old.first(), old.last()) else { return Ok(None) };
        let offsets = first.base..last.extent().end;
        let (disk, dir) = (&*subject.disk, &subject.dir);
        let written = self.write(&old, go_on);
        if !matches!(written, Ok(Some(_))) {
            discard(disk, dir, offsets.start);
        }
        Ok(written?.map(|Written { bytes, delete_horizon }| Rewritten {
            old,
            replacing: Replacing { offsets, bytes },
            delete_horizon,
        }))
    }

    /// What came of the new files; none if they were not worth finishing.
    fn write(&self, old: &[Arc<Segment>], go_on: GoOn<'_>) -> Result<Option<Written>, CompactionError> {
        let Some(first) = old.first() else { return Ok(None) };
        let subject = &self.subject;
        let (disk, dir) = (&*subject.disk, &*subject.dir);
        let mut new = NewSegment::create(disk, dir, first.base, &subject.index, subject.seed)?;
        let mut sieve = Sieve {
            keys: &self.keys,
            known_end: self.known_end,
            now: subject.now,
            delete_retention_ms: subject.policy.delete_retention_ms,
            remembered: &subject.remembered,
            charge: &|batch, bytes| {
                go_on(bytes_around(batch) + bytes);
            },
            waiting: None,
            changed: 1 < old.len(),
        };
        for segment in old {
            let start = Extent { position: 0, end: segment.base };
            for_each_batch(segment, start, go_on, |batch| {
                let whole = batch.clone();
                let done = sieve.push(batch).map_err(|error| unreadable(segment, &whole, &error))?;
                done.map_or(Ok(()), |batch| new.put(&batch)).map(ControlFlow::Continue)
            })?;
        }
        sieve.finish().map_or(Ok(()), |batch| new.put(&batch))?;
        Ok(if sieve.changed { Some(new.finish(disk, dir)?) } else { None })
    }
}

/// A batch as it is stored is in memory up to so many times: read, taken out, and the one before it.
const COPIES: usize = 3;

fn bytes_around(batch: &Batch) -> usize {
    COPIES * batch.bytes().len()
}

/// Hands each batch over, its CRC checked, until one is enough.
fn for_each_batch(
    segment: &Segment,
    start: Extent,
    go_on: GoOn<'_>,
    mut each: impl FnMut(Batch) -> Result<ControlFlow<()>, CompactionError>,
) -> Result<(), CompactionError> {
    let mut walk = Walk::new(segment, Mode::Content, start, segment.extent());
    while let Some(step) = walk.step()? {
        let found = match step {
            Step::Batch(found) => found,
            Step::Gap(gap) => return Err(damaged(segment, gap.into())),
        };
        if !go_on(COPIES * found.header.total_length) {
            return Err(CompactionError::Stopped);
        }
        let content = Bytes::copy_from_slice(walk.content(&found)?);
        let batch = Batch::check(content).map_err(|error| {
            let offsets = found.header.base_offset..found.header.next_offset();
            damaged(segment, Damage { bytes: found.bytes.clone(), offsets, what: error.to_string() })
        })?;
        if each(batch)?.is_break() {
            break;
        }
    }
    Ok(())
}

fn unreadable(segment: &Segment, batch: &Batch, error: &RecordsError) -> CompactionError {
    let offsets = batch.header().base_offset..batch.header().next_offset();
    damaged(segment, Damage { bytes: 0..0, offsets, what: error.to_string() })
}

fn damaged(segment: &Segment, damage: Damage) -> CompactionError {
    CompactionError::Damaged { path: segment.file.path().to_owned(), offsets: damage.offsets, what: damage.what }
}
