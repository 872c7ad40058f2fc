//! Drops records at either end, and stores what is durable.
//!
//! Both ends follow one pattern: first the checkpoint says durably what is dropped, then files go. After a crash in
//! between the next opening finishes what the checkpoint says.

use super::{DiskLog, Log, Segments};
use crate::log::{ChangeError, RetentionLimits, rules};
use crate::recovery;
use crate::retention;
use crate::segment::{self, ActiveSegment, LogPosition, ScanItem, ScanMode, Scanner, Segment, SegmentStats};
use crate::state_file::{Checkpoint, DurableEnd};
use grower_protocol::ids::{Offset, Timestamp};
use std::sync::Arc;

impl DiskLog {
    /// Drops every record at or after `end`.
    pub(super) fn drop_suffix(&mut self, end: Offset) -> Result<(), ChangeError> {
        self.finish_pending_work()?;
        rules::check_in_span(end, self.span())?;
        if end == self.span().end || !self.exists() {
            return Ok(());
        }
        self.make_durable()?; // The rest must not depend on a later crash.
        let segments = self.view.segments();
        let holding = segments.iter().rfind(|segment| segment.base <= end);
        let cut = holding.map(|segment| cut_at(segment, end)).transpose()?;
        self.finish_dropping(cut.map_or(end, |cut| cut.offset).max(self.span().start))
    }

    /// As [`DiskLog::drop_suffix`], at a position between two batches. Recovery calls it to finish an interrupted
    /// truncation.
    pub(super) fn finish_dropping(&mut self, end: Offset) -> Result<(), ChangeError> {
        let start = self.span().start;
        assert!(start <= end, "a truncation to {end} keeps what a trim to {start} left");
        if end < self.durable.end {
            // Nothing above the cut counts as durable any more.
            self.durable = DurableEnd { end: start, segment: start, position: 0 };
        }
        self.store_checkpoint(start, Some(end))?;
        self.truncations += 1;
        // From here on an error is final: the next opening finishes the truncation by the checkpoint.
        self.drop_now(start, end).map_err(|error| match error {
            ChangeError::Disk(error) => ChangeError::Failed(self.fail(&error)),
            failed => failed,
        })
    }

    fn drop_now(&mut self, start: Offset, end: Offset) -> Result<(), ChangeError> {
        let mut remaining = self.view.segments();
        let mut dropped = remaining.split_off(remaining.partition_point(|segment| segment.base <= end));
        let cut = remaining.last().map(|last| cut_at(last, end)).transpose()?;
        let log_end = cut.map_or(start, |cut| cut.offset.max(start));
        // The log end must not fall below the start, and no segment may stay that ends at or before it.
        dropped.extend(remaining.pop_if(|last| log_end == start && last.base < start));
        assert!(start <= log_end, "a truncation never passes the log start");
        self.forget_after(log_end)?;
        let active = self.active.take().map(|active| active.segment.base);
        let last = remaining.pop();
        // Before files change: no reader gets one that is about to go, or to be cut.
        self.view.replace(start..log_end, remaining.clone());
        self.remove_segments(dropped)?;
        match (last, cut) {
            (Some(last), Some(cut)) if active == Some(last.base) => self.reopen_cut(&last, cut, remaining)?,
            (Some(last), Some(cut)) => {
                let last = self.unshare(&last, cut)?;
                self.reopen_cut(&last, cut, remaining)?;
            }
            _ => self.roll()?,
        }
        debug_assert_eq!(self.span(), start..log_end, "a truncation leaves what comes before the cut");
        debug_assert_eq!(self.durable.end, log_end, "a truncated log is durable");
        self.check();
        self.store_checkpoint(start, None)
    }

    /// Cuts the last remaining segment and continues writing to it.
    fn reopen_cut(
        &mut self,
        last: &Segment,
        end_position: LogPosition,
        mut remaining: Segments,
    ) -> Result<(), ChangeError> {
        assert!(end_position.bytes <= last.end_position().bytes, "a cut makes no segment longer");
        last.file.get()?.set_len(end_position.bytes)?;
        let rebuilt = recovery::reindex_cut(&*self.disk, &self.dir, last, end_position, &self.options, self.seed())?;
        let (segment, log, index) = (Arc::new(rebuilt.segment), rebuilt.log, rebuilt.index);
        self.sync(&[log.clone(), index.clone()])?;
        self.sync_dir()?;
        self.durable = DurableEnd { end: end_position.offset, segment: segment.base, position: end_position.bytes };
        remaining.push(segment.clone());
        self.view.replace(self.span().start..end_position.offset, remaining);
        self.active = Some(ActiveSegment::new(segment, log, index, end_position.bytes, self.seed()));
        Ok(())
    }

    /// Copies the part of a sealed segment that stays: backups may share the old file.
    fn unshare(&mut self, sealed: &Segment, cut: LogPosition) -> Result<Segment, ChangeError> {
        let name = segment::log_name(sealed.base);
        let temporary = self.dir.join(format!("{name}.tmp"));
        self.remove_leftover(&format!("{name}.tmp"))?;
        let copy = self.disk.create(&temporary)?;
        recovery::copy_range(&sealed.file.get()?, 0..cut.bytes, &copy)?;
        self.sync(&[copy])?;
        sealed.file.retire();
        self.disk.rename(&temporary, &self.dir.join(&name))?;
        self.remove_leftover(&segment::index_name(sealed.base))?; // It is rebuilt, for the copy.
        self.sync_dir()?;
        let file = self.disk.open(&self.dir.join(&name))?;
        let segment = Segment::growing(sealed.base, file, self.options.index.make(self.seed()));
        segment.set_end_position(cut);
        Ok(segment)
    }

