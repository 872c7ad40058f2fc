//! How a broker says no.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Why something was not done, for programs and for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{detail}")]
pub struct Failure {
    /// For programs.
    pub code: ErrorCode,
    /// For people: what happened and what to do.
    pub detail: String,
}

/// What a client may conclude about a request that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was not done and never will be.
    Refused,
    /// It may have been done, or may still be done.
    Unknown,
}

/// The reasons. [`ErrorCode::is_retriable`] and [`ErrorCode::outcome`] say what they mean to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ErrorCode {
    /// A defect of the broker; its log says more.
    Internal,
    /// A message that cannot be decoded or contradicts itself.
    InvalidRequest,
    /// A request that this broker does not know.
    Unsupported,
    /// The broker is stopping.
    ShuttingDown,
    /// Still loading what the request needs, or short of something for a moment, such as file descriptors.
    NotReady,
    /// Not done in the time given.
    TimedOut,
    /// More than the broker's limits allow.
    LimitReached,
    /// No topic of that name.
    UnknownTopic,
    /// No topic of that id: deleted, or deleted and created again.
    UnknownTopicId,
    /// The topic has no such partition.
    UnknownPartition,
    /// The topic is there already.
    TopicExists,
    /// A name that is not allowed or collides with another.
    InvalidName,
    /// A number of partitions that cannot be.
    InvalidPartitions,
    /// More replicas than brokers, or none.
    InvalidReplicationFactor,
    /// An unknown config key or a value it does not take.
    InvalidConfig,
    /// Another broker leads the partition.
    NotLeader,
    /// The client's leader epoch is too old.
    FencedLeaderEpoch,
    /// The client's leader epoch is newer than the broker's.
    UnknownLeaderEpoch,
    /// The batch was damaged on its way.
    CorruptBatch,
    /// The batch breaks a rule.
    InvalidRecord,
    /// The batch is too large.
    TooLarge,
    /// A timestamp too far ahead.
    InvalidTimestamp,
    /// A batch of this producer is missing before this one.
    OutOfOrderSequence,
    /// A newer incarnation of the producer is at work, or its id was never given out.
    FencedProducer,
    /// Too little disk space is left; reads go on.
    DiskFull,
    /// The log cannot be written any more: the broker must restart.
    StorageFailed,
    /// An offset before the log's start or after its end.
    OffsetOutOfRange,
    /// The bytes at that offset are damaged on disk.
    CorruptLog,
    /// No group of that id.
    UnknownGroup,
    /// The group has members.
    GroupNotEmpty,
    /// The group does not know the member: join again.
    UnknownMember,
    /// The member's epoch is not the group's: give up all partitions and join again.
    FencedMember,
    /// The partition is assigned to somebody else.
    NotAssigned,
    /// The broker serves as many connections as it may: there will be room when others close.
    TooManyConnections,
    /// The partition's files cannot be opened as they are; somebody must look at them. The others are served.
    PartitionShut,
    /// Another process has the member's instance name: give up all partitions, leave, and do not come back.
    FencedInstance,
    /// The broker's settings do not allow it.
    NotAllowed,
    /// No backup was made; those that were there are as they were.
    BackupFailed,
    /// What may be remembered of groups is used up: there will be room when some of it is forgotten.
    MemoryFull,
}

impl ErrorCode {
    /// Whether the same request may succeed later without anybody changing it.
    pub const fn is_retriable(self) -> bool {
        use ErrorCode as E;
        matches!(
            self,
            E::ShuttingDown
                | E::NotReady
                | E::TimedOut
                | E::NotLeader
                | E::FencedLeaderEpoch
                | E::UnknownLeaderEpoch
                | E::CorruptBatch
                | E::DiskFull
                | E::UnknownTopicId
                | E::TooManyConnections
                | E::MemoryFull
        )
    }

    /// Whether the request may have taken effect all the same.
    pub const fn outcome(self) -> Outcome {
        match self {
            Self::Internal | Self::TimedOut | Self::StorageFailed | Self::ShuttingDown => Outcome::Unknown,
            _ => Outcome::Refused,
        }
    }
}

impl Failure {
    /// A failure with its explanation.
    pub fn new(code: ErrorCode, detail: impl fmt::Display) -> Self {
        Self { code, detail: detail.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_error_is_neither_retried_nor_in_doubt() {
        for code in [ErrorCode::TooLarge, ErrorCode::UnknownTopic, ErrorCode::OutOfOrderSequence] {
            assert!(!code.is_retriable());
            assert_eq!(code.outcome(), Outcome::Refused);
        }
    }
}
