//! The error of a conditional append.

use super::{ProduceError, RequestError};
use grower_protocol::ids::Offset;
use grower_protocol::message::{ErrorCode, FailureContext, Outcome};

/// The error of [`Producer::append_at`](crate::Producer::append_at). Either all records are written, or none.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendAtError {
    /// The partition does not end at the expected offset: other records were written, or it is not that long. No record
    /// of this call was written.
    #[error("the partition ends at {actual}, not at {expected}; nothing was written")]
    UnexpectedEnd {
        /// The expected end.
        expected: Offset,
        /// The end of the partition.
        actual: Offset,
    },
    /// There is no record to append.
    #[error("there is no record to append")]
    NoRecords,
    /// A record names another topic or partition.
    #[error("record {index} names another topic or partition; nothing was written")]
    OtherPartition {
        /// The record, counted from 0.
        index: usize,
    },
    /// A producer with acks `none` never learns whether its records were appended.
    #[error("with acks none a producer cannot append at an expected end: build it with acks leader or all")]
    NoAcks,
    /// The records could not be produced, for another reason.
    #[error(transparent)]
    Produce(#[from] ProduceError),
}

impl AppendAtError {
    /// Whether the records may be in the log despite the error.
    pub fn outcome(&self) -> Outcome {
        if let Self::Produce(error) = self { error.outcome() } else { Outcome::Refused }
    }

    /// Whether the same call may succeed later. If the outcome is unknown, look first: the records may be in the log.
    pub fn is_retriable(&self) -> bool {
        if let Self::Produce(error) = self { error.is_retriable() } else { false }
    }

    /// The broker's error code, if it sent one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::UnexpectedEnd { .. } => Some(ErrorCode::UnexpectedEnd),
            Self::Produce(error) => error.code(),
            Self::NoRecords | Self::OtherPartition { .. } | Self::NoAcks => None,
        }
    }

    /// The error of records that were to be appended at `expected`.
    pub(crate) fn at(expected: Offset, error: ProduceError) -> Self {
        match &error {
            ProduceError::Failed { source, in_doubt: false, .. } => match actual_end(source) {
                Some(actual) => Self::UnexpectedEnd { expected, actual },
                None => Self::Produce(error),
            },
            _ => Self::Produce(error),
        }
    }
}

/// The end of the partition, if the broker refused a batch because of it.
pub(crate) fn actual_end(error: &RequestError) -> Option<Offset> {
    match error {
        RequestError::Failed(failure) if failure.code == ErrorCode::UnexpectedEnd => match failure.context {
            Some(FailureContext::LogEnd(end)) => Some(end),
            _ => None,
        },
        _ => None,
    }
}
