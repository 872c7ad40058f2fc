//! One pass over a log: it reads and writes files without holding the log, and gives the log the results.

use super::files::{NewSegment, WrittenSegment};
use super::keys::{KeyMap, bytes_for};
use super::plan::{self, CompactionCandidate};
use super::record_filter::RecordFilter;
use super::{CompactionError, CompactionPolicy};
use crate::log::{Compacted, LogFiles, PassResult, SealedSegments, SegmentReplacement, discard_compacted};
use crate::segment::{
    Damage, Expectations, LogPosition, RECORDS_LENGTH_MAX, ScanItem, ScanMode, Scanner, Segment, inspect,
};
use crate::state_file::PendingReplacement;
use bytes::Bytes;
use grower_protocol::batch::{Batch, KeyedRecord, RecordsError, RewriteLimits};
use grower_protocol::ids::{Offset, Timestamp};
use std::collections::{HashSet, VecDeque};
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

/// Asked between batches whether the pass continues, and told before memory is taken: how many bytes the pass then
/// holds, its keys apart.
pub type ContinuePass<'a> = &'a dyn Fn(usize) -> bool;

/// A pass that is due. It works outside the log's lock.
pub struct Compaction {
    sealed: SealedSegments,
    remembered: HashSet<Offset>,
    now: Timestamp,
    policy: CompactionPolicy,
}

/// A pass after its survey: each step returns a part for [`LogFiles::publish`](crate::log::LogFiles::publish).
pub struct CompactionPass {
    compaction: Compaction,
    keys: KeyMap,
    known_end: Offset,
    groups: VecDeque<Range<usize>>,
    done: bool,
}

impl Compaction {
    /// A pass over the records before `upto`, if one is due at the time of day `date`. It keeps the last record of
    /// each key, and every record keeps its offset.
    pub fn due(log: &dyn LogFiles, policy: &CompactionPolicy, upto: Offset, date: Timestamp) -> Option<Self> {
        let mut sealed = log.sealed_segments(upto)?;
        let candidates = candidates(&sealed.segments);
        let count = plan::due(&candidates, sealed.cleaned_end..sealed.log_end, date, policy)?;
        sealed.segments.truncate(count);
        Some(Self { sealed, remembered: log.remembered_batches(), now: date, policy: *policy })
    }

    /// The most memory that its keys take, in bytes.
    pub fn keys_bytes(&self) -> usize {
        bytes_for(self.dirty_offsets()).min(self.policy.keys_bytes)
    }

    fn dirty_offsets(&self) -> u64 {
        let end = self.sealed.segments.last().map_or(Offset::ZERO, |last| last.end_position().offset);
        end.since(self.sealed.cleaned_end.min(end))
    }

    /// Reads the new records and notes the last one of each key. Then verifies all that the pass will touch, before it
    /// changes anything.
    pub fn survey(self, may_continue: ContinuePass<'_>) -> Result<CompactionPass, CompactionError> {
        let mut keys = KeyMap::new(self.policy.keys_bytes, self.dirty_offsets());
        let sealed = &self.sealed;
        let mut known_end = sealed.cleaned_end;
        for segment in sealed.segments.iter().filter(|segment| sealed.cleaned_end < segment.end_position().offset) {
            let (end, full) = survey(segment, known_end, &mut keys, may_continue)?;
            known_end = end;
            if full {
                break;
            }
        }
        let groups: VecDeque<Range<usize>> =
            plan::groups(&candidates(&sealed.segments), known_end, sealed.segment_bytes).into();
        debug_assert!(sealed.cleaned_end <= known_end, "a survey never knows less than the passes before");
        let touched = groups.back().map_or(0, |last| last.end);
        sealed.segments.iter().take(touched).try_for_each(|segment| self.verify(segment, may_continue))?;
        Ok(CompactionPass { compaction: self, keys, known_end, groups, done: false })
    }

    /// Verifies content by CRCs, headers by header checksums and epochs.
    fn verify(&self, segment: &Segment, may_continue: ContinuePass<'_>) -> Result<(), CompactionError> {
        if !may_continue(0) {
            return Err(CompactionError::Stopped);
        }
        let expected = Expectations { seed: Some(self.sealed.seed), epochs: &self.sealed.epochs };
        let start = LogPosition::start_of(segment.base);
        let damage = inspect(segment, start, segment.end_position(), &expected)?;
        damage.into_iter().next().map_or(Ok(()), |damage| Err(damage.into()))
    }
}

fn candidates(segments: &[Arc<Segment>]) -> Vec<CompactionCandidate> {
    segments.iter().map(|segment| CompactionCandidate::of(segment)).collect()
}

