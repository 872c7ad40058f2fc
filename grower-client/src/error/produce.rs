//! Why a record was not acknowledged.

use super::RequestError;
use super::request::At;
use crate::record::TopicPartition;
use grower_protocol::ids::{NameError, PartitionCount, PartitionId, TopicName};
use grower_protocol::message::{ErrorCode, Outcome};
use std::fmt;
use std::time::Duration;

/// Why a producer could not be built, or a record was not acknowledged.
///
/// The producer has retried whatever a retry can help, so [`ProduceError::outcome`] is what counts:
/// [`Outcome::Refused`] means the record is not in the log and never will be, [`Outcome::Unknown`] that it may be.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProduceError {
    /// A topic name that cannot be.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The broker could not be asked for a producer id.
    #[error("cannot start a producer: {0}")]
    Start(#[source] RequestError),
    /// The topic could not be looked up.
    #[error("cannot look up topic {topic}: {source}")]
    Topic {
        /// Its name.
        topic: TopicName,
        /// Why.
        source: RequestError,
    },
    /// The topic has fewer partitions than the record's number.
    #[error("topic {topic} has {}, counted from 0, and no partition {partition}", PartitionCount(*.partitions))]
    UnknownPartition {
        /// Its name.
        topic: TopicName,
        /// The number asked for.
        partition: PartitionId,
        /// How many there are.
        partitions: u32,
    },
    /// The record alone is larger than all of the producer's memory.
    #[error("a record of {bytes} bytes does not fit the producer's memory of {memory} bytes")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The producer's limit.
        memory: usize,
    },
    /// The broker refused it, or a request ended in a way that a retry does not help.
    #[error("{}{}", At(topic_partition, source), Doubt(*.in_doubt))]
    Failed {
        /// Where it should have gone.
        topic_partition: TopicPartition,
        /// Why.
        source: RequestError,
        /// Whether an attempt, this or an earlier one, may have been carried out.
        in_doubt: bool,
    },
    /// It was not acknowledged within the delivery timeout.
    #[error("{topic_partition}: not acknowledged within {after:?}{}{}", Last(.last.as_deref()), Doubt(*.in_doubt))]
    TimedOut {
        /// Where it should have gone.
        topic_partition: TopicPartition,
        /// The delivery timeout.
        after: Duration,
        /// Whether an attempt may have been carried out; if not, it never left this process.
        in_doubt: bool,
        /// What went wrong last.
        last: Option<Box<RequestError>>,
    },
    /// The producer was closed before the record was handed in.
    #[error("the producer is closed")]
    Closed,
    /// The producer was dropped before the record was acknowledged.
    #[error("the producer was dropped before the record was acknowledged; it may have been written")]
    Dropped,
}

impl ProduceError {
    /// Whether handing in the same record again may succeed without anybody changing anything. If the outcome is
    /// unknown, that may write it twice.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Start(source) | Self::Topic { source, .. } | Self::Failed { source, .. } => source.is_retriable(),
            Self::TimedOut { .. } => true,
            Self::Name(_) | Self::UnknownPartition { .. } | Self::TooLarge { .. } | Self::Closed | Self::Dropped => {
                false
            }
        }
    }

    /// Whether the record may be in the log all the same.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Failed { in_doubt: true, .. } | Self::TimedOut { in_doubt: true, .. } | Self::Dropped => {
                Outcome::Unknown
            }
            _ => Outcome::Refused,
        }
    }

    /// The broker's reason, if it gave one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Start(source) | Self::Topic { source, .. } | Self::Failed { source, .. } => source.code(),
            Self::TimedOut { last, .. } => last.as_ref().and_then(|last| last.code()),
            _ => None,
        }
    }
}

struct Doubt(bool);

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0 { "; it may have been written" } else { "; it was not written" })
    }
}

struct Last<'a>(Option<&'a RequestError>);

impl fmt::Display for Last<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |last| write!(f, " ({last})"))
    }
}
