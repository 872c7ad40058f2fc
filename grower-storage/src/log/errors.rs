//! The errors of a log, one enum per kind of operation.

use crate::disk::DiskError;
use grower_protocol::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, ProducerIdentity, Sequence};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// The log takes no more changes. A sync failed, a failed write could not be undone, or the files are gone: the
/// content of the disk is unknown.
///
/// Nothing is retried. The process must end; the next opening finds out what the disk holds.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the log has failed and takes nothing more until it is opened again: {why}")]
pub struct LogFailed {
    /// The cause.
    pub why: Arc<str>,
    /// The log's files are no longer at their path. The disk may be sound, so other logs are served.
    pub files_gone: bool,
}

/// Why a batch was not appended. Nothing of it is in the log.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The batch does not follow the producer's last one: at least one is missing in between.
    #[error("producer {producer} sent sequence {found}, expected {expected}")]
    OutOfOrderSequence {
        /// The producer.
        producer: ProducerId,
        /// The sequence of its first record.
        found: Sequence,
        /// The expected sequence.
        expected: Sequence,
    },
    /// A newer epoch of the producer has begun, and the batch is none of its latest in the log.
    #[error("producer {producer} has epoch {current}, the batch came with {found}")]
    FencedProducer {
        /// The producer.
        producer: ProducerId,
        /// The batch's epoch.
        found: ProducerEpoch,
        /// The latest epoch.
        current: ProducerEpoch,
    },
    /// The log does not end where the batch expects it: another batch was appended.
    #[error("the log ends at offset {end}, the batch expects {expected}")]
    UnexpectedEnd {
        /// The end that the batch expects.
        expected: Offset,
        /// The log end offset.
        end: Offset,
    },
    /// A newer leader has begun an epoch.
    #[error("leader epoch {found} is over, the log is at {current}")]
    StaleEpoch {
        /// The epoch of the append.
        found: LeaderEpoch,
        /// The latest epoch.
        current: LeaderEpoch,
    },
    /// The partition has used up its offsets.
    #[error("no offsets are left after {end}")]
    NoOffsetsLeft {
        /// The log end offset.
        end: Offset,
    },
    /// The disk is full or refused the write; the log is unchanged. Retry after space was freed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The log has failed and must be opened again.
    #[error(transparent)]
    Failed(#[from] LogFailed),
}

/// Why an epoch of a producer was not begun.
#[derive(Debug, thiserror::Error)]
pub enum FenceError {
    /// A newer epoch of the producer has begun.
    #[error("producer {} has epoch {current}, the fence came with {}", producer.id, producer.epoch)]
    Fenced {
        /// The producer with the epoch to begin.
        producer: ProducerIdentity,
        /// The latest epoch.
        current: ProducerEpoch,
    },
    /// The log has failed and must be opened again.
    #[error(transparent)]
    Failed(#[from] LogFailed),
}

/// Why a read failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// Before the log start or after the log end.
    #[error("offset {requested} is outside {log_start}..{log_end}")]
    OffsetOutOfRange {
        /// The offset asked for.
        requested: Offset,
        /// The log start offset.
        log_start: Offset,
        /// The log end offset.
        log_end: Offset,
    },
    /// These offsets are damaged; all others can be read.
    #[error("offsets {}..{} of {} are damaged: {reason}", offsets.start, offsets.end, path.display())]
    Corrupt {
        /// Exactly the damaged range.
        offsets: Range<Offset>,
        /// The segment file.
        path: PathBuf,
        /// The reason.
        reason: Arc<str>,
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

/// Why a log was not truncated, trimmed or checkpointed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The offset is not in the log.
    #[error("offset {requested} is outside {log_start}..{log_end}")]
    OffsetOutOfRange {
        /// The offset asked for.
        requested: Offset,
        /// The log start offset.
        log_start: Offset,
        /// The log end offset.
        log_end: Offset,
    },
    /// A newer leader has begun an epoch.
    #[error("leader epoch {found} is over, the log is at {current}")]
    StaleEpoch {
        /// The epoch to begin.
        found: LeaderEpoch,
        /// The latest epoch.
        current: LeaderEpoch,
    },
    /// The disk refused; retry.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The log has failed and must be opened again.
    #[error(transparent)]
    Failed(#[from] LogFailed),
}

impl From<ChangeError> for AppendError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Disk(error) => Self::Disk(error),
            ChangeError::Failed(failed) => Self::Failed(failed),
            ChangeError::StaleEpoch { found, current } => Self::StaleEpoch { found, current },
            ChangeError::OffsetOutOfRange { log_end, .. } => Self::NoOffsetsLeft { end: log_end },
        }
    }
}
