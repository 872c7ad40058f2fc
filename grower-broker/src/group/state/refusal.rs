//! Refusals of requests to groups.

use super::assignor::Assignor;
use grower_protocol::ids::{GroupId, MemberEpoch, MemberId, Offset};
use grower_protocol::message::{ErrorCode, Failure};
use std::sync::Arc;

/// The reason for refusing a request to a group, or one part of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupRefusal {
    /// The group does not exist.
    #[error("there is no group {group}")]
    UnknownGroup {
        /// Its id.
        group: GroupId,
    },
    /// The group has members, and the request needs an empty group.
    #[error("group {group} still has members ({members}): stop them first")]
    NotEmpty {
        /// The group.
        group: GroupId,
        /// The number of members.
        members: usize,
    },
    /// The member is unknown: it never joined, left, or its session ended.
    #[error("{member} is not a member of the group: give up all partitions and join again with epoch 0")]
    UnknownMember {
        /// The sender.
        member: MemberId,
    },
    /// The member does not know its newest epoch.
    #[error("{member} has epoch {current}, not {claimed}: give up all partitions and join again with epoch 0")]
    FencedMember {
        /// The sender.
        member: MemberId,
        /// Its epoch.
        current: MemberEpoch,
        /// As sent.
        claimed: MemberEpoch,
    },
    /// The member read a revoked partition past the deadline.
    #[error(
        "{member} did not give up its partitions within its rebalance timeout: give up all partitions and join again with epoch 0"
    )]
    RevocationTimedOut {
        /// The member.
        member: MemberId,
    },
    /// Another process took over the instance name.
    #[error("instance {instance:?} belongs to {holder} now: two processes must not share an instance name")]
    InstanceTaken {
        /// The name.
        instance: String,
        /// The member that has it.
        holder: MemberId,
    },
    /// A joining member lists owned partitions.
    #[error("a member that joins (epoch 0) owns no partitions: give up all partitions first")]
    JoinsOwning,
    /// The instance name is too short or too long.
    #[error("an instance name has 1 to 249 bytes")]
    InstanceName,
    /// The assignor is unknown.
    #[error("there is no assignor {name:?}; known are {}", Assignor::all_names())]
    UnknownAssignor {
        /// As sent, shortened.
        name: String,
    },
    /// A limit is reached.
    #[error("limit reached: at most {max} {what}")]
    LimitReached {
        /// The limited things.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// The memory for groups is used up.
    #[error(
        "groups need {bytes} more bytes, and {left} of their share, a sixteenth of broker.memory, are left: delete unused groups, or raise broker.memory"
    )]
    MemoryFull {
        /// The bytes that the request needs.
        bytes: usize,
        /// The bytes that are left.
        left: usize,
    },
    /// The sender does not own the partition.
    #[error("the partition is not assigned to {member}")]
    NotAssigned {
        /// The sender.
        member: MemberId,
    },
    /// The commit is older than an accepted one of the same committer.
    #[error(
        "commit {sequence} of {committer} arrived after a later one: wait for the answer to each commit before the next"
    )]
    OvertakenCommit {
        /// The committer.
        committer: Arc<str>,
        /// The number of the commit.
        sequence: u64,
    },
    /// The topic or partition does not exist.
    #[error("the topic or partition does not exist; it may have been deleted")]
    UnknownPartition,
    /// The offset is beyond the log end.
    #[error("offset {offset} is past the log end {log_end}")]
    PastLogEnd {
        /// As sent.
        offset: Offset,
        /// The log end.
        log_end: Offset,
    },
    /// The request names a partition twice.
    #[error("the request names the partition more than once")]
    NamedTwice,
    /// The metadata text is too long.
    #[error("metadata of {bytes} bytes is over the limit of {max}")]
    MetadataTooLarge {
        /// As sent.
        bytes: usize,
        /// The limit.
        max: usize,
    },
}

impl GroupRefusal {
    /// The error code for clients.
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
