//! The errors that a broker returns.

use serde::{Deserialize, Serialize};
use std::fmt;

/// An error: a code for programs and an explanation for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{detail}")]
pub struct Failure {
    /// The code, for programs.
    pub code: ErrorCode,
    /// The explanation, for people: the cause and the remedy.
    pub detail: String,
}

/// The effect of a failed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The request has not taken effect and never will.
    Refused,
    /// The request may have taken effect, or may still do so.
    Unknown,
}

/// The kind of an error. [`ErrorCode::is_retriable`] and [`ErrorCode::outcome`] tell a client how to react.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ErrorCode {
    /// The broker has a defect; its log has the details.
    Internal,
    /// The request cannot be decoded or contradicts itself.
    InvalidRequest,
    /// The broker does not know this kind of request.
    Unsupported,
    /// The broker is stopping.
    ShuttingDown,
    /// The broker still loads data that the request needs, or lacks a resource for a moment, such as file descriptors.
    NotReady,
    /// The request was not complete within its timeout.
    TimedOut,
    /// The request passes a limit of the broker.
    LimitReached,
    /// No topic has this name.
    UnknownTopic,
    /// No topic has this id: it was deleted, and maybe created again under another id.
    UnknownTopicId,
    /// The topic has no such partition.
    UnknownPartition,
    /// The topic already exists.
    TopicExists,
    /// The name is not allowed, or collides with another.
    InvalidName,
    /// The number of partitions is not allowed.
    InvalidPartitions,
    /// The number of replicas is 0, or larger than the number of brokers.
    InvalidReplicationFactor,
    /// The config key is unknown, or does not accept the value.
    InvalidConfig,
    /// Another broker leads the partition.
    NotLeader,
    /// The client's leader epoch is older than the broker's.
    FencedLeaderEpoch,
    /// The client's leader epoch is newer than the broker's.
    UnknownLeaderEpoch,
    /// The batch was damaged in transit.
    CorruptBatch,
    /// The batch breaks a rule of the topic or the format.
    InvalidRecord,
    /// The batch passes the size limit of its topic.
    TooLarge,
    /// A timestamp is too far in the future.
    InvalidTimestamp,
    /// An earlier batch of the producer is missing.
    OutOfOrderSequence,
    /// A newer incarnation of the producer exists, or its id was never allocated.
    FencedProducer,
    /// Too little disk space is left for writes; reads still work.
    DiskFull,
    /// The log directory has failed: no write is possible before the broker restarts.
    StorageFailed,
    /// The offset is before the log start or after the log end.
    OffsetOutOfRange,
    /// The bytes at this offset are damaged on disk.
    CorruptLog,
    /// No group has this id.
    UnknownGroup,
    /// The group has members.
    GroupNotEmpty,
    /// The group does not know the member: it must join again.
    UnknownMember,
    /// The member's epoch is not the current one: it must release all partitions and join again.
    FencedMember,
    /// The partition is not assigned to the member.
    NotAssigned,
    /// The broker is at its connection limit: a retry may succeed after another connection closes.
    TooManyConnections,
    /// The partition is offline: its files need a repair before they can be opened. Other partitions are served.
    PartitionOffline,
    /// Another process has the member's instance name: the member must release all partitions and leave for good.
    FencedInstance,
    /// The broker's settings forbid the request.
    NotAllowed,
    /// The backup failed; existing backups are unchanged.
    BackupFailed,
    /// The groups use all memory that they may: a retry may succeed after some of it is released.
    MemoryFull,
}

impl ErrorCode {
    /// Whether the same request may succeed later.
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

    /// Whether the request may have taken effect despite the error.
    pub const fn outcome(self) -> Outcome {
        match self {
            Self::Internal | Self::TimedOut | Self::StorageFailed | Self::ShuttingDown => Outcome::Unknown,
            _ => Outcome::Refused,
        }
    }
}

impl Failure {
    /// Returns a failure with this code and explanation.
    pub fn new(code: ErrorCode, detail: impl fmt::Display) -> Self {
        Self { code, detail: detail.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_error_is_refused_and_never_retriable() {
        for code in [ErrorCode::TooLarge, ErrorCode::UnknownTopic, ErrorCode::OutOfOrderSequence] {
            assert!(!code.is_retriable());
            assert_eq!(code.outcome(), Outcome::Refused);
        }
    }
}
