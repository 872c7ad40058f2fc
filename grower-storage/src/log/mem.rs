//! A log in memory: the same promises without files, and obviously right.

use super::rules;
use super::{
    AppendError, Appended, ChangeError, EpochEnd, FenceError, FilesView, FlushPoint, Log, LogFailed, LogFiles,
    LogOptions, LogReader, LogView, ReadError, RetentionLimits, SegmentInfo, Slice, TimedOffset, TryAppend,
};
use crate::disk::DiskError;
use crate::epochs::EpochHistory;
use crate::producers::ProducerStates;
use crate::retention;
use crate::segment::{self, SegmentFill, SegmentStats};
use grower_protocol::batch::{Batch, UnplacedBatch};
use grower_protocol::ids::{LastWritten, LeaderEpoch, Offset, ProducerId, ProducerIdentity, Timestamp};
use parking_lot::RwLock;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// A log in memory. A written record is durable: flush points name no files.
#[derive(Debug)]
pub struct MemLog {
    options: LogOptions,
    /// The latest time, by the clock for ages.
    now: Timestamp,
    producers: ProducerStates,
    durable_end: Offset,
    /// How often it was truncated: an older flush point does not cover the records appended since.
    truncations: u64,
    failed: Option<LogFailed>,
    view: Arc<RwLock<MemLogState>>,
}

#[derive(Debug, Default)]
struct MemLogState {
    start: Offset,
    end: Offset,
    segments: VecDeque<MemSegment>,
    epochs: EpochHistory,
}

impl MemLogState {
    fn begin_epoch(&mut self, epoch: LeaderEpoch) -> Result<(), ChangeError> {
        if let Some(epochs) = rules::begin_epoch(&self.epochs, epoch, self.end)? {
            self.epochs = epochs;
        }
        Ok(())
    }

    /// Checks what holds between any two changes.
    fn check(&self, durable_end: Offset) {
        rules::check_ends(&(self.start..self.end), durable_end);
        debug_assert!(self.segments.back().is_none_or(|last| last.end() == self.end), "the last segment ends the log");
        debug_assert!(
            self.segments.iter().zip(self.segments.iter().skip(1)).all(|(a, b)| a.end() == b.base),
            "segments follow each other without a gap"
        );
    }
}

#[derive(Debug)]
struct MemSegment {
    base: Offset,
    created: Timestamp,
    appended: Timestamp,
    batches: Vec<Batch>,
}

impl MemSegment {
    fn new(base: Offset, created: Timestamp) -> Self {
        Self { base, created, appended: created, batches: Vec::new() }
    }

    fn end(&self) -> Offset {
        self.batches.last().map_or(self.base, |batch| batch.header().next_offset())
    }

    fn bytes(&self) -> u64 {
        self.batches.iter().map(|batch| batch.bytes().len() as u64).sum()
    }

    fn max_timestamp(&self) -> Option<Timestamp> {
        self.batches.iter().map(|batch| batch.header().max_timestamp).max()
    }

    fn fill(&self, now: Timestamp) -> SegmentFill {
        SegmentFill {
            bytes: self.bytes(),
            records: self.end().since(self.base),
            age_ms: now.millis_since(self.created),
            quiet_ms: now.millis_since(self.appended),
        }
    }

    fn stats(&self) -> SegmentStats {
        SegmentStats {
            end: self.end(),
            bytes: self.bytes(),
            records: self.end().since(self.base),
            max_timestamp: self.max_timestamp(),
        }
    }
}

impl MemLog {
    /// An empty log.
    pub fn new(options: LogOptions) -> Self {
        Self {
            options,
            now: Timestamp::default(),
            producers: ProducerStates::default(),
            durable_end: Offset::ZERO,
            truncations: 0,
            failed: None,
            view: Arc::default(),
        }
    }

    fn alive(&self) -> Result<(), LogFailed> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    /// Begins a segment if the batch does not fit the last one. True if there was one.
    fn roll_if_full(&self, view: &mut MemLogState, batch: &UnplacedBatch, now: Timestamp) -> bool {
        let fits = view.segments.back().is_some_and(|last| last.fill(now).takes(batch.header(), &self.options));
        if !fits {
            view.segments.push_back(MemSegment::new(view.end, now));
        }
        !fits && 1 < view.segments.len()
    }
}

