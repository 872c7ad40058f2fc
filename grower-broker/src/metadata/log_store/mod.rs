//! Metadata on disk: a log of commands, and a snapshot that replaces older commands.
//!
//! `<data-dir>/metadata/` has an ordinary log, one command a record, with the image's version before it as its offset,
//! and `image.snapshot`. A command is fsynced before it takes effect; commands that are proposed together share a
//! batch and its sync. After a crash an acknowledged command is there; one under way is there as a whole or not at
//! all. Damage stops the start: a broker that forgot topics could not tell whose files it has.

mod replay;

use super::image::snapshot;
use super::{Applied, Command, Image, MetadataStore, ProposeError, whole_file};
use crate::background;
use crate::clock::{BrokerClock, Clock};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use grower_protocol::batch::{BatchBuilder, Record, UnplacedBatch};
use grower_protocol::compression::Codec;
use grower_protocol::ids::{LeaderEpoch, Offset};
use grower_protocol::wire;
use grower_storage::backup_files::BackupFile;
use grower_storage::disk::{Disk, DiskError, ErrorClass};
use grower_storage::log::{AppendError, ChangeError, DiskLog, Log, LogFiles};
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use replay::MetadataOpenError;

/// The directory of the metadata, below the data directory.
pub(crate) const DIR: &str = "metadata";
/// The latest snapshot, in that directory.
pub(crate) const SNAPSHOT: &str = "image.snapshot";

/// Commands between two snapshots: few enough for a fast replay.
const SNAPSHOT_EVERY: u64 = 1_000;

/// The largest size of a batch of commands. Each batch is durable before the next; two fit a segment, and a start
/// reads few at once.
const BATCH_BYTES: usize = 128 << 10;

/// The path of the latest metadata snapshot.
pub(crate) fn snapshot_path(data_dir: &Path) -> PathBuf {
    data_dir.join(DIR).join(SNAPSHOT)
}

/// Metadata in a log on disk.
pub struct LogMetadataStore {
    image: Arc<ArcSwap<Image>>,
    writer: Arc<Mutex<MetadataWriter>>,
}

/// The owner of the log: its lock holder alone changes the image.
struct MetadataWriter {
    disk: Arc<dyn Disk>,
    clock: Arc<BrokerClock>,
    log: DiskLog,
    epoch: LeaderEpoch,
    image: Arc<ArcSwap<Image>>,
    snapshot: PathBuf,
    snapshot_every: u64,
    batch_bytes: usize,
    /// The version of the snapshot.
    snapshot_version: u64,
    /// The reason why nothing can be written any more.
    failed: Option<String>,
}

impl LogMetadataStore {
    /// Reads the metadata of a data directory, or begins with none. Blocks on the disk.
    ///
    /// The directory must belong to this process ([`Disk::lock`]).
    pub fn open(disk: Arc<dyn Disk>, data_dir: &Path, clock: Arc<dyn Clock>) -> Result<Self, MetadataOpenError> {
        Self::open_with(disk, data_dir, clock, SNAPSHOT_EVERY, BATCH_BYTES)
    }

    fn open_with(
        disk: Arc<dyn Disk>,
        data_dir: &Path,
        clock: Arc<dyn Clock>,
        snapshot_every: u64,
        batch_bytes: usize,
    ) -> Result<Self, MetadataOpenError> {
        let clock = BrokerClock::new(clock);
        let found = replay::open(&disk, data_dir, clock.steady())?;
        let image = Arc::new(ArcSwap::from_pointee(found.image));
        let writer = MetadataWriter {
            disk,
            clock,
            log: found.log,
            epoch: found.epoch,
            image: image.clone(),
            snapshot: snapshot_path(data_dir),
            snapshot_every,
            batch_bytes,
            snapshot_version: found.snapshot_version,
            failed: None,
        };
        Ok(Self { image, writer: Arc::new(Mutex::new(writer)) })
    }
}

impl LogMetadataStore {
    /// As [`MetadataStore::propose`], for callers that may block on the disk.
    pub(crate) fn propose_now(&self, command: &Command) -> Result<Applied, ProposeError> {
        self.writer.lock().propose(command)
    }
}

#[async_trait]
impl MetadataStore for LogMetadataStore {
    async fn propose_all(&self, commands: Vec<Command>) -> Vec<Result<Applied, ProposeError>> {
        let (writer, count) = (self.writer.clone(), commands.len());
        let proposed = background::blocking(move || writer.lock().propose_all(&commands)).await;
        proposed.unwrap_or_else(|error| vec![Err(ProposeError::Failed { detail: error.to_string() }); count])
    }

    fn hold_files(&self, hold: &mut dyn FnMut(&[BackupFile]) -> Result<(), DiskError>) -> Result<(), ChangeError> {
        let mut writer = self.writer.lock();
        let mut backup_files = writer.seal()?;
        if 0 < writer.snapshot_version {
            backup_files.push(BackupFile { name: SNAPSHOT.to_owned(), copy: None }); // The file is only ever replaced.
        }
        Ok(hold(&backup_files)?)
    }

