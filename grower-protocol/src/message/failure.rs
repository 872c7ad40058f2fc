//! The errors that a broker returns.

use crate::batch::RefusedRecords;
use crate::ids::Offset;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Range;

/// An error: a code for programs and an explanation for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{detail}")]
pub struct Failure {
    /// The code, for programs.
    pub code: ErrorCode,
    /// The explanation, for people: the cause and the remedy.
    pub detail: String,
    /// The facts that a program needs to continue, if the code is not enough.
    pub context: Option<FailureContext>,
}

/// The facts that a program needs to continue after a failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureContext {
    /// The records of the batch that break the same rule, counted from 0, as ranges in order. The first
    /// [`FailureContext::RANGES_MAX`] ranges are named. The batch without them may be accepted.
    Records(Vec<RecordRange>),
    /// The log end offset of the partition.
    LogEnd(Offset),
}

/// Consecutive records of a batch, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordRange {
    /// The first record.
    pub first: u32,
    /// The number of records, at least 1.
    pub count: u32,
}

impl FailureContext {
    /// The most ranges of records that one failure names.
    pub const RANGES_MAX: usize = RefusedRecords::RANGES_MAX;

    /// Names the refused records of a batch.
    pub fn of_records(records: &RefusedRecords) -> Self {
        let range = |range: &Range<u32>| RecordRange { first: range.start, count: range.end - range.start };
        Self::Records(records.ranges().iter().map(range).collect())
    }
}

/// The effect of a failed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The request has not taken effect and never will.
    Refused,
    /// The request may have taken effect, or may still do so.
    Unknown,
}

