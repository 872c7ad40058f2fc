//! The state that readers share with the writer: the segments, and the offsets that are lost.

use super::Segments;
use crate::epochs::EpochHistory;
use crate::log::{EpochEnd, FilesView, GoneHook, LogView, ReadError, SegmentInfo, Slice, TimedOffset, rules};
use crate::segment::{self, Damage, DeleteHorizon, Expectations, ScanMode, Segment, SegmentRead};
use grower_protocol::ids::{LeaderEpoch, Offset, Timestamp};
use parking_lot::RwLock;
use std::ops::Range;
use std::sync::Arc;

/// Its lock is held only to look something up or to replace something: never while waiting for a disk.
#[derive(Default)]
pub(super) struct PublishedLog(RwLock<Published>);

#[derive(Default)]
struct Published {
    start: Offset,
    end: Offset,
    segments: Segments,
    /// Offsets that cannot be read, in order.
    lost: Vec<Damage>,
    epochs: EpochHistory,
    gone: Option<Arc<str>>,
    gone_hook: Option<GoneHook>,
}

impl From<Damage> for ReadError {
    fn from(damage: Damage) -> Self {
        Self::Corrupt { offsets: damage.offsets, path: damage.path, reason: damage.reason.into() }
    }
}

impl Published {
    fn lose(&mut self, damage: Damage) {
        if !self.lost.iter().any(|lost| lost.offsets == damage.offsets) {
            self.lost.push(damage);
            self.lost.sort_by_key(|lost| lost.offsets.start);
        }
    }
}

impl PublishedLog {
    pub(super) fn new(span: Range<Offset>, segments: Segments, epochs: EpochHistory) -> Self {
        Self(RwLock::new(Published {
            start: span.start,
            end: span.end,
            segments,
            lost: Vec::new(),
            epochs,
            gone: None,
            gone_hook: None,
        }))
    }

    pub(super) fn span(&self) -> Range<Offset> {
        let state = self.0.read();
        state.start..state.end
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.read().segments.is_empty()
    }

    pub(super) fn segments(&self) -> Segments {
        self.0.read().segments.clone()
    }

    pub(super) fn set_end(&self, end: Offset) {
        let mut state = self.0.write();
        debug_assert!(state.end <= end, "an append moves the log end from {} to {end}", state.end);
        state.end = end;
    }

    pub(super) fn set_epochs(&self, epochs: EpochHistory) {
        self.0.write().epochs = epochs;
    }

    /// The files are no longer where they were.
    pub(super) fn set_gone(&self, why: Arc<str>) {
        let mut state = self.0.write();
        state.gone = Some(why);
        let hook = state.gone_hook.take();
        drop(state);
        hook.into_iter().for_each(|hook| hook()); // It finds that they are gone.
    }

    pub(super) fn push(&self, segment: Arc<Segment>) {
        let mut state = self.0.write();
        assert!(state.segments.last().is_none_or(|last| last.base < segment.base), "segments are in order");
        assert_eq!(segment.base, state.end, "a segment begins at the log end");
        state.segments.push(segment);
    }

    /// Replaces the readable log; losses within the new span stay.
    pub(super) fn replace(&self, span: Range<Offset>, segments: Segments) {
        debug_assert!(span.start <= span.end, "the log would start past its end: {span:?}");
        debug_assert!(segments.is_sorted_by(|a, b| a.base < b.base), "segments are in order");
        let last_end = segments.last().map_or(span.start, |last| last.end_position().offset);
        debug_assert!(last_end <= span.end, "the last segment ends at {last_end}, past {span:?}");
        let mut state = self.0.write();
        (state.start, state.end) = (span.start, span.end);
        state.segments = segments;
        state.lost.retain(|lost| lost.offsets.start < span.end && span.start < lost.offsets.end);
    }

    /// Remembers damage that was found when the log was opened.
    pub(super) fn lose(&self, damage: Damage) {
        self.0.write().lose(damage);
    }

