//! One pass over a log: it reads and writes files without holding the log; the log then takes what came out.

use super::files::{NewSegment, Written};
use super::keys::{KeyMap, bytes_for};
use super::plan::{self, CompactionCandidate};
use super::sift::Sieve;
use super::{CompactionError, CompactionPolicy};
use crate::kept::Replacing;
use crate::log::{Compacted, CompactionOutcome, LogFiles, SealedSegments, SegmentReplacement, discard_compacted};
use crate::segment::{Damage, Expectations, Extent, Mode, RECORDS_LENGTH_MAX, Segment, Step, Walk, inspect};
use bytes::Bytes;
use grower_protocol::batch::{Batch, Entry, RecordsError, RewriteLimits};
use grower_protocol::ids::{Offset, Timestamp};
use std::collections::{HashSet, VecDeque};
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

/// Asked between batches whether the pass goes on, and told before memory is taken: how many bytes the pass holds from then
/// on, its keys apart.
pub type GoOn<'a> = &'a dyn Fn(usize) -> bool;

/// A pass that is due. Everything in it takes place outside the log's lock.
pub struct Compaction {
    sealed: SealedSegments,
    remembered: HashSet<Offset>,
    now: Timestamp,
    policy: CompactionPolicy,
}

/// A pass whose survey is done: each step gives one thing for [`LogFiles::publish`](crate::log::LogFiles::publish) to take.
pub struct CompactionPass {
    compaction: Compaction,
    keys: KeyMap,
    known_end: Offset,
    groups: VecDeque<Range<usize>>,
    done: bool,
}

impl Compaction {
    /// A pass over the records before `upto`, if one is due at the time of day `date`. Of each key it keeps the last record,
    /// and every record keeps its offset.
    pub fn due(log: &dyn LogFiles, policy: &CompactionPolicy, upto: Offset, date: Timestamp) -> Option<Self> {
        let mut sealed = log.sealed_segments(upto)?;
        let candidates = candidates(&sealed.segments);
        let count = plan::due(&candidates, sealed.cleaned_end..sealed.log_end, date, policy)?;
        sealed.segments.truncate(count);
        Some(Self { sealed, remembered: log.remembered_batches(), now: date, policy: *policy })
    }

    /// Memory that its keys will take at most, in bytes.
    pub fn keys_bytes(&self) -> usize {
        bytes_for(self.dirty_offsets()).min(self.policy.keys_bytes)
    }

    fn dirty_offsets(&self) -> u64 {
        let end = self.sealed.segments.last().map_or(Offset::ZERO, |last| last.extent().end);
        end.since(self.sealed.cleaned_end.min(end))
    }

    /// Reads what is new, and notes the last record of each key; then verifies all that the pass will touch, before it
    /// changes anything.
    pub fn survey(self, go_on: GoOn<'_>) -> Result<CompactionPass, CompactionError> {
        let mut keys = KeyMap::new(self.policy.keys_bytes, self.dirty_offsets());
        let sealed = &self.sealed;
        let mut known_end = sealed.cleaned_end;
        for segment in sealed.segments.iter().filter(|segment| sealed.cleaned_end < segment.extent().end) {
            let (end, full) = survey(segment, known_end, &mut keys, go_on)?;
            known_end = end;
            if full {
                break;
            }
        }
        let groups: VecDeque<Range<usize>> =
            plan::groups(&candidates(&sealed.segments), known_end, sealed.segment_bytes).into();
        let touched = groups.back().map_or(0, |last| last.end);
        sealed.segments.iter().take(touched).try_for_each(|segment| self.verify(segment, go_on))?;
        Ok(CompactionPass { compaction: self, keys, known_end, groups, done: false })
    }

    /// Content by its CRCs, headers by witness and epochs.
    fn verify(&self, segment: &Segment, go_on: GoOn<'_>) -> Result<(), CompactionError> {
        if !go_on(0) {
            return Err(CompactionError::Stopped);
        }
        let expected = Expectations { seed: Some(self.sealed.seed), epochs: &self.sealed.epochs };
        let start = Extent { position: 0, end: segment.base };
        let damage = inspect(segment, start, segment.extent(), &expected)?;
        damage.into_iter().next().map_or(Ok(()), |damage| Err(damaged(segment, damage)))
    }
}

fn candidates(segments: &[Arc<Segment>]) -> Vec<CompactionCandidate> {
    segments.iter().map(|segment| CompactionCandidate::of(segment)).collect()
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
            if let Some(replacement) = self.rewrite(group, go_on)? {
                return Ok(Some(self.done(CompactionOutcome::Replacement(replacement))));
            }
        }
        let first = !std::mem::replace(&mut self.done, true);
        Ok(first.then(|| self.done(CompactionOutcome::Clean { end: self.known_end })))
    }

    fn done(&self, outcome: CompactionOutcome) -> Compacted {
        Compacted { outcome, truncations: self.compaction.sealed.truncations }
    }

    /// Writes one segment for the place of some; none if that one would be as it was.
    fn rewrite(&self, group: Range<usize>, go_on: GoOn<'_>) -> Result<Option<SegmentReplacement>, CompactionError> {
        let sealed = &self.compaction.sealed;
        let old = sealed.segments.get(group).unwrap_or_default().to_vec();
        let (Some(first), Some(last)) = (old.first(), old.last()) else { return Ok(None) };
        let offsets = first.base..last.extent().end;
        let written = self.write(&old, go_on);
        if !matches!(written, Ok(Some(_))) {
            discard_compacted(&*sealed.disk, &sealed.dir, offsets.start);
        }
        Ok(written?.map(|Written { bytes, delete_horizon }| SegmentReplacement {
            old,
            replacing: Replacing { offsets, bytes },
            delete_horizon,
        }))
    }

    /// What came of the new files; none if they were not worth finishing.
    fn write(&self, old: &[Arc<Segment>], go_on: GoOn<'_>) -> Result<Option<Written>, CompactionError> {
        let Some(first) = old.first() else { return Ok(None) };
        let Compaction { sealed, remembered, now, policy } = &self.compaction;
        let (disk, dir) = (&*sealed.disk, &*sealed.dir);
        let mut new = NewSegment::create(disk, dir, first.base, &sealed.index, sealed.seed)?;
        let mut sieve = Sieve {
            keys: &self.keys,
            known_end: self.known_end,
            now: *now,
            delete_retention_ms: policy.delete_retention_ms,
            remembered,
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
