//! Replay: builds the image from the snapshot and every command after it.

use super::{DIR, SNAPSHOT};
use crate::metadata::image::snapshot::{self, SnapshotError};
use crate::metadata::{Command, Image, MetadataRefusal, whole_file};
use bytes::Bytes;
use grower_protocol::batch::{BatchError, BatchReader, RecordView, RecordsError};
use grower_protocol::ids::{LeaderEpoch, Offset, PartitionId, Timestamp, TopicId};
use grower_protocol::wire::{self, DecodeError, MESSAGE_BYTES_MAX};
use grower_storage::disk::{Disk, DiskError};
use grower_storage::log::{ChangeError, DiskLog, IndexFactory, Log, LogLocation, LogOptions, OpenError, ReadError};
use grower_storage::recovery::RecoveryReport;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The topic id in the log's files.
const LOG_ID: TopicId = TopicId::from_bytes(*b"grower metadata.");
/// Bytes read at once.
const READ_BYTES: usize = 1 << 20;

/// The reason why the metadata cannot be read. The broker must not start.
#[derive(Debug, thiserror::Error)]
pub enum MetadataOpenError {
    /// The disk failed.
    #[error("cannot read the metadata: {0}")]
    Disk(#[from] DiskError),
    /// The log cannot be opened.
    #[error("cannot open the metadata log: {0}")]
    Open(#[from] OpenError),
    /// The log cannot be read.
    #[error("metadata is damaged: {0}; {RESTORE}")]
    Read(#[from] ReadError),
    /// The log cannot be written.
    #[error("cannot continue the metadata log: {0}")]
    Change(#[from] ChangeError),
    /// A batch of the log is damaged.
    #[error("metadata is damaged after offset {after}: {source}; {RESTORE}")]
    Batch {
        /// The offset reached.
        after: Offset,
        /// The damage.
        source: BatchError,
    },
    /// A batch's records are damaged.
    #[error("metadata is damaged at offset {at}: {source}; {RESTORE}")]
    Records {
        /// The offset.
        at: Offset,
        /// The damage.
        source: RecordsError,
    },
    /// A record is not a command of this version.
    #[error("the metadata command at offset {at} cannot be read: {detail}; use a newer Grower, or {RESTORE}")]
    Command {
        /// Where.
        at: Offset,
        /// The problem.
        detail: String,
    },
    /// A stored command is refused.
    #[error("the metadata command at offset {at} is refused: {refusal}; {RESTORE}")]
    Refused {
        /// Where.
        at: Offset,
        /// The reason.
        refusal: MetadataRefusal,
    },
    /// The snapshot is unusable.
    #[error("cannot use {path}: {source}; {RESTORE}", path = path.display())]
    Snapshot {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: SnapshotError,
    },
    /// Commands are missing.
    #[error("the metadata log holds {found}..{end}, but command {wanted} is needed next; {RESTORE}")]
    Missing {
        /// The first command needed.
        wanted: u64,
        /// The first command in the log.
        found: u64,
        /// The log end.
        end: u64,
    },
    /// There are topics on disk, and no metadata.
    #[error("{dir} holds topics ({topics}), but there is no metadata; {RESTORE}", dir = dir.display())]
    Lost {
        /// The directory of the topics.
        dir: PathBuf,
        /// The number of its entries.
        topics: usize,
    },
}

const RESTORE: &str =
    "the broker does not start, since topics would be lost; restore the metadata directory from a copy";

pub(super) struct ReplayedMetadata {
    pub(super) image: Image,
    pub(super) snapshot_version: u64,
    pub(super) log: DiskLog,
    pub(super) epoch: LeaderEpoch,
}

pub(super) fn open(
    disk: &Arc<dyn Disk>,
    data_dir: &Path,
    now: Timestamp,
) -> Result<ReplayedMetadata, MetadataOpenError> {
    let dir = data_dir.join(DIR);
    let mut image = read_snapshot(&**disk, &dir.join(SNAPSHOT))?;
    let snapshot_version = image.version;
    let place =
        LogLocation { dir, topic_id: LOG_ID, partition: PartitionId::new(0), cut_dir: Some(data_dir.join("cut")) };
    let (mut log, report) = DiskLog::open(disk.clone(), place, options(), now)?;
    tell(&report);
    replay(&log, &mut image)?;
    if image.version == 0 {
        check_nothing_lost(&**disk, &data_dir.join("topics"))?;
    }
    let latest = log.reader().end_of_epoch(LeaderEpoch::new(u32::MAX));
    let epoch = latest.map(|latest| latest.epoch.next()).unwrap_or_default();
    log.begin_epoch(epoch)?;
    Ok(ReplayedMetadata { image, snapshot_version, log, epoch })
}

/// Each command has an index entry and is flushed alone, and old ones are dropped soon after a snapshot.
fn options() -> LogOptions {
    LogOptions {
        segment_bytes: 256 << 10,
        index: IndexFactory::sparse(0),
        index_flush_bytes: 0,
        preallocate_bytes: 0,
        ..LogOptions::default()
    }
}

fn tell(report: &RecoveryReport) {
    if let Some(cut) = &report.cut {
        let kept = cut.kept.as_ref().map(|path| path.display().to_string());
        tracing::warn!(bytes = cut.bytes, end = %cut.end, kept, "cut a torn tail off the metadata log");
    }
    for note in &report.notes {
        tracing::info!(note, "recovered the metadata log");
    }
}

fn read_snapshot(disk: &dyn Disk, path: &Path) -> Result<Image, MetadataOpenError> {
    let Some(bytes) = whole_file::read(disk, path)? else { return Ok(Image::default()) };
    snapshot::decode(&bytes).map_err(|source| MetadataOpenError::Snapshot { path: path.to_owned(), source })
}

/// Applies the commands after the image's version.
fn replay(log: &DiskLog, image: &mut Image) -> Result<(), MetadataOpenError> {
    let span = log.span();
    let (found, end) = (span.start.value(), span.end.value());
    if image.version < found || end < image.version {
        return Err(MetadataOpenError::Missing { wanted: image.version, found, end });
    }
    let mut at = Offset::new(image.version);
    while at < span.end {
        let slices = log.reader().read(at, READ_BYTES, span.end)?;
        let before = at;
        for slice in slices {
            at = apply_batches(slice.read()?, at, image)?;
        }
        if at == before {
            return Err(MetadataOpenError::Missing { wanted: at.value(), found: end, end });
        }
    }
    Ok(())
}

/// Applies whole batches from `at` on. Returns the offset after the last.
fn apply_batches(bytes: Bytes, mut at: Offset, image: &mut Image) -> Result<Offset, MetadataOpenError> {
    for batch in BatchReader::new(bytes) {
        let batch = batch.map_err(|source| MetadataOpenError::Batch { after: at, source })?;
        let records = batch.records(MESSAGE_BYTES_MAX).map_err(|source| MetadataOpenError::Records { at, source })?;
        for record in records {
            let record = record.map_err(|source| MetadataOpenError::Records { at, source })?;
            if at <= record.offset {
                apply(&record, image)?;
                at = record.offset.saturating_add(1);
            }
        }
    }
    Ok(at)
}

fn apply(record: &RecordView, image: &mut Image) -> Result<(), MetadataOpenError> {
    let at = record.offset;
    if at.value() != image.version {
        return Err(MetadataOpenError::Missing { wanted: image.version, found: at.value(), end: at.value() });
    }
    let unreadable = |detail: String| MetadataOpenError::Command { at, detail };
    let value = record.value.as_ref().ok_or_else(|| unreadable("it is empty".to_owned()))?;
    let command: Command = wire::decode(value).map_err(|error: DecodeError| unreadable(error.to_string()))?;
    image.apply(command).map(drop).map_err(|refusal| MetadataOpenError::Refused { at, refusal })
}

/// Checks that empty metadata is new: with topics on disk, it was lost.
fn check_nothing_lost(disk: &dyn Disk, dir: &Path) -> Result<(), MetadataOpenError> {
    match disk.list(dir) {
        Ok(entries) if entries.is_empty() => Ok(()),
        Ok(entries) => Err(MetadataOpenError::Lost { dir: dir.to_owned(), topics: entries.len() }),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error.into()),
    }
}