    /// Remembers damage that a reader found. False if the segment was replaced meanwhile: a truncation takes files
    /// from readers before it changes them, so the damage may be newer bytes.
    fn lose_in(&self, segment: &Arc<Segment>, damage: Damage) -> bool {
        let mut state = self.0.write();
        let current = state.segments.iter().any(|current| Arc::ptr_eq(current, segment));
        if current {
            state.lose(damage);
        }
        current
    }

    /// Whether a segment still belongs to the log.
    pub(super) fn holds(&self, segment: &Arc<Segment>) -> bool {
        self.0.read().segments.iter().any(|current| Arc::ptr_eq(current, segment))
    }

    /// Where to read `from`, or the loss there.
    fn at(&self, from: Offset) -> Result<Option<ReadLocation>, ReadError> {
        let state = self.0.read();
        rules::check_readable(from, state.start..state.end)?;
        if let Some(lost) = state.lost.iter().find(|lost| lost.offsets.contains(&from)) {
            return Err(lost.clone().into());
        }
        let holding = state.segments.partition_point(|segment| segment.base <= from).checked_sub(1);
        let Some(segment) = holding.and_then(|at| state.segments.get(at)).cloned() else { return Ok(None) };
        let damaged =
            state.lost.iter().any(|lost| segment.base <= lost.offsets.start && lost.path == segment.file.path());
        let sound_until = state.lost.iter().map(|lost| lost.offsets.start).find(|start| from < *start);
        let mode = if damaged { ScanMode::Content } else { ScanMode::Headers };
        Ok(Some(ReadLocation { segment, sound_until: sound_until.unwrap_or(Offset::MAX), mode }))
    }
}

/// Where and how to read an offset.
struct ReadLocation {
    segment: Arc<Segment>,
    /// No loss is known before this offset.
    sound_until: Offset,
    /// How closely to look.
    mode: ScanMode,
}

/// The most slices of one read: each is of another file and keeps it open until it is sent.
const SLICES_MAX: usize = 16;

/// The [`LogView`] of a [`super::DiskLog`].
pub(super) struct DiskView {
    view: Arc<PublishedLog>,
    seed: u32,
}

impl DiskView {
    pub(super) fn new(view: Arc<PublishedLog>, seed: u32) -> Self {
        Self { view, seed }
    }

    /// Remembers damage found by a read, so that the next reader is told at once. None if it was none.
    fn damaged(&self, segment: &Arc<Segment>, damage: Damage) -> Option<ReadError> {
        self.view.lose_in(segment, damage.clone()).then(|| damage.into())
    }
}

impl LogView for DiskView {
    fn span(&self) -> Range<Offset> {
        self.view.span()
    }

    fn read(&self, from: Offset, max_bytes: usize, upto: Offset) -> Result<Vec<Slice>, ReadError> {
        let mut slices: Vec<Slice> = Vec::new();
        let (mut at, mut budget) = (from, max_bytes as u64);
        while at < upto && slices.len() < SLICES_MAX && (slices.is_empty() || 0 < budget) {
            let ReadLocation { segment, sound_until, mode } = match self.view.at(at) {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(error) if slices.is_empty() => return Err(error),
                Err(_) => break,
            };
            let extract = match segment::read(&segment, mode, at, budget, upto.min(sound_until)) {
                // It was dropped meanwhile.
                Err(error) if error.is_not_found() && !self.view.holds(&segment) => continue,
                Err(_) if !slices.is_empty() => break,
                extract => extract?,
            };
            match extract {
                SegmentRead::Slice(slice) if slices.is_empty() || slice.len() as u64 <= budget => {
                    debug_assert!(at < slice.offsets().end, "a read moves on from {at}");
                    budget = budget.saturating_sub(slice.len() as u64); // The first slice may be over it.
                    let more_here = slice.offsets().end < segment.end_position().offset;
                    at = slice.offsets().end;
                    slices.push(slice);
                    if more_here {
                        break;
                    }
                }
                SegmentRead::Damaged(damage) if slices.is_empty() => match self.damaged(&segment, damage) {
                    Some(error) => return Err(error),
                    None => continue, // The log was truncated under the read: look again.
                },
                _ => break,
            }
        }
        if slices.is_empty() {
            rules::check_readable(from, self.span())?;
        }
        Ok(slices)
    }

