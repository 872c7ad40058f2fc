//! A commit as the coordinator decides on it, whichever request brought it.

use grower_protocol::ids::GroupId;
use grower_protocol::message::{CommitterIdentity, OffsetCommit, OffsetToCommit, PositionCommit, PositionToCommit};

/// Positions that somebody wants a group to remember.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupCommit {
    /// The group.
    pub group: GroupId,
    /// Who commits. Older clients that are not members do not say: their commits count in the order of arrival.
    pub committer: Option<CommitterIdentity>,
    /// Numbers the commits of one committer.
    pub sequence: u64,
    /// The positions.
    pub positions: Vec<PositionToCommit>,
}

impl From<PositionCommit> for GroupCommit {
    fn from(commit: PositionCommit) -> Self {
        let PositionCommit { group, committer, sequence, positions } = commit;
        Self { group, committer: Some(committer), sequence, positions }
    }
}

impl From<OffsetCommit> for GroupCommit {
    fn from(commit: OffsetCommit) -> Self {
        let OffsetCommit { group, member, sequence, offsets } = commit;
        let committer = member.map(|(member, epoch)| CommitterIdentity::Member(member, epoch));
        Self { group, committer, sequence, positions: offsets.into_iter().map(position).collect() }
    }
}

fn position(wish: OffsetToCommit) -> PositionToCommit {
    let OffsetToCommit { topic, partition, offset, metadata } = wish;
    PositionToCommit { topic, partition, offset, leader_epoch: None, metadata }
}
