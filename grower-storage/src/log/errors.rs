//! What can go wrong with a log, one enum per kind of operation.

use crate::disk::DiskError;
use grower_protocol::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// A sync failed, or a failed write could not be undone: nobody knows what the disk holds. Or the log's files are gone.
///
/// Nothing is retried. The process must end; opening the log again finds out what is really there.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the log has failed and takes nothing more until it is opened again: {why}")]
pub struct LogFailed {
    /// The error that did it.
    pub why: Arc<str>,
    /// The log's files are no longer where they were: that says nothing of the disk, so other logs are served.
    pub files_gone: bool,
}

/// Why a batch was not appended. Nothing of it is in the log.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The batch does not follow the producer's last one: one in between is missing.
    #[error("producer {producer} sent sequence {found}, expected {expected}")]
    OutOfOrderSequence {
        /// Who sent it.
        producer: ProducerId,
        /// The sequence of its first record.
        found: Sequence,
        /// The one that would follow.
        expected: Sequence,
    },
    /// A newer incarnation of the producer has been here.
    #[error("producer {producer} has epoch {current}, the batch came with {found}")]
    FencedProducer {
        /// Who sent it.
        producer: ProducerId,
        /// The batch's epoch.
        found: ProducerEpoch,
        /// The latest one seen.
        current: ProducerEpoch,
    },
    /// A newer leader has been here.
    #[error("leader epoch {found} is over, the log is at {current}")]
    StaleEpoch {
        /// The epoch of the append.
        found: LeaderEpoch,
        /// The latest one begun.
        current: LeaderEpoch,
    },
    /// The partition has used up its offsets.
    #[error("no offsets are left after {end}")]
    NoOffsetsLeft {
        /// The log end offset.
        end: Offset,
    },
    /// The disk is full or refused the write; the log is as it was before. Retry after space was freed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The log is out of order until it is opened again.
    #[error(transparent)]
    Failed(#[from] LogFailed),
}

/// Why nothing could be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// Before the log start or after the log end.
    #[error("offset {requested} is outside {log_start}..{log_end}")]
    OffsetOutOfRange {
        /// What was asked for.
        requested: Offset,
        /// The log start offset.
        log_start: Offset,
        /// The log end offset.
        log_end: Offset,
    },
    /// These offsets are lost to damage; all others can be read.
    #[error("offsets {}..{} of {} are damaged: {what}", offsets.start, offsets.end, path.display())]
    Corrupt {
        /// Exactly the damaged range.
        offsets: Range<Offset>,
        /// The segment file.
        path: PathBuf,
        /// What was found.
        what: Arc<str>,
    },
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] Arc<DiskError>),
}

impl From<DiskError> for ReadError {
    fn from(error: DiskError) -> Self {
        Self::Disk(Arc::new(error))
    }
}

/// Why a log was not truncated, trimmed or written down.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The offset is not in the log.
    #[error("offset {requested} is outside {log_start}..{log_end}")]
    OffsetOutOfRange {
        /// What was asked for.
        requested: Offset,
        /// The log start offset.
        log_start: Offset,
        /// The log end offset.
        log_end: Offset,
    },
    /// A newer leader has been here.
    #[error("leader epoch {found} is over, the log is at {current}")]
    StaleEpoch {
        /// The epoch to begin.
        found: LeaderEpoch,
        /// The latest one begun.
        current: LeaderEpoch,
    },
    /// The disk refused; the operation may be tried again.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The log is out of order until it is opened again.
    #[error(transparent)]
    Failed(#[from] LogFailed),
}