    fn image(&self) -> Arc<Image> {
        self.image.load_full()
    }
}

impl MetadataWriter {
    fn propose(&mut self, command: &Command) -> Result<Applied, ProposeError> {
        let answer = self.propose_all(std::slice::from_ref(command)).pop();
        answer.expect("each command has an answer")
    }

    fn propose_all(&mut self, commands: &[Command]) -> Vec<Result<Applied, ProposeError>> {
        let mut answers = Vec::with_capacity(commands.len());
        while let Some(rest @ [_, ..]) = commands.get(answers.len()..) {
            answers.extend(self.propose_batch(rest));
        }
        answers
    }

    /// Writes the first commands, at least one and as many as fit a batch. Either all of them that are not refused
    /// take effect, or none.
    fn propose_batch(&mut self, commands: &[Command]) -> Vec<Result<Applied, ProposeError>> {
        if let Some(detail) = self.failed.clone() {
            return vec![Err(ProposeError::Failed { detail }); commands.len()];
        }
        let mut image = Image::clone(&self.image.load());
        let (mut batch, mut bytes, mut answers) = (BatchBuilder::new(Codec::None), 0, Vec::new());
        for command in commands {
            let value = wire::encode(command);
            if 0 < bytes && self.batch_bytes < bytes + value.len() {
                break;
            }
            let applied = image.try_apply(command.clone());
            if applied.is_ok() {
                bytes += value.len();
                let value = Some(Bytes::from(value));
                batch.push(&Record { timestamp: self.clock.wall(), value, ..Record::default() });
            }
            answers.push(applied.map_err(ProposeError::from));
        }
        if 0 < bytes {
            match self.append(batch).and_then(|()| self.sync()) {
                Ok(()) => self.publish(image),
                Err(error) => answers.iter_mut().filter(|answer| answer.is_ok()).for_each(|answer| {
                    *answer = Err(error.clone());
                }),
            }
        }
        answers
    }

    fn publish(&mut self, image: Image) {
        debug_assert_eq!(self.log.span().end.value(), image.version, "the version counts the commands in the log");
        self.image.store(Arc::new(image));
        self.snapshot_if_due();
    }

    fn append(&mut self, batch: BatchBuilder) -> Result<(), ProposeError> {
        match self.log.append(UnplacedBatch::built(batch.build(None)), self.epoch, self.clock.steady()) {
            Ok(_) => Ok(()),
            Err(AppendError::Disk(error)) if error.is_full() => Err(ProposeError::Full { detail: error.to_string() }),
            Err(AppendError::Disk(source)) => Err(ProposeError::NotWritten { source: Arc::new(source) }),
            Err(error) => Err(self.fail(error)),
        }
    }

    /// Makes commands durable, and writes a checkpoint: recovery can then tell damage from a torn write.
    fn sync(&mut self) -> Result<(), ProposeError> {
        let point = self.log.flush_point();
        let outcome = point.sync(&*self.disk);
        self.log.flushed(&point, outcome).map_err(|error| self.fail(error))?;
        match self.log.checkpoint(self.clock.steady()) {
            Err(ChangeError::Failed(error)) => Err(self.fail(error)),
            Err(error) => {
                tracing::warn!(%error, "metadata is durable, but its checkpoint could not be written");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    fn seal(&mut self) -> Result<Vec<BackupFile>, ChangeError> {
        self.log.seal(self.clock.steady()).inspect_err(|error| {
            if let ChangeError::Failed(error) = error {
                self.failed.get_or_insert_with(|| error.to_string());
            }
        })
    }

    fn fail(&mut self, error: impl std::fmt::Display) -> ProposeError {
        let detail = error.to_string();
        self.failed.get_or_insert_with(|| detail.clone());
        ProposeError::Failed { detail }
    }

    /// Writes a snapshot if one is due. The commands are durable already: a failure here only affects the next one.
    fn snapshot_if_due(&mut self) {
        let image = self.image.load_full();
        if image.version < self.snapshot_version.saturating_add(self.snapshot_every) {
            return;
        }
        match whole_file::replace(&*self.disk, &self.snapshot, &snapshot::encode(&image)) {
            Ok(()) => self.snapshot_version = image.version,
            Err(error) if error.class() == ErrorClass::SyncFailed => drop(self.fail(error)),
            Err(error) => tracing::warn!(%error, "no snapshot of the metadata was written"),
        }
        // Commands in the snapshot are dropped from the log, and no others.
        match self.log.trim(Offset::try_from(self.snapshot_version).unwrap_or(Offset::ZERO)) {
            Ok(()) => {}
            Err(ChangeError::Failed(error)) => drop(self.fail(error)),
            Err(error) => tracing::warn!(%error, "old metadata commands were not dropped"),
        }
    }
}

#[cfg(test)]
mod tests;
