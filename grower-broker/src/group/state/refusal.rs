//! Why a group does not do as it is asked.

use grower_protocol::ids::{GroupId, MemberEpoch, MemberId, Offset};
use grower_protocol::message::{ErrorCode, Failure};
use std::sync::Arc;

/// Why a request to a group, or one part of it, was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupRefusal {
    /// No group of that id.
    #[error("there is no group {group}")]
    UnknownGroup {
        /// The id.
        group: GroupId,
    },
    /// The group has members, and this needs an empty one.
    #[error("group {group} still has members ({members}): stop them first")]
    NotEmpty {
        /// The group.
        group: GroupId,
        /// How many.
        members: usize,
    },
    /// The member is not known: it never joined, left, or was silent for too long.
    #[error("{member} is no member of the group, or no longer: give up all partitions and join again with epoch 0")]
    UnknownMember {
        /// Who asked.
        member: MemberId,
    },
    /// The member missed an answer that counts.
    #[error("{member} has epoch {current}, not {claimed}: give up all partitions and join again with epoch 0")]
    FencedMember {
        /// Who asked.
        member: MemberId,
        /// Its epoch.
        current: MemberEpoch,
        /// As sent.
        claimed: MemberEpoch,
    },
    /// The member went on reading what it had to give up.
    #[error(
        "{member} did not give up its partitions within its rebalance timeout: give up all and join again with epoch 0"
    )]
    RevocationTimedOut {
        /// Who.
        member: MemberId,
    },
    /// Another process joined under the same instance name.
    #[error("instance {instance:?} belongs to {holder} now: two processes must not share an instance name")]
    InstanceTaken {
        /// The name.
        instance: String,
        /// Who has it.
        holder: MemberId,
    },
    /// Who joins has nothing yet.
    #[error("a member that joins (epoch 0) owns nothing: give up all partitions first")]
    JoinsOwning,
    /// An instance name that cannot be.
    #[error("an instance name has 1 to 249 bytes")]
    InstanceName,
    /// No such assignor.
    #[error("there is no assignor {name:?}; known are range, round-robin and sticky")]
    UnknownAssignor {
        /// As sent, cut to a readable length.
        name: String,
    },
    /// More than a limit allows.
    #[error("more than {max} {what}: that is the limit")]
    LimitReached {
        /// Of what.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// Nothing more can be remembered for now.
    #[error(
        "this needs {bytes} bytes more for groups, and {left} are left of their sixteenth of broker.memory: delete groups that nobody uses, or give the broker more memory"
    )]
    MemoryFull {
        /// What it would take.
        bytes: usize,
        /// What is left.
        left: usize,
    },
    /// Somebody else owns the partition, or nobody.
    #[error("the partition is not assigned to {member}")]
    NotAssigned {
        /// Who asked.
        member: MemberId,
    },
    /// The committer sent it before one that was taken.
    #[error(
        "a later commit of {committer} came before commit {sequence}: each must wait for the answer to the one before"
    )]
    OvertakenCommit {
        /// Who.
        committer: Arc<str>,
        /// Its number.
        sequence: u64,
    },
    /// No such topic or partition.
    #[error("there is no such topic or partition; it may have been deleted")]
    UnknownPartition,
    /// An offset that no record will have next.
    #[error("offset {offset} is past the log end {log_end}")]
    PastLogEnd {
        /// As sent.
        offset: Offset,
        /// The log's end.
        log_end: Offset,
    },
    /// One request names a partition twice.
    #[error("the request names the partition more than once")]
    NamedTwice,
    /// Too much text beside an offset.
    #[error("metadata of {bytes} bytes is over the limit of {max}")]
    MetadataTooLarge {
        /// As sent.
        bytes: usize,
        /// The limit.
        max: usize,
    },
}

impl GroupRefusal {
    /// For programs.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownGroup { .. } => ErrorCode::UnknownGroup,
            Self::NotEmpty { .. } => ErrorCode::GroupNotEmpty,
            Self::UnknownMember { .. } => ErrorCode::UnknownMember,
            Self::FencedMember { .. } | Self::RevocationTimedOut { .. } => ErrorCode::FencedMember,
            Self::InstanceTaken { .. } => ErrorCode::FencedInstance,
            Self::JoinsOwning
            | Self::InstanceName
            | Self::UnknownAssignor { .. }
            | Self::OvertakenCommit { .. }
            | Self::NamedTwice => ErrorCode::InvalidRequest,
            Self::LimitReached { .. } => ErrorCode::LimitReached,
            Self::MemoryFull { .. } => ErrorCode::MemoryFull,
            Self::NotAssigned { .. } => ErrorCode::NotAssigned,
            Self::UnknownPartition => ErrorCode::UnknownPartition,
            Self::PastLogEnd { .. } => ErrorCode::OffsetOutOfRange,
            Self::MetadataTooLarge { .. } => ErrorCode::TooLarge,
        }
    }
}

impl From<GroupRefusal> for Failure {
    fn from(refusal: GroupRefusal) -> Self {
        Self::new(refusal.code(), refusal)
    }
}
