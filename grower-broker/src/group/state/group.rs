//! One group: its members and its committed offsets.

use super::GroupRefusal;
use super::limits::GroupLimits;
use super::membership::MembershipState;
use super::offsets::{self, LogEnds, Offsets};
use super::record::GroupRecord;
use super::size;
use grower_protocol::ids::{GroupId, Timestamp};
use grower_protocol::message::{
    CommittedOffset, CommitterIdentity, Failure, GroupDescription, OffsetCommit, Part, StartOffsets,
};

#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    pub(super) members: MembershipState,
    pub(super) offsets: Offsets,
    /// Memory of the members, and of the whole group, as last counted.
    pub(super) members_bytes: usize,
    pub(super) counted: usize,
}

impl Group {
    /// A group whose epochs start above `minimum_epoch`.
    pub(super) fn starting_above(minimum_epoch: u32) -> Self {
        Self { members: MembershipState::starting_above(minimum_epoch), ..Self::default() }
    }

    /// Counts the group's memory again; that of members only if they may have changed.
    pub(super) fn count(&mut self, members_too: bool) {
        if members_too {
            self.members_bytes = self.members.bytes();
        }
        self.counted = size::GROUP + self.members_bytes + self.members.claims() * size::MEMBER + self.offsets.bytes();
    }

    /// Checks a commit. Returns the answer and the records to append; the offsets change when those are in the log.
    pub(super) fn commit(
        &mut self,
        commit: &OffsetCommit,
        limits: &GroupLimits,
        log_ends: &LogEnds<'_>,
    ) -> Result<(Vec<Part<()>>, Vec<GroupRecord>), GroupRefusal> {
        let member = match &commit.committer {
            CommitterIdentity::Member(member, epoch) => {
                self.members.check_epoch(member, *epoch)?;
                self.members.check_order(member, *epoch, commit.sequence)?;
                Some(member)
            }
            CommitterIdentity::Outside(_) | CommitterIdentity::Anonymous => {
                self.check_empty(&commit.group)?;
                None
            }
        };
        let owned = |partition| member.map_or(Ok(()), |member| self.members.check_owner(member, partition));
        let checked = offsets::check_commit(&commit.offsets, limits, log_ends, owned);
        let accepted = checked.iter().filter_map(|part| part.as_ref().ok()).cloned();
        let accepted = accepted.map(|(partition, state)| offsets::record(&commit.group, partition, Some(state)));
        let records = if checked.iter().any(Result::is_ok) {
            // The group's own record comes first: an offset always belongs to a known group.
            self.members.unsaved(&commit.group).into_iter().chain(accepted).collect()
        } else {
            Vec::new()
        };
        Ok((checked.into_iter().map(|part| part.map(drop).map_err(Failure::from)).collect(), records))
    }

    /// Decides the start offsets where the group has none yet. Returns all its offsets, and the records to append.
    pub(super) fn start(
        &self,
        request: &StartOffsets,
        log_ends: &LogEnds<'_>,
    ) -> Result<(Vec<CommittedOffset>, Vec<GroupRecord>), GroupRefusal> {
        match &request.committer {
            CommitterIdentity::Member(member, epoch) => self.members.check_epoch(member, *epoch)?,
            CommitterIdentity::Outside(_) | CommitterIdentity::Anonymous => self.check_empty(&request.group)?,
        }
        let starts = self.offsets.start(&request.starts, log_ends)?;
        let new = starts.iter().filter(|(_, (_, is_new))| is_new.0);
        let new: Vec<_> = new
            .map(|(partition, (state, _))| offsets::record(&request.group, *partition, Some(state.clone())))
            .collect();
        let records =
            if new.is_empty() { new } else { self.members.unsaved(&request.group).into_iter().chain(new).collect() };
        let answer = starts.iter().map(|(partition, (state, _))| offsets::committed(*partition, state)).collect();
        Ok((answer, records))
    }

    fn check_empty(&self, group: &GroupId) -> Result<(), GroupRefusal> {
        match self.members.len() {
            0 => Ok(()),
            members => Err(GroupRefusal::NotEmpty { group: group.clone(), members }),
        }
    }

    /// Records for every change that is not in the log yet. An empty group without offsets is deleted.
    pub(super) fn unsaved(&self, id: &GroupId) -> Vec<GroupRecord> {
        let mut records = self.members.unsaved(id);
        if self.members.len() == 0 && self.offsets.is_empty() {
            records.extend(self.tombstones(id));
        }
        records
    }

    /// Records that delete the group.
    pub(super) fn delete(&self, id: &GroupId) -> Result<Vec<GroupRecord>, GroupRefusal> {
        self.check_empty(id)?;
        Ok(self.tombstones(id))
    }

    /// The group's tombstone comes last: a log that ends earlier still has the rest of the group.
    fn tombstones(&self, id: &GroupId) -> Vec<GroupRecord> {
        debug_assert_eq!(self.members(), 0, "only a group without members is deleted");
        let mut records = self.offsets.forget(id, None);
        records.push(GroupRecord::MinimumEpoch { epoch: self.members.epoch() });
        records.push(GroupRecord::Group { group: id.clone(), state: None });
        records
    }

    pub(super) fn members(&self) -> usize {
        self.members.len()
    }

    pub(super) fn describe(&self, id: &GroupId, at: Timestamp) -> GroupDescription {
        GroupDescription {
            group: id.clone(),
            state: self.members.state(),
            epoch: self.members.target_epoch(),
            assignor: self.members.assignor().name().to_owned(),
            members: self.members.describe(at),
            offsets: self.offsets.fetch(None),
        }
    }
}