    fn offset_for_time(&self, timestamp: Timestamp, upto: Offset) -> Result<Option<TimedOffset>, ReadError> {
        let offsets = self.span().start..upto;
        let later = |segment: &Arc<Segment>| segment.max_timestamp().is_some_and(|latest| timestamp <= latest);
        for segment in self.view.segments().into_iter().filter(later) {
            match segment::find_time(&segment, timestamp, &offsets) {
                Err(error) if error.is_not_found() && !self.view.holds(&segment) => {
                    return self.offset_for_time(timestamp, upto); // It was dropped meanwhile, or compacted.
                }
                Ok(None) => {}
                found => return Ok(found?),
            }
        }
        Ok(None)
    }

    fn end_of_epoch(&self, epoch: LeaderEpoch) -> Option<EpochEnd> {
        let state = self.view.0.read();
        state.epochs.end_of(epoch, state.end)
    }

    fn segments(&self) -> Vec<SegmentInfo> {
        let segments = self.view.segments();
        let last = segments.len().saturating_sub(1);
        segments.iter().enumerate().map(|(at, segment)| segment.info(at == last)).collect()
    }

    fn files(&self) -> Option<&dyn FilesView> {
        Some(self)
    }
}

impl FilesView for DiskView {
    fn gone(&self) -> Option<Arc<str>> {
        self.view.0.read().gone.clone()
    }

    fn when_gone(&self, hook: GoneHook) {
        let mut state = self.view.0.write();
        debug_assert!(state.gone_hook.is_none(), "a log has one hook");
        if state.gone.is_none() {
            state.gone_hook = Some(hook);
            return;
        }
        drop(state);
        hook();
    }

    fn damaged(&self) -> Vec<Range<Offset>> {
        self.view.0.read().lost.iter().map(|lost| lost.offsets.clone()).collect()
    }

    fn check(&self, offsets: Range<Offset>) -> Result<(), ReadError> {
        let epochs = self.view.0.read().epochs.clone();
        let expected = Expectations { seed: Some(self.seed), epochs: &epochs };
        for segment in self.view.segments() {
            let end_position = segment.end_position();
            if end_position.offset <= offsets.start || offsets.end <= segment.base {
                continue;
            }
            let from = segment.log_position(segment.floor_by_offset(offsets.start.max(segment.base)));
            match segment::inspect_until(&segment, from, offsets.end, &expected) {
                Err(error) if error.is_not_found() && !self.view.holds(&segment) => return self.check(offsets),
                damage => damage?.into_iter().for_each(|damage| {
                    self.view.lose_in(&segment, damage);
                }),
            }
        }
        let state = self.view.0.read();
        let overlaps = |lost: &&Damage| lost.offsets.start < offsets.end && offsets.start < lost.offsets.end;
        state.lost.iter().find(overlaps).map_or(Ok(()), |lost| Err(lost.clone().into()))
    }

    fn learn_delete_horizons(&self, may_continue: &dyn Fn() -> bool) -> Result<(), ReadError> {
        let mut segments = self.view.segments();
        segments.pop(); // It is active, and compaction takes none such.
        for segment in segments.iter().filter(|segment| segment.delete_horizon() == DeleteHorizon::Unknown) {
            if !may_continue() {
                break;
            }
            match segment::earliest(segment) {
                Ok(horizon) => segment.set_delete_horizon(horizon),
                Err(error) if error.is_not_found() && !self.view.holds(segment) => {} // It was dropped meanwhile.
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