impl Log for MemLog {
    fn span(&self) -> Range<Offset> {
        let view = self.view.read();
        view.start..view.end
    }

    fn durable_end(&self) -> Offset {
        self.durable_end
    }

    fn append(&mut self, batch: UnplacedBatch, epoch: LeaderEpoch, now: Timestamp) -> Result<Appended, AppendError> {
        self.alive()?;
        self.now = now;
        if let Some(appended) = rules::check_duplicate(self.producers.check(batch.header()), batch.header())? {
            return Ok(appended);
        }
        let mut view = self.view.write();
        let view = &mut *view;
        let base_offset = view.end;
        let next_offset = rules::next_offset(base_offset, &batch)?;
        view.begin_epoch(epoch)?;
        let rolled = self.roll_if_full(view, &batch, now);
        let batch = batch.place(base_offset, epoch);
        self.producers.note(batch.header(), now);
        self.producers.bound(now, &self.options);
        let last = view.segments.back_mut().expect("roll_if_full left a segment");
        if last.batches.is_empty() {
            last.created = now; // The previous segment may have rolled long ago.
        }
        last.batches.push(batch);
        last.appended = now;
        view.end = next_offset;
        view.check(self.durable_end);
        Ok(Appended { base_offset, next_offset, rolled, duplicate: false })
    }

    fn try_append(
        &mut self,
        batch: UnplacedBatch,
        epoch: LeaderEpoch,
        now: Timestamp,
    ) -> Result<TryAppend, AppendError> {
        self.append(batch, epoch, now).map(TryAppend::Appended)
    }

    fn fence_producer(
        &mut self,
        producer: ProducerIdentity,
        former: &[ProducerId],
        now: Timestamp,
    ) -> Result<Option<LastWritten>, FenceError> {
        self.alive()?;
        rules::fence_producer(&mut self.producers, (producer, former), now, &self.options)
    }

    fn begin_epoch(&mut self, epoch: LeaderEpoch) -> Result<(), ChangeError> {
        self.alive()?;
        self.view.write().begin_epoch(epoch)
    }

    fn flush_point(&self) -> FlushPoint {
        FlushPoint::durable(self.view.read().end, self.truncations)
    }

    fn flushed(&mut self, point: &FlushPoint, outcome: Result<(), DiskError>) -> Result<Offset, LogFailed> {
        if let Err(error) = outcome {
            self.failed.get_or_insert(LogFailed { why: error.to_string().into(), files_gone: false });
        }
        self.alive()?;
        if point.truncations == self.truncations {
            self.durable_end = self.durable_end.max(point.end);
            self.view.read().check(self.durable_end);
        }
        Ok(self.durable_end)
    }

    fn truncate(&mut self, end: Offset) -> Result<(), ChangeError> {
        self.alive()?;
        let mut view = self.view.write();
        rules::check_in_span(end, view.start..view.end)?;
        for segment in &mut view.segments {
            segment.batches.retain(|batch| batch.header().next_offset() <= end);
        }
        while view.segments.len() > 1 && view.segments.back().is_some_and(|last| last.batches.is_empty()) {
            view.segments.pop_back();
        }
        view.end = view.segments.back().map_or(end, MemSegment::end).max(view.start);
        let end = view.end;
        view.epochs.truncate(end);
        self.durable_end = end;
        self.truncations += 1;
        view.check(end);
        self.producers = ProducerStates::default();
        for batch in view.segments.iter().flat_map(|segment| &segment.batches) {
            self.producers.note(batch.header(), self.now);
        }
        Ok(())
    }

    fn trim(&mut self, start: Offset) -> Result<(), ChangeError> {
        self.alive()?;
        let mut view = self.view.write();
        let view = &mut *view;
        if !rules::moves_start(start, view.start..view.end)? {
            return Ok(());
        }
        view.start = start;
        self.durable_end = self.durable_end.max(start); // Written is durable.
        view.segments.retain(|segment| start < segment.end());
        view.epochs.trim(start);
        view.check(self.durable_end);
        Ok(())
    }

