//! An offset commit as the coordinator handles it, from either kind of request.

use grower_protocol::ids::GroupId;
use grower_protocol::message::{CommitterIdentity, OffsetCommit, OffsetToCommit, PositionCommit, PositionToCommit};

/// Positions for a group to remember.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupCommit {
    /// The group.
    pub group: GroupId,
    /// The sender. Older clients outside the group do not identify themselves: their commits count in the order of
    /// arrival.
    pub committer: Option<CommitterIdentity>,
    /// The number of the commit, counted by its committer.
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

fn position(commit: OffsetToCommit) -> PositionToCommit {
    let OffsetToCommit { topic, partition, offset, metadata } = commit;
    PositionToCommit { topic, partition, offset, leader_epoch: None, metadata }
}
