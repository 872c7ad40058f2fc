//! When the producers are written down, and which of their snapshots are on disk.

use super::{DiskLog, Log};
use crate::disk::if_found;
use crate::kept;
use crate::log::ChangeError;
use crate::producers::{PREVIOUS_NAME, Snapshot, Snapshots};
use grower_protocol::ids::Offset;

/// The snapshots on disk by their offsets, and what is known of the next.
#[derive(Default)]
pub(super) struct SnapshotFiles {
    newest: Option<Offset>,
    previous: Option<Offset>,
    damaged: bool,
    /// Taken at the log end, and not stored before the log is durable up to there.
    waiting: Option<Snapshot>,
    /// Bytes appended since the last one was taken.
    appended_bytes: u64,
}

impl SnapshotFiles {
    /// As an opening finds them.
    pub(super) fn found(snapshots: &Snapshots) -> Self {
        let offset = |snapshot: &Option<Snapshot>| snapshot.as_ref().map(|snapshot| snapshot.offset);
        let (newest, previous) = (offset(&snapshots.newest), offset(&snapshots.previous));
        Self { newest, previous, damaged: snapshots.damaged, ..Self::default() }
    }

    /// Whether one waits that is of no later offset.
    pub(super) fn has_one_to_store(&self, durable_end: Offset) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| waiting.offset <= durable_end)
    }

    pub(super) fn appended(&mut self, bytes: usize) {
        self.appended_bytes += bytes as u64;
    }
}

impl DiskLog {
    /// Takes a snapshot after each so many bytes, and stores it once all that it knows of is durable. What it saves is time:
    /// where the disk refuses it, appends go on without.
    pub(super) fn snapshot_if_due(&mut self) -> Result<(), ChangeError> {
        let storable = self.snapshots.has_one_to_store(self.durable.end);
        if let Some(snapshot) = self.snapshots.waiting.take_if(|_| storable) {
            match self.store_snapshot_file(snapshot) {
                Err(ChangeError::Disk(error)) => tracing::warn!(%error, "the producers could not be written down"),
                stored => stored?,
            }
        }
        if self.options.snapshot_bytes <= self.snapshots.appended_bytes {
            self.snapshots.waiting = Some(self.take_snapshot(self.span().end));
        }
        Ok(())
    }

    /// Writes down the producers as of `offset`: the log end, which is durable.
    pub(super) fn store_snapshot(&mut self, offset: Offset) -> Result<(), ChangeError> {
        let snapshot = self.take_snapshot(offset);
        if self.snapshots.newest == Some(offset) { Ok(()) } else { self.store_snapshot_file(snapshot) }
    }

    /// Replaces snapshots that an opening found and that must not stay: a damaged one, and one of after the log end, which
    /// knows batches that are gone. Once the log has grown past that, nobody could tell.
    pub(super) fn replace_useless_snapshots(&mut self, end: Offset) -> Result<(), ChangeError> {
        if std::mem::take(&mut self.snapshots.damaged) {
            if self.snapshots.newest.is_some() {
                // The one before it is damaged: this one takes its place.
                let (newest, previous) = (self.dir.join(<Snapshot as kept::Kept>::NAME), self.dir.join(PREVIOUS_NAME));
                self.disk.rename(&newest, &previous)?;
                self.snapshots.previous = self.snapshots.newest.take();
            } else if self.snapshots.previous.is_none() {
                if_found(self.disk.remove_file(&self.dir.join(PREVIOUS_NAME)))?;
            }
            let snapshot = self.take_snapshot(end);
            return self.store_snapshot_file(snapshot);
        }
        let stray = |offset: Option<Offset>| offset.is_some_and(|offset| end < offset);
        if stray(self.snapshots.newest) || stray(self.snapshots.previous) {
            self.snapshots.newest = self.snapshots.newest.filter(|newest| *newest < end);
            self.store_snapshot(end)?;
        }
        Ok(())
    }

    pub(super) fn stored_snapshots(&self) -> Snapshots {
        let newest = kept::load(&*self.disk, &self.dir).ok();
        let previous = kept::load_from(&*self.disk, self.dir.join(PREVIOUS_NAME)).ok();
        Snapshots { newest, previous, damaged: false }
    }

    fn take_snapshot(&mut self, offset: Offset) -> Snapshot {
        self.producers.expire(self.now, self.options.producer_expiry_ms, self.options.producers_max);
        (self.snapshots.waiting, self.snapshots.appended_bytes) = (None, 0);
        Snapshot { offset, states: self.producers.clone() }
    }

    /// The newest snapshot becomes the one before it. Neither is ever of a later offset than the new one.
    fn store_snapshot_file(&mut self, snapshot: Snapshot) -> Result<(), ChangeError> {
        let (newest, previous) = (self.dir.join(<Snapshot as kept::Kept>::NAME), self.dir.join(PREVIOUS_NAME));
        if self.snapshots.newest.is_some_and(|newest| newest < snapshot.offset) {
            self.disk.rename(&newest, &previous)?;
            self.snapshots.previous = self.snapshots.newest.take();
        } else if self.snapshots.previous.is_some_and(|previous| snapshot.offset < previous) {
            if_found(self.disk.remove_file(&previous))?;
            self.snapshots.previous = None;
        }
        self.store(&snapshot)?;
        self.snapshots.newest = Some(snapshot.offset);
        Ok(())
    }
}