    fn retain(&mut self, now: Timestamp, limits: &RetentionLimits, committed: Offset) -> Result<Offset, ChangeError> {
        let stats: Vec<SegmentStats> = self.view.read().segments.iter().map(MemSegment::stats).collect();
        if let Some(start) = retention::new_start(&stats, now, limits, committed) {
            self.trim(start)?;
        }
        Ok(self.span().start)
    }

    fn is_old(&mut self, now: Timestamp) -> bool {
        let view = self.view.read();
        self.failed.is_none() && view.segments.back().is_some_and(|last| last.fill(now).is_old(&self.options))
    }

    fn roll_if_old(&mut self, now: Timestamp) -> Result<bool, ChangeError> {
        self.alive()?;
        let old = self.is_old(now);
        if old {
            let mut view = self.view.write();
            let end = view.end;
            view.segments.push_back(MemSegment::new(end, now));
            self.durable_end = end;
        }
        Ok(old)
    }

    fn checkpoint(&mut self, now: Timestamp) -> Result<(), ChangeError> {
        self.alive()?;
        self.producers.expire(now, self.options.producer_expiry_ms, self.options.producers_max);
        self.durable_end = self.view.read().end;
        Ok(())
    }

    fn producers(&self) -> &ProducerStates {
        &self.producers
    }

    fn forget_named_producers(&mut self, is_kept: &dyn Fn(ProducerId) -> bool) {
        self.producers.forget_named(is_kept);
    }

    fn forget_producers(&mut self, now: Timestamp, silent_ms: u64, most: usize) {
        self.producers.expire(now, silent_ms, most);
    }

    fn configure(&mut self, options: LogOptions) {
        self.options = options;
    }

    fn files(&mut self) -> Option<&mut dyn LogFiles> {
        None
    }

    fn reader(&self) -> LogReader {
        LogReader::new(MemView(self.view.clone()))
    }
}

struct MemView(Arc<RwLock<MemLogState>>);

impl LogView for MemView {
    fn span(&self) -> Range<Offset> {
        let view = self.0.read();
        view.start..view.end
    }

    fn read(&self, from: Offset, max_bytes: usize, upto: Offset) -> Result<Vec<Slice>, ReadError> {
        let view = self.0.read();
        rules::check_readable(from, view.start..view.end)?;
        let mut slices = Vec::new();
        let mut bytes = 0;
        for batch in view.segments.iter().flat_map(|segment| &segment.batches) {
            let header = batch.header();
            if header.next_offset() <= from {
                continue;
            }
            bytes += header.total_length;
            if upto < header.next_offset() || (!slices.is_empty() && max_bytes < bytes) {
                break;
            }
            slices.push(Slice::memory(batch.bytes().clone(), header.base_offset..header.next_offset()));
        }
        Ok(slices)
    }

    fn offset_for_time(&self, timestamp: Timestamp, upto: Offset) -> Result<Option<TimedOffset>, ReadError> {
        let view = self.0.read();
        let batches = view.segments.iter().flat_map(|segment| &segment.batches);
        for batch in batches.filter(|batch| timestamp <= batch.header().max_timestamp) {
            if let Some(found) = segment::find_time_in(batch, timestamp, &(view.start..upto)) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn end_of_epoch(&self, epoch: LeaderEpoch) -> Option<EpochEnd> {
        let view = self.0.read();
        view.epochs.end_of(epoch, view.end)
    }

    fn segments(&self) -> Vec<SegmentInfo> {
        let view = self.0.read();
        let last = view.segments.len().saturating_sub(1);
        let info = |(at, segment): (usize, &MemSegment)| SegmentInfo {
            file: segment::log_name(segment.base),
            index_file: segment::index_name(segment.base),
            base_offset: segment.base,
            end_offset: segment.end(),
            bytes: segment.bytes(),
            index_bytes: 0,
            records: segment.end().since(segment.base),
            max_timestamp: segment.max_timestamp(),
            active: at == last,
        };
        view.segments.iter().enumerate().map(info).collect()
    }

    fn files(&self) -> Option<&dyn FilesView> {
        None
    }
}