/// Defines the error codes. A row gives `number => Name: retry, outcome`: the number on the wire, whether the same
/// request may succeed later (`retriable`) or not (`final`), and the [`Outcome`] of the failed request.
macro_rules! error_codes {
    ($($(#[$doc:meta])* $number:literal => $name:ident: $retry:ident, $outcome:ident;)*) => {
        /// The kind of an error. [`ErrorCode::is_retriable`] and [`ErrorCode::outcome`] tell a client how to react.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(from = "u16", into = "u16")]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
            /// A code of a later broker, by its number. The failure's text explains it.
            Unrecognised(u16),
        }

        impl ErrorCode {
            /// All codes that this build knows, sorted by number.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Whether the same request may succeed later.
            pub const fn is_retriable(self) -> bool {
                match self {
                    $(Self::$name => error_codes!(@is_retriable $retry),)*
                    Self::Unrecognised(_) => false,
                }
            }

            /// Whether the request may have taken effect despite the error.
            pub const fn outcome(self) -> Outcome {
                match self {
                    $(Self::$name => Outcome::$outcome,)*
                    Self::Unrecognised(_) => Outcome::Unknown,
                }
            }
        }

        impl From<u16> for ErrorCode {
            fn from(number: u16) -> Self {
                match number {
                    $($number => Self::$name,)*
                    later => Self::Unrecognised(later),
                }
            }
        }

        impl From<ErrorCode> for u16 {
            fn from(code: ErrorCode) -> Self {
                match code {
                    $(ErrorCode::$name => $number,)*
                    ErrorCode::Unrecognised(number) => number,
                }
            }
        }
    };
    (@is_retriable retriable) => { true };
    (@is_retriable final) => { false };
}

// A released row keeps its number. A client that does not know a code fails the request with its text.
error_codes! {
    /// The broker has a defect; its log has the details.
    0 => Internal: final, Unknown;
    /// The request cannot be decoded or contradicts itself.
    1 => InvalidRequest: final, Refused;
    /// The broker does not know this kind of request.
    2 => Unsupported: final, Refused;
    /// The broker is stopping.
    3 => ShuttingDown: retriable, Unknown;
    /// The broker still loads data that the request needs, or lacks a resource for a moment, such as file descriptors.
    4 => NotReady: retriable, Refused;
    /// The request was not complete within its timeout.
    5 => TimedOut: retriable, Unknown;
    /// The request passes a limit of the broker.
    6 => LimitReached: final, Refused;
    /// No topic has this name.
    7 => UnknownTopic: final, Refused;
    /// No topic has this id: it was deleted, and maybe created again under another id.
    8 => UnknownTopicId: retriable, Refused;
    /// The topic has no such partition.
    9 => UnknownPartition: final, Refused;
    /// The topic already exists.
    10 => TopicExists: final, Refused;
    /// The name is not allowed, or collides with another.
    11 => InvalidName: final, Refused;
    /// The number of partitions is not allowed.
    12 => InvalidPartitions: final, Refused;
    /// The number of replicas is 0, or larger than the number of brokers.
    13 => InvalidReplicationFactor: final, Refused;
    /// The config key is unknown, or does not accept the value.
    14 => InvalidConfig: final, Refused;
    /// Another broker leads the partition.
    15 => NotLeader: retriable, Refused;
    /// The client's leader epoch is older than the broker's.
    16 => FencedLeaderEpoch: retriable, Refused;
    /// The client's leader epoch is newer than the broker's.
    17 => UnknownLeaderEpoch: retriable, Refused;
    /// The batch was damaged in transit.
    18 => CorruptBatch: retriable, Refused;
    /// The batch breaks a rule of the topic or the format.
    19 => InvalidRecord: final, Refused;
    /// The batch passes the size limit of its topic.
    20 => TooLarge: final, Refused;
    /// A timestamp is too far in the future.
    21 => InvalidTimestamp: final, Refused;
    /// An earlier batch of the producer is missing.
    22 => OutOfOrderSequence: final, Refused;
    /// A newer incarnation of the producer exists, or its id was never allocated.
    23 => FencedProducer: final, Refused;
    /// Too little disk space is left for writes; reads still work.
    24 => DiskFull: retriable, Refused;
    /// The log directory has failed: no write is possible before the broker restarts.
    25 => StorageFailed: final, Unknown;
    /// The offset is before the log start or after the log end.
    26 => OffsetOutOfRange: final, Refused;
    /// The bytes at this offset are damaged on disk.
    27 => CorruptLog: final, Refused;
    /// No group has this id.
    28 => UnknownGroup: final, Refused;
    /// The group has members.
    29 => GroupNotEmpty: final, Refused;
    /// The group does not know the member: it must join again.
    30 => UnknownMember: final, Refused;
    /// The member's epoch is not the current one: it must release all partitions and join again.
    31 => FencedMember: final, Refused;
    /// The partition is not assigned to the member.
    32 => NotAssigned: final, Refused;
    /// The broker is at its connection limit: a retry may succeed after another connection closes.
    33 => TooManyConnections: retriable, Refused;
    /// The partition is offline: its files need a repair before they can be opened. Other partitions are served.
    34 => PartitionOffline: final, Refused;
    /// Another process has the member's instance name: the member must release all partitions and leave for good.
    35 => FencedInstance: final, Refused;
    /// The broker's settings forbid the request.
    36 => NotAllowed: final, Refused;
    /// The backup failed; existing backups are unchanged.
    37 => BackupFailed: final, Refused;
    /// The groups or the fetch sessions use all memory that they may: a retry may succeed after some of it is released.
    38 => MemoryFull: retriable, Refused;
    /// The broker does not have the fetch session, or the request is not the session's next one: the client must open
    /// another session.
    39 => UnknownFetchSession: final, Refused;
    /// No producer has this name.
    40 => UnknownProducer: final, Refused;
    /// The partition does not end at the expected offset: another record was written. The failure has the log end.
    41 => UnexpectedEnd: final, Refused;
}

impl Failure {
    /// Returns a failure with this code and explanation.
    pub fn new(code: ErrorCode, detail: impl fmt::Display) -> Self {
        Self { code, detail: detail.to_string(), context: None }
    }

    /// Adds the facts that a program needs to continue.
    pub fn with_context(self, context: FailureContext) -> Self {
        Self { context: Some(context), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{decode, encode};

    #[test]
    fn a_code_of_a_later_broker_keeps_its_number_and_is_in_doubt() {
        let later = Failure::new(ErrorCode::Unrecognised(300), "later");
        assert_eq!(decode::<Failure>(&encode(&later)).unwrap(), later);
        assert_eq!((later.code.is_retriable(), later.code.outcome()), (false, Outcome::Unknown));
    }

    #[test]
    fn error_codes_keep_their_numbers() {
        let number = |(at, code): (usize, &ErrorCode)| {
            assert_eq!(usize::from(u16::from(*code)), at);
            assert_eq!(decode::<ErrorCode>(&encode(code)).unwrap(), *code);
            format!("{at} {code:?}")
        };
        let numbers: Vec<_> = ErrorCode::ALL.iter().enumerate().map(number).collect();
        insta::assert_snapshot!(numbers.join("\n"));
    }

    #[test]
    fn a_client_error_is_refused_and_never_retriable() {
        for code in [ErrorCode::TooLarge, ErrorCode::UnknownTopic, ErrorCode::OutOfOrderSequence] {
            assert!(!code.is_retriable());
            assert_eq!(code.outcome(), Outcome::Refused);
        }
    }
}