/// Notes the keys of one segment from `from` on. Returns where it ended, and whether the keys ran out of room.
fn survey(
    segment: &Segment,
    from: Offset,
    keys: &mut KeyMap,
    may_continue: ContinuePass<'_>,
) -> Result<(Offset, bool), CompactionError> {
    let start = segment.log_position(segment.floor_by_offset(from.max(segment.base)));
    let mut stopped_at = None;
    for_each_batch(segment, start, may_continue, |batch| {
        if batch.header().attributes.is_control() {
            return Ok(ControlFlow::Continue(()));
        }
        let each = |entry: &KeyedRecord<'_>| match entry.key.filter(|_| from <= entry.offset) {
            Some(key) if keys.note(key, entry.offset).is_err() => {
                stopped_at = Some(entry.offset);
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        };
        let charge = |bytes| {
            may_continue(bytes_around(&batch) + bytes); // It is asked again before the next batch.
        };
        let limits = RewriteLimits { plain_bytes: RECORDS_LENGTH_MAX, charge: &charge };
        let read = batch.for_each_keyed_record(limits, each);
        read.map_err(|error| unreadable(segment, &batch, &error))?;
        Ok(if stopped_at.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok((stopped_at.unwrap_or(segment.end_position().offset), stopped_at.is_some()))
}

impl CompactionPass {
    /// Returns the next finished part, its files synced; none at the end of the pass.
    pub fn step(&mut self, may_continue: ContinuePass<'_>) -> Result<Option<Compacted>, CompactionError> {
        while let Some(group) = self.groups.pop_front() {
            if let Some(replacement) = self.rewrite(group, may_continue)? {
                return Ok(Some(self.done(PassResult::Replacement(replacement))));
            }
        }
        let first = !std::mem::replace(&mut self.done, true);
        Ok(first.then(|| self.done(PassResult::Clean { end: self.known_end })))
    }

    fn done(&self, outcome: PassResult) -> Compacted {
        Compacted { outcome, truncations: self.compaction.sealed.truncations }
    }

    /// Rewrites some segments into one; none if it would not differ.
    fn rewrite(
        &self,
        group: Range<usize>,
        may_continue: ContinuePass<'_>,
    ) -> Result<Option<SegmentReplacement>, CompactionError> {
        let sealed = &self.compaction.sealed;
        let old = sealed.segments.get(group).unwrap_or_default().to_vec();
        let (Some(first), Some(last)) = (old.first(), old.last()) else { return Ok(None) };
        let offsets = first.base..last.end_position().offset;
        debug_assert!(
            old.windows(2).all(|pair| pair[0].end_position().offset == pair[1].base),
            "neighbours are merged"
        );
        let written = self.write(&old, may_continue);
        if !matches!(written, Ok(Some(_))) {
            discard_compacted(&*sealed.disk, &sealed.dir, offsets.start);
        }
        Ok(written?.map(|WrittenSegment { bytes, delete_horizon }| SegmentReplacement {
            old,
            replacing: PendingReplacement { offsets, bytes },
            delete_horizon,
        }))
    }

    /// Writes the new files; none if nothing changed.
    fn write(
        &self,
        old: &[Arc<Segment>],
        may_continue: ContinuePass<'_>,
    ) -> Result<Option<WrittenSegment>, CompactionError> {
        let Some(first) = old.first() else { return Ok(None) };
        let Compaction { sealed, remembered, now, policy } = &self.compaction;
        let (disk, dir) = (&*sealed.disk, &*sealed.dir);
        let mut new = NewSegment::create(disk, dir, first.base, &sealed.index, sealed.seed)?;
        let mut filter = RecordFilter {
            keys: &self.keys,
            known_end: self.known_end,
            now: *now,
            delete_retention_ms: policy.delete_retention_ms,
            remembered,
            charge: &|batch, bytes| {
                may_continue(bytes_around(batch) + bytes);
            },
            waiting: None,
            changed: 1 < old.len(),
        };
        for segment in old {
            let start = LogPosition::start_of(segment.base);
            for_each_batch(segment, start, may_continue, |batch| {
                let whole = batch.clone();
                let done = filter.push(batch).map_err(|error| unreadable(segment, &whole, &error))?;
                done.map_or(Ok(()), |batch| new.put(&batch)).map(ControlFlow::Continue)
            })?;
        }
        filter.finish().map_or(Ok(()), |batch| new.put(&batch))?;
        let end = old.last().map_or(first.base, |last| last.end_position().offset);
        Ok(if filter.changed { Some(new.finish(end, disk, dir)?) } else { None })
    }
}

/// How often a batch is in memory: as read, as rewritten, and the one before it.
const COPIES: usize = 3;

fn bytes_around(batch: &Batch) -> usize {
    COPIES * batch.bytes().len()
}

/// Calls `each` with every batch, its CRC checked, until it breaks.
fn for_each_batch(
    segment: &Segment,
    start: LogPosition,
    may_continue: ContinuePass<'_>,
    mut each: impl FnMut(Batch) -> Result<ControlFlow<()>, CompactionError>,
) -> Result<(), CompactionError> {
    let mut scanner = Scanner::new(segment, ScanMode::Content, start, segment.end_position());
    while let Some(item) = scanner.next_item()? {
        let found = match item {
            ScanItem::Batch(found) => found,
            ScanItem::Damaged { damage, .. } => return Err(damage.into()),
        };
        if !may_continue(COPIES * found.header.total_length) {
            return Err(CompactionError::Stopped);
        }
        let content = Bytes::copy_from_slice(scanner.content(&found)?);
        let batch = Batch::check(content).map_err(|error| {
            let offsets = found.header.base_offset..found.header.next_offset();
            damaged(segment, offsets, error.to_string())
        })?;
        if each(batch)?.is_break() {
            break;
        }
    }
    Ok(())
}

fn unreadable(segment: &Segment, batch: &Batch, error: &RecordsError) -> CompactionError {
    let offsets = batch.header().base_offset..batch.header().next_offset();
    damaged(segment, offsets, error.to_string())
}

fn damaged(segment: &Segment, offsets: Range<Offset>, reason: String) -> CompactionError {
    CompactionError::Damaged { path: segment.file.path().to_owned(), offsets, reason }
}

impl From<Damage> for CompactionError {
    fn from(damage: Damage) -> Self {
        Self::Damaged { path: damage.path, offsets: damage.offsets, reason: damage.reason }
    }
}
