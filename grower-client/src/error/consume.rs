//! The errors of a consumer.

use super::wording::{Cause, not_read};
use super::{CommitError, RequestError};
use crate::gap::Gap;
use crate::record::TopicPartition;
use grower_protocol::ids::{GroupId, NameError, Offset, TopicName};
use grower_protocol::message::{ErrorCode, Outcome};
use std::ops::Range;
use std::time::Duration;

/// The error of building or using a consumer.
///
/// The consumer retries retriable errors (an unreachable broker, a moved leader) silently. An error about one partition
/// does not stop the others, and the consumer retries that partition after a second: the next call may always follow.
/// An offline partition ([`ErrorCode::PartitionOffline`]) is reported once until it is served again.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConsumeError {
    /// A name is invalid.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Settings contradict each other.
    #[error("{0}")]
    Settings(&'static str),
    /// A topic could not be looked up.
    #[error("cannot read topic {topic}: {}", Cause(source))]
    Topic {
        /// The topic.
        topic: TopicName,
        /// The reason.
        source: RequestError,
    },
    /// The start offsets could not be determined.
    #[error("cannot find out where to start: {}", Cause(.0))]
    Start(#[source] RequestError),
    /// The group does not accept this member.
    #[error("group {group}: {}", Cause(source))]
    Group {
        /// The group.
        group: GroupId,
        /// The reason.
        source: RequestError,
    },
    /// The group was not told that this member leaves. The consumer is closed.
    #[error(
        "group {group}: the broker was not told that this member leaves, so its partitions move after the session timeout of {session_timeout:?}: {}",
        Cause(source)
    )]
    NotLeft {
        /// The group.
        group: GroupId,
        /// The session timeout: the group gives the partitions to others after it.
        session_timeout: Duration,
        /// The reason.
        source: RequestError,
    },
    /// The partition is not assigned to this consumer.
    #[error("{topic_partition} is not assigned to this consumer")]
    NotAssigned {
        /// The partition.
        topic_partition: TopicPartition,
    },
    /// Records are damaged: on the broker's disk, or repeatedly on the way here.
    #[error("{topic_partition}: offsets {}..{} are damaged: {reason}", offsets.start, offsets.end)]
    Damaged {
        /// The partition.
        topic_partition: TopicPartition,
        /// The damaged offsets, the end exclusive. To continue, seek to the end or build the consumer with
        /// `OnDamage::Skip`.
        offsets: Range<Offset>,
        /// The defect.
        reason: String,
    },
    /// The position is outside the log: its records are gone or never existed.
    #[error(
        "{topic_partition}: offset {requested} is outside the log, which has {log_start}..{high_watermark}: seek to continue"
    )]
    OffsetOutOfRange {
        /// The partition.
        topic_partition: TopicPartition,
        /// The position.
        requested: Offset,
        /// The first offset of the log.
        log_start: Offset,
        /// The first offset that is not committed.
        high_watermark: Offset,
    },
    /// Reading a partition failed, and a retry does not help.
    #[error("{}", not_read(topic_partition, source))]
    Failed {
        /// The partition.
        topic_partition: TopicPartition,
        /// The reason.
        source: RequestError,
    },
    /// Records are gone, and the rule of [`ConsumerBuilder::on_gap`](crate::ConsumerBuilder::on_gap) asked for this
    /// error. The next call continues behind the gap.
    #[error("{0}")]
    Gap(Gap),
    /// Some offsets were not committed.
    #[error("cannot commit: {0}")]
    Commit(#[source] CommitError),
    /// The runtime on which the consumer was built has ended. Build another consumer.
    #[error("the runtime on which the consumer was built has ended: build another consumer")]
    RuntimeEnded,
    /// A background task of the consumer panicked, for example in the callback of
    /// [`ConsumerBuilder::on_rebalance`](crate::ConsumerBuilder::on_rebalance). Build another consumer.
    #[error("a background task of the consumer, or its callback, panicked: build another consumer")]
    Panicked,
    /// The consumer is closed.
    #[error("the consumer is closed")]
    Closed,
}

impl ConsumeError {
    /// Whether the same call may succeed later.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Commit(source) => source.is_retriable(),
            _ => self.source_request().is_some_and(RequestError::is_retriable),
        }
    }

    /// Whether the call may have taken effect despite the error. Only commits and leaving a group have an effect.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Commit(source) => source.outcome(),
            Self::NotLeft { source, .. } => source.outcome(),
            _ => Outcome::Refused,
        }
    }

    /// The broker's error code, if it sent one.
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
            Self::Topic { source, .. }
            | Self::Group { source, .. }
            | Self::NotLeft { source, .. }
            | Self::Failed { source, .. } => Some(source),
            Self::Start(source) => Some(source),
            _ => None,
        }
    }
}
