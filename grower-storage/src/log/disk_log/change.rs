//! Dropping records at either end, and writing down what is durable.
//!
//! Both ends follow one pattern: first the checkpoint says what is to be dropped, durably; then files go. A crash in
//! between leaves the checkpoint, and opening finishes what it says.

use super::{DiskLog, Log, Segments};
use crate::kept::{Checkpoint, DurableEnd};
use crate::log::{ChangeError, RetentionLimits, rules};
use crate::recovery;
use crate::retention;
use crate::segment::{self, Active, Extent, Mode, Segment, SegmentStats, Step, Walk};
use grower_protocol::ids::{Offset, Timestamp};
use std::sync::Arc;

impl DiskLog {
    /// Drops every record at or after `end`.
    pub(super) fn drop_suffix(&mut self, end: Offset) -> Result<(), ChangeError> {
        self.ready()?;
        rules::check_in_span(end, self.span())?;
        if end == self.span().end || !self.exists() {
            return Ok(());
        }
        self.make_durable()?; // What stays must not depend on a crash that comes later.
        let segments = self.view.segments();
        let holding = segments.iter().rfind(|segment| segment.base <= end);
        let cut = holding.map(|segment| cut_at(segment, end)).transpose()?;
        self.finish_dropping(cut.map_or(end, |cut| cut.end).max(self.span().start))
    }

    /// As [`DiskLog::drop_suffix`], at a place between two batches. Recovery calls it again for what a crash interrupted.
    pub(super) fn finish_dropping(&mut self, end: Offset) -> Result<(), ChangeError> {
        let start = self.span().start;
        if end < self.durable.end {
            // Whatever was known to be durable above the cut no longer counts.
            self.durable = DurableEnd { end: start.min(end), segment: start, position: 0 };
        }
        self.store_checkpoint(start, Some(end))?;
        self.truncations += 1;
        // From here on only opening the log anew puts things right, and it does that by the checkpoint.
        self.drop_now(start, end).map_err(|error| match error {
            ChangeError::Disk(error) => ChangeError::Failed(self.fail(&error)),
            failed => failed,
        })
    }

    fn drop_now(&mut self, start: Offset, end: Offset) -> Result<(), ChangeError> {
        let mut kept = self.view.segments();
        let mut dropped = kept.split_off(kept.partition_point(|segment| segment.base <= end));
        let cut = kept.last().map(|last| cut_at(last, end)).transpose()?;
        let log_end = cut.map_or(start, |cut| cut.end.max(start));
        // The log end must not fall behind the start, nor a segment stay that has nothing after it.
        dropped.extend(kept.pop_if(|last| log_end == start && last.base < start));
        self.forget_after(log_end)?;
        let active = self.active.take().map(|active| active.segment.base);
        let last = kept.pop();
        self.view.replace(start..log_end, kept.clone()); // Nobody is handed what is about to go, or to be cut.
        self.remove_segments(dropped)?;
        match (last, cut) {
            (Some(last), Some(cut)) if active == Some(last.base) => self.reopen_cut(&last, cut, kept)?,
            (Some(last), Some(cut)) => {
                let last = self.unshare(&last, cut)?;
                self.reopen_cut(&last, cut, kept)?;
            }
            _ => self.roll()?,
        }
        self.store_checkpoint(start, None)
    }

    /// Cuts the last segment that stays and goes on with it.
    fn reopen_cut(&mut self, last: &Segment, extent: Extent, mut kept: Segments) -> Result<(), ChangeError> {
        last.file.get()?.set_len(extent.position)?;
        let rebuilt = recovery::reindex_cut(&*self.disk, &self.dir, last, extent, &self.options, self.seed())?;
        let (segment, log, index) = (Arc::new(rebuilt.segment), rebuilt.log, rebuilt.index);
        self.sync(&[log.clone(), index.clone()])?;
        self.sync_dir()?;
        self.durable = DurableEnd { end: extent.end, segment: segment.base, position: extent.position };
        kept.push(segment.clone());
        self.view.replace(self.span().start..extent.end, kept);
        self.active = Some(Active::new(segment, log, index, extent.position, self.seed()));
        Ok(())
    }

