//! Why records cannot be read, or offsets not be committed.

use super::request::At;
use super::{CommitError, RequestError};
use crate::consumer::Gap;
use crate::record::TopicPartition;
use grower_protocol::ids::{GroupId, NameError, Offset, TopicName};
use grower_protocol::message::{ErrorCode, Outcome};
use std::ops::Range;

/// Why a consumer could not be built or could not do what it was asked.
///
/// What a retry helps against (a broker that is away, a leader that moved) is retried silently. An error about one
/// partition does not stop the others, and that partition is tried again after a second: reading on is always allowed. Of a
/// partition that is offline ([`ErrorCode::PartitionShut`]) the reader is told once, until it is served again.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConsumeError {
    /// A name that cannot be.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Settings that contradict each other.
    #[error("{0}")]
    Settings(&'static str),
    /// A topic could not be looked up.
    #[error("cannot read topic {topic}: {source}")]
    Topic {
        /// Its name.
        topic: TopicName,
        /// Why.
        source: RequestError,
    },
    /// The first offsets to read could not be found out.
    #[error("cannot find out where to start: {0}")]
    Start(#[source] RequestError),
    /// The group does not take this member.
    #[error("group {group}: {source}")]
    Group {
        /// The group.
        group: GroupId,
        /// Why.
        source: RequestError,
    },
    /// The partition is not this consumer's, or no longer.
    #[error("{topic_partition} is not assigned to this consumer")]
    NotAssigned {
        /// Which.
        topic_partition: TopicPartition,
    },
    /// These offsets are damaged: on the broker's disk, or each time on the way here.
    #[error("{topic_partition}: offsets {}..{} are damaged: {reason}", offsets.start, offsets.end)]
    Damaged {
        /// Where.
        topic_partition: TopicPartition,
        /// From where to where, the end exclusive. Seek there, or build the consumer with `OnDamage::Skip`, to go on.
        offsets: Range<Offset>,
        /// What is wrong.
        reason: String,
    },
    /// The position is behind the end of the log: records that were there are not any more, or never were.
    #[error(
        "{topic_partition}: offset {requested} is outside the log, which has {log_start}..{high_watermark}: seek to go on"
    )]
    OffsetOutOfRange {
        /// Where.
        topic_partition: TopicPartition,
        /// The position.
        requested: Offset,
        /// The first offset there is.
        log_start: Offset,
        /// The first offset not committed yet.
        high_watermark: Offset,
    },
    /// Reading a partition failed in a way that a retry does not help.
    #[error("{}", At(topic_partition, source))]
    Failed {
        /// Where.
        topic_partition: TopicPartition,
        /// Why.
        source: RequestError,
    },
    /// Records are gone that the consumer had not read; [`ConsumerBuilder::on_gap`](crate::ConsumerBuilder::on_gap) asked
    /// for this error. The next call reads on behind them.
    #[error("{0}")]
    Gap(Gap),
    /// Offsets were not committed.
    #[error("offsets were not committed: {0}")]
    Commit(#[source] CommitError),
    /// The consumer is closed.
    #[error("the consumer is closed")]
    Closed,
}

impl ConsumeError {
    /// Whether the same call may succeed later without anybody changing anything.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Commit(source) => source.is_retriable(),
            _ => self.source_request().is_some_and(RequestError::is_retriable),
        }
    }

    /// Whether it may have taken effect all the same. Only commits have an effect.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Commit(source) => source.outcome(),
            _ => Outcome::Refused,
        }
    }

    /// The broker's reason, if it gave one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Commit(source) => source.code(),
            Self::OffsetOutOfRange { .. } => Some(ErrorCode::OffsetOutOfRange),
            Self::Damaged { .. } => Some(ErrorCode::CorruptLog),
            _ => self.source_request().and_then(RequestError::code),
        }
    }

    fn source_request(&self) -> Option<&RequestError> {
        match self {
            Self::Topic { source, .. } | Self::Group { source, .. } | Self::Failed { source, .. } => Some(source),
            Self::Start(source) => Some(source),
            _ => None,
        }
    }
}