    /// Truncates epochs and producers. Before files go: the producers of batches before the log start are stored
    /// nowhere else.
    fn forget_after(&mut self, end: Offset) -> Result<(), ChangeError> {
        if end < self.cleaned_end {
            self.store_cleaned_end(end)?; // No pass has seen the records that come there next.
        }
        self.epochs.truncate(end);
        self.view.set_epochs(self.epochs.clone());
        self.store(&self.epochs.clone())?;
        let snapshots = self.stored_snapshots();
        self.producers = recovery::replay_producers(snapshots, &self.view.segments(), end, self.now, &self.options)?;
        self.store_snapshot(end)
    }

    /// Moves the log start up to `start`.
    pub(super) fn drop_prefix(&mut self, start: Offset) -> Result<(), ChangeError> {
        self.finish_pending_work()?;
        let span = self.span();
        if !rules::moves_start(start, span.clone())? {
            return Ok(());
        }
        self.make_durable_up_to(start)?;
        let last_has_records = self.active.as_ref().is_none_or(|active| 0 < active.position());
        if start == span.end && last_has_records {
            self.roll()?; // The next file's name keeps the log end when all others are gone.
        }
        self.store_checkpoint(start, None)?;
        let mut remaining = self.view.segments();
        let gone = remaining
            .partition_point(|segment| segment.end_position().offset <= start)
            .min(remaining.len().saturating_sub(1));
        let dropped: Segments = remaining.drain(..gone).collect();
        self.view.replace(start..span.end, remaining);
        self.epochs.trim(start);
        self.view.set_epochs(self.epochs.clone());
        self.check();
        debug_assert!(dropped.iter().all(|segment| segment.end_position().offset <= start), "only old segments go");
        self.remove_segments(dropped) // The next opening removes files that cannot be removed now.
    }

    /// Applies retention.
    pub(super) fn drop_expired(
        &mut self,
        now: Timestamp,
        limits: &RetentionLimits,
        committed: Offset,
    ) -> Result<Offset, ChangeError> {
        self.finish_pending_work()?;
        let stats: Vec<SegmentStats> = self.view.segments().iter().map(|segment| segment.stats()).collect();
        if let Some(start) = retention::new_start(&stats, now, limits, committed) {
            self.drop_prefix(start)?;
        }
        Ok(self.span().start)
    }

    /// Makes everything durable and stores a checkpoint.
    pub(super) fn write_down(&mut self, now: Timestamp) -> Result<(), ChangeError> {
        self.finish_pending_work()?;
        self.now = now;
        if !self.exists() {
            return Ok(());
        }
        self.make_durable()?;
        self.store_snapshot(self.span().end)?;
        self.store_checkpoint(self.span().start, None)
    }

    fn store_checkpoint(&mut self, log_start: Offset, truncating: Option<Offset>) -> Result<(), ChangeError> {
        debug_assert!(log_start <= self.span().end, "a checkpoint starts at {log_start}, past {:?}", self.span());
        match truncating {
            Some(end) => debug_assert!(self.durable.end <= end, "what a truncation to {end} drops is not durable"),
            None => debug_assert!(log_start <= self.durable.end, "what a trim to {log_start} keeps is durable"),
        }
        let checkpoint = Checkpoint { log_start, durable: self.durable, truncating };
        if self.stored != Some(checkpoint) {
            self.store(&checkpoint)?;
            self.stored = Some(checkpoint);
        }
        Ok(())
    }

    /// Removes the files of segments. Readers that hold one continue to read it.
    fn remove_segments(&mut self, segments: Segments) -> Result<(), ChangeError> {
        if segments.is_empty() {
            return Ok(());
        }
        for segment in segments {
            assert!(!self.view.holds(&segment), "files are removed after readers lost sight of them");
            segment.file.retire();
            for name in [segment::log_name(segment.base), segment::index_name(segment.base)] {
                match self.disk.remove_file(&self.dir.join(name)) {
                    Err(error) if !error.is_not_found() => return Err(error.into()),
                    _ => {}
                }
            }
        }
        self.sync_dir()?;
        Ok(())
    }
}

/// The last position between two batches that is not after `end`.
fn cut_at(segment: &Segment, end: Offset) -> Result<LogPosition, ChangeError> {
    let start = segment.log_position(segment.floor_by_offset(end));
    let mut scanner = Scanner::new(segment, ScanMode::Content, start, segment.end_position());
    let mut cut = start;
    while let Some(item) = scanner.next_item()? {
        let fits = scanner.position().offset <= end;
        match item {
            ScanItem::Batch(_) | ScanItem::Damaged { .. } if fits => cut = scanner.position(),
            _ => break,
        }
    }
    debug_assert!(cut.offset <= end, "no record at or after {end} stays");
    Ok(cut)
}
