//! The errors of a producer.

use super::RequestError;
use super::wording::{self, Cause};
use crate::record::TopicPartition;
use grower_protocol::ids::{NameError, PartitionCount, PartitionId, ProducerName, TopicName};
use grower_protocol::message::{ErrorCode, Outcome};
use std::sync::Arc;
use std::time::Duration;

/// The error of building a producer or sending a record.
///
/// The producer has already retried retriable errors, so [`ProduceError::outcome`] is what counts:
/// [`Outcome::Refused`] means that the record is not in the log and never will be, [`Outcome::Unknown`] that it may be.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProduceError {
    /// The topic name is invalid.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Settings of the producer exclude each other.
    #[error("cannot start a producer: {0}")]
    Settings(&'static str),
    /// The producer got no identity.
    #[error("cannot start a producer: {}", Cause(.0))]
    Start(#[source] RequestError),
    /// The topic could not be looked up.
    #[error("cannot look up topic {topic}: {}", Cause(source))]
    Topic {
        /// The topic.
        topic: TopicName,
        /// The reason.
        source: RequestError,
    },
    /// The topic has no partition with the record's partition number.
    #[error("topic {topic} has {}, counted from 0, and no partition {partition}", PartitionCount(*.partitions))]
    UnknownPartition {
        /// The topic.
        topic: TopicName,
        /// The requested partition.
        partition: PartitionId,
        /// The number of partitions.
        partitions: u32,
    },
    /// The record is larger than the producer's memory, or than a batch can be (1 GiB).
    #[error("a record of {bytes} bytes is over the producer's limit of {memory} bytes")]
    TooLarge {
        /// The record's size.
        bytes: usize,
        /// The producer's memory, or 1 GiB if that is less.
        memory: usize,
    },
    /// The broker refused the record, or a request failed and a retry does not help.
    #[error("{}", wording::failed(topic_partition, source, *.in_doubt))]
    Failed {
        /// The record's partition.
        topic_partition: TopicPartition,
        /// The reason.
        source: RequestError,
        /// Whether this or an earlier attempt may have been carried out.
        in_doubt: bool,
    },
    /// The record was not acknowledged within its time limit.
    #[error("{}", wording::timed_out(topic_partition, *.after, .last.as_deref(), *.in_doubt))]
    TimedOut {
        /// The record's partition.
        topic_partition: TopicPartition,
        /// The time limit: the delivery timeout, or that of the call.
        after: Duration,
        /// Whether an attempt may have been carried out. If not, the record is not in the log.
        in_doubt: bool,
        /// The last error before the timeout.
        last: Option<Box<RequestError>>,
    },
    /// Another record of the partition failed; see [`OnFailure::StopPartition`](crate::OnFailure::StopPartition). Call
    /// [`Producer::resume_partition`](crate::Producer::resume_partition) to continue.
    #[error(
        "{topic_partition}: stopped until the partition is resumed, because another record failed{}",
        wording::outcome(false)
    )]
    Stopped {
        /// The record's partition.
        topic_partition: TopicPartition,
        /// The failure of the other record.
        #[source]
        first: Arc<ProduceError>,
    },
    /// Another process has claimed the producer's identity, or it was deleted. The producer accepts no more records; to
    /// claim the identity again, build another producer.
    #[error("producer identity {identity}: {}{}", Cause(source), wording::outcome(*.in_doubt))]
    Fenced {
        /// The name.
        identity: ProducerName,
        /// The broker's reason.
        source: RequestError,
        /// Whether the record may have been written before.
        in_doubt: bool,
    },
    /// The producer was closed before it accepted the record.
    #[error("the producer is closed")]
    Closed,
    /// The runtime on which the producer was built ended before it accepted the record. Build another producer.
    #[error("the runtime on which the producer was built has ended: build another producer")]
    RuntimeEnded,
    /// The producer was dropped, or its runtime ended, before the record was acknowledged.
    #[error(
        "the producer was dropped, or its runtime ended, before the record was acknowledged; it may have been written"
    )]
    Dropped,
}

impl ProduceError {
    pub(crate) fn failed(topic_partition: &TopicPartition, source: &RequestError, in_doubt: bool) -> Self {
        Self::Failed { topic_partition: topic_partition.clone(), source: source.clone(), in_doubt }
    }

    pub(crate) fn timed_out(
        topic_partition: &TopicPartition,
        after: Duration,
        in_doubt: bool,
        last: Option<&RequestError>,
    ) -> Self {
        let last = last.cloned().map(Box::new);
        Self::TimedOut { topic_partition: topic_partition.clone(), after, in_doubt, last }
    }

    pub(crate) fn stopped(topic_partition: &TopicPartition, first: &Self) -> Self {
        Self::Stopped { topic_partition: topic_partition.clone(), first: Arc::new(first.clone()) }
    }

    /// Whether sending the same record again may succeed. If the outcome is unknown, that may write it twice.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Start(source) | Self::Topic { source, .. } | Self::Failed { source, .. } => source.is_retriable(),
            Self::TimedOut { .. } => true,
            Self::Name(_)
            | Self::Settings(_)
            | Self::UnknownPartition { .. }
            | Self::TooLarge { .. }
            | Self::Stopped { .. }
            | Self::Fenced { .. }
            | Self::Closed
            | Self::RuntimeEnded
            | Self::Dropped => false,
        }
    }

    /// Whether the record may be in the log despite the error.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Failed { in_doubt: true, .. }
            | Self::TimedOut { in_doubt: true, .. }
            | Self::Fenced { in_doubt: true, .. }
            | Self::Dropped => Outcome::Unknown,
            _ => Outcome::Refused,
        }
    }

    /// The broker's error code, if it sent one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Start(source) | Self::Topic { source, .. } | Self::Failed { source, .. } => source.code(),
            Self::Fenced { source, .. } => source.code(),
            Self::TimedOut { last, .. } => last.as_ref().and_then(|last| last.code()),
            _ => None,
        }
    }
}
