//! The error of a commit.

use super::{RequestError, wording};
use crate::record::TopicPartition;
use grower_protocol::ids::Offset;
use grower_protocol::message::{ErrorCode, Outcome};
use std::fmt;

/// The partitions with offsets that were not committed; never empty. All others of the same call were committed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CommitError {
    /// The partitions, each with its reason.
    pub partitions: Vec<NotCommitted>,
}

/// An offset that was not committed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NotCommitted {
    /// The partition.
    pub topic_partition: TopicPartition,
    /// The offset: the next one to read.
    pub offset: Offset,
    /// The reason.
    pub source: RequestError,
}

impl CommitError {
    /// Whether the same commit may succeed later.
    pub fn is_retriable(&self) -> bool {
        self.partitions.iter().all(|failed| failed.source.is_retriable())
    }

    /// Whether any of these offsets may have been committed despite the error.
    pub fn outcome(&self) -> Outcome {
        let in_doubt = self.partitions.iter().any(|failed| failed.source.outcome() == Outcome::Unknown);
        if in_doubt { Outcome::Unknown } else { Outcome::Refused }
    }

    /// The broker's first error code, if it sent one.
    pub fn code(&self) -> Option<ErrorCode> {
        self.partitions.iter().find_map(|failed| failed.source.code())
    }
}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 3;
        for (at, failed) in self.partitions.iter().take(SHOWN).enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            let NotCommitted { topic_partition, offset, source } = failed;
            write!(f, "{separator}{}", wording::not_committed(topic_partition, *offset, source))?;
        }
        match self.partitions.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "; and {more} more partitions"),
        }
    }
}

impl std::error::Error for CommitError {}
