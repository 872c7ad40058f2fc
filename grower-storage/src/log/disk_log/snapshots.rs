//! When snapshots of the producers are taken, and which are on disk.

use super::{DiskLog, Log};
use crate::disk::if_found;
use crate::log::ChangeError;
use crate::producers::{PREVIOUS_NAME, ProducerSnapshot, ProducerSnapshots};
use crate::state_file;
use grower_protocol::ids::Offset;

/// The snapshots on disk by their offsets, and the state of the next.
#[derive(Default)]
pub(super) struct SnapshotFiles {
    newest: Option<Offset>,
    previous: Option<Offset>,
    damaged: bool,
    /// Taken at the log end; stored once the log is durable up to there.
    waiting: Option<ProducerSnapshot>,
    /// Bytes appended since the last one was taken.
    appended_bytes: u64,
}

impl SnapshotFiles {
    /// The snapshots that an opening found.
    pub(super) fn found(snapshots: &ProducerSnapshots) -> Self {
        let offset = |snapshot: &Option<ProducerSnapshot>| snapshot.as_ref().map(|snapshot| snapshot.offset);
        let (newest, previous) = (offset(&snapshots.newest), offset(&snapshots.previous));
        Self { newest, previous, damaged: snapshots.damaged, ..Self::default() }
    }

    /// Whether a snapshot waits whose offset is durable.
    pub(super) fn has_one_to_store(&self, durable_end: Offset) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| waiting.offset <= durable_end)
    }

    pub(super) fn appended(&mut self, bytes: usize) {
        self.appended_bytes += bytes as u64;
    }
}

impl DiskLog {
    /// Takes a snapshot after every `snapshot_bytes` of log, and stores it once it is durable. A snapshot only saves
    /// time: if the disk refuses it, appends continue.
    pub(super) fn snapshot_if_due(&mut self) -> Result<(), ChangeError> {
        let storable = self.snapshots.has_one_to_store(self.durable.end);
        if let Some(snapshot) = self.snapshots.waiting.take_if(|_| storable) {
            match self.store_snapshot_file(snapshot) {
                Err(ChangeError::Disk(error)) => tracing::warn!(%error, "the producers could not be stored"),
                stored => stored?,
            }
        }
        if self.options.snapshot_bytes <= self.snapshots.appended_bytes {
            self.snapshots.waiting = Some(self.take_snapshot(self.span().end));
        }
        Ok(())
    }

    /// Stores the producers as of `offset`: the log end, which is durable.
    pub(super) fn store_snapshot(&mut self, offset: Offset) -> Result<(), ChangeError> {
        let snapshot = self.take_snapshot(offset);
        if self.snapshots.newest == Some(offset) { Ok(()) } else { self.store_snapshot_file(snapshot) }
    }

    /// Replaces useless snapshots that an opening found: a damaged one, and one beyond the log end, which knows lost
    /// batches. Once the log has grown past its offset, that could not be told.
    pub(super) fn replace_useless_snapshots(&mut self, end: Offset) -> Result<(), ChangeError> {
        if std::mem::take(&mut self.snapshots.damaged) {
            if self.snapshots.newest.is_some() {
                // The previous one is damaged: this one takes its place.
                let (newest, previous) =
                    (self.dir.join(<ProducerSnapshot as state_file::StateFile>::NAME), self.dir.join(PREVIOUS_NAME));
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

    pub(super) fn stored_snapshots(&self) -> ProducerSnapshots {
        let newest = state_file::load(&*self.disk, &self.dir).ok();
        let previous = state_file::load_from(&*self.disk, self.dir.join(PREVIOUS_NAME)).ok();
        ProducerSnapshots { newest, previous, damaged: false }
    }

    fn take_snapshot(&mut self, offset: Offset) -> ProducerSnapshot {
        self.producers.expire(self.now, self.options.producer_expiry_ms, self.options.producers_max);
        (self.snapshots.waiting, self.snapshots.appended_bytes) = (None, 0);
        ProducerSnapshot { offset, states: self.producers.clone() }
    }

    /// Stores a snapshot; the newest becomes the previous. Neither is ever of a later offset than the new one.
    fn store_snapshot_file(&mut self, snapshot: ProducerSnapshot) -> Result<(), ChangeError> {
        let (newest, previous) =
            (self.dir.join(<ProducerSnapshot as state_file::StateFile>::NAME), self.dir.join(PREVIOUS_NAME));
        if self.snapshots.newest.is_some_and(|newest| newest < snapshot.offset) {
            self.disk.rename(&newest, &previous)?;
            self.snapshots.previous = self.snapshots.newest.take();
        } else if self.snapshots.previous.is_some_and(|previous| snapshot.offset < previous) {
            if_found(self.disk.remove_file(&previous))?;
            self.snapshots.previous = None;
        }
        debug_assert!(self.snapshots.previous <= Some(snapshot.offset), "the previous snapshot is no later");
        // A truncation makes all of the log durable before it lowers the durable end.
        let truncating = self.stored.is_some_and(|checkpoint| checkpoint.truncating.is_some());
        debug_assert!(
            truncating || snapshot.offset <= self.durable.end,
            "a snapshot knows no record that a crash takes"
        );
        self.store(&snapshot)?;
        self.snapshots.newest = Some(snapshot.offset);
        Ok(())
    }
}