    /// A sealed segment may have other names, in backups: what goes on is a copy of what stays of it.
    fn unshare(&mut self, sealed: &Segment, cut: Extent) -> Result<Segment, ChangeError> {
        let name = segment::log_name(sealed.base);
        let temporary = self.dir.join(format!("{name}.tmp"));
        self.remove_leftover(&format!("{name}.tmp"))?;
        let copy = self.disk.create(&temporary)?;
        recovery::copy_range(&sealed.file.get()?, 0..cut.position, &copy)?;
        self.sync(&[copy])?;
        sealed.file.retire();
        self.disk.rename(&temporary, &self.dir.join(&name))?;
        self.remove_leftover(&segment::index_name(sealed.base))?; // It is made anew, for the copy.
        self.sync_dir()?;
        let file = self.disk.open(&self.dir.join(&name))?;
        let segment = Segment::growing(sealed.base, file, self.options.index.make(self.seed()));
        segment.set_extent(cut);
        Ok(segment)
    }

    /// Epochs and producers as of the new end. Before files go: what the log start has passed stands in no other place.
    fn forget_after(&mut self, end: Offset) -> Result<(), ChangeError> {
        if end < self.cleaned_end {
            self.store_cleaned_end(end)?; // What comes there now no pass has seen.
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
        self.ready()?;
        let span = self.span();
        if start <= span.start {
            return Ok(());
        }
        rules::check_in_span(start, span.clone())?;
        self.make_durable_up_to(start)?;
        let last_has_records = self.active.as_ref().is_none_or(|active| 0 < active.position());
        if start == span.end && last_has_records {
            self.roll()?; // The next file's name keeps the log end when all others are gone.
        }
        self.store_checkpoint(start, None)?;
        let mut kept = self.view.segments();
        let gone = kept.partition_point(|segment| segment.extent().end <= start).min(kept.len().saturating_sub(1));
        let dropped: Segments = kept.drain(..gone).collect();
        self.view.replace(start..span.end, kept);
        self.epochs.trim(start);
        self.view.set_epochs(self.epochs.clone());
        self.remove_segments(dropped) // What cannot be removed now goes when the log is opened next.
    }

    /// Carries out retention.
    pub(super) fn drop_expired(&mut self, now: Timestamp, limits: &RetentionLimits) -> Result<Offset, ChangeError> {
        self.ready()?;
        let stats: Vec<SegmentStats> = self.view.segments().iter().map(|segment| segment.stats()).collect();
        if let Some(start) = retention::new_start(&stats, now, limits) {
            self.drop_prefix(start)?;
        }
        Ok(self.span().start)
    }

    /// Makes everything durable and writes down that it is.
    pub(super) fn write_down(&mut self, now: Timestamp) -> Result<(), ChangeError> {
        self.ready()?;
        self.now = now;
        if !self.exists() {
            return Ok(());
        }
        self.make_durable()?;
        self.store_snapshot(self.span().end)?;
        self.store_checkpoint(self.span().start, None)
    }

    fn store_checkpoint(&mut self, log_start: Offset, truncating: Option<Offset>) -> Result<(), ChangeError> {
        let checkpoint = Checkpoint { log_start, durable: self.durable, truncating };
        if self.stored != Some(checkpoint) {
            self.store(&checkpoint)?;
            self.stored = Some(checkpoint);
        }
        Ok(())
    }

    /// Readers that hold a file go on reading it.
    fn remove_segments(&mut self, segments: Segments) -> Result<(), ChangeError> {
        if segments.is_empty() {
            return Ok(());
        }
        for segment in segments {
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

/// The last place between two batches that is not after `end`.
fn cut_at(segment: &Segment, end: Offset) -> Result<Extent, ChangeError> {
    let start = segment.extent_at(segment.floor_by_offset(end));
    let mut walk = Walk::new(segment, Mode::Content, start, segment.extent());
    let mut cut = start;
    while let Some(step) = walk.step()? {
        let fits = walk.at().end <= end;
        match step {
            Step::Batch(_) | Step::Gap(_) if fits => cut = walk.at(),
            _ => break,
        }
    }
    Ok(cut)
}
