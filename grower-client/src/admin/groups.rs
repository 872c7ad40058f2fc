//! Consumer groups: listing, describing, resetting, deleting.

use super::{Admin, PARTITIONS_MAX};
use crate::cluster::Cluster;
use crate::error::{AdminError, RequestError};
use grower_protocol::ids::{GroupId, Offset, PartitionId, TopicId, TopicName};
use grower_protocol::message::{
    CommitTime, CommittedPosition, ErrorCode, GroupDescription, GroupInspection, GroupMemory, GroupSummary,
    PositionToCommit, Request, Response,
};
use std::collections::BTreeMap;

impl Admin {
    /// All groups, sorted by id.
    pub async fn list_groups(&self) -> Result<Vec<GroupSummary>, AdminError> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            match self.cluster.ask_retrying(&Request::PageGroups { after: after.clone() }).await? {
                (_, Response::PageGroups { groups, next }) => {
                    all.extend(groups);
                    if !leads_on(&mut after, next) {
                        return Ok(all);
                    }
                }
                (connection, other) => return Err(connection.unexpected("list groups", other).into()),
            }
        }
    }

    /// One group: its members, what they own, and all it committed.
    pub async fn describe_group(&self, group: impl AsRef<str>) -> Result<GroupDescription, AdminError> {
        match self.cluster.ask_retrying(&Request::DescribeGroup(GroupId::new(group.as_ref())?)).await? {
            (_, Response::DescribeGroup(group)) => Ok(group),
            (connection, other) => Err(connection.unexpected("describe group", other).into()),
        }
    }

    /// The same, and who each member is: its static name, its program and address, and since when it holds what.
    pub async fn inspect_group(&self, group: impl AsRef<str>) -> Result<GroupInspection, AdminError> {
        match self.cluster.ask_retrying(&Request::InspectGroup(GroupId::new(group.as_ref())?)).await? {
            (_, Response::InspectGroup(group)) => Ok(group),
            (connection, other) => Err(connection.unexpected("inspect group", other).into()),
        }
    }

    /// All groups likewise, sorted by id; at most so many, the first ones. The texts beside their offsets are left out, and
    /// a group that is too large for an answer comes [in brief](GroupInspection::is_in_brief).
    pub async fn inspect_groups(&self, most: usize) -> Result<Vec<GroupInspection>, AdminError> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let wanted = u32::try_from(most - all.len()).unwrap_or(u32::MAX);
            match self.cluster.ask_retrying(&Request::InspectGroups { after: after.clone(), most: wanted }).await? {
                (_, Response::InspectGroups { groups, next }) => {
                    all.extend(groups);
                    if most <= all.len() || !leads_on(&mut after, next) {
                        all.truncate(most);
                        return Ok(all);
                    }
                }
                (connection, other) => return Err(connection.unexpected("inspect groups", other).into()),
            }
        }
    }

    /// When a group last committed, partition by partition; none for a group that is not there.
    pub async fn list_commits(&self, group: impl AsRef<str>) -> Result<Vec<CommitTime>, AdminError> {
        match self.cluster.ask_retrying(&Request::ListCommits(GroupId::new(group.as_ref())?)).await? {
            (_, Response::ListCommits(commits)) => Ok(commits),
            (connection, other) => Err(connection.unexpected("list commits", other).into()),
        }
    }

    /// What the groups of the broker take of memory, and which could not grow of late for want of it.
    pub async fn describe_group_memory(&self) -> Result<GroupMemory, AdminError> {
        match self.cluster.ask_retrying(&Request::DescribeGroupMemory).await? {
            (_, Response::DescribeGroupMemory(memory)) => Ok(memory),
            (connection, other) => Err(connection.unexpected("describe group memory", other).into()),
        }
    }

    /// All positions of a group, sorted by topic and partition, each with the leader epoch of the record before it, and whether
    /// the log still has what was read; none for a group that is not there. An older broker does not say the latter.
    pub async fn list_positions(&self, group: impl AsRef<str>) -> Result<Vec<CommittedPosition>, AdminError> {
        let group = GroupId::new(group.as_ref())?;
        Ok(committed_positions(&self.cluster, &group, None).await?)
    }

    /// Forgets a group and all it committed. It must have no members.
    pub async fn delete_group(&self, group: impl AsRef<str>) -> Result<(), AdminError> {
        self.change("delete group", Request::DeleteGroup(GroupId::new(group.as_ref())?)).await
    }

    /// Sets where a group goes on. It must have no members. Fails with the first offset that was refused; others may be
    /// set.
    pub async fn reset_group(
        &self,
        group: impl AsRef<str>,
        offsets: impl IntoIterator<Item = (impl AsRef<str>, impl Into<PartitionId>, Offset)>,
    ) -> Result<(), AdminError> {
        let group = GroupId::new(group.as_ref())?;
        let (mut ids, mut wishes) = (BTreeMap::new(), Vec::new());
        for (topic, partition, offset) in offsets {
            let name = TopicName::new(topic.as_ref())?;
            let topic = match ids.get(&name) {
                Some(id) => *id,
                None => {
                    let id = self.cluster.refresh(&name, false).await?.id;
                    ids.insert(name, id);
                    id
                }
            };
            let partition = partition.into();
            wishes.push(PositionToCommit { topic, partition, offset, leader_epoch: None, metadata: String::new() });
        }
        for positions in wishes.chunks(PARTITIONS_MAX) {
            match self.cluster.set_positions(&group, positions.to_vec()).await? {
                (_, Response::CommitOffsets(parts)) => drop(parts.into_iter().collect::<Result<Vec<()>, _>>()?),
                (connection, other) => return Err(connection.unexpected("commit offsets", other).into()),
            }
        }
        Ok(())
    }
}

/// The positions of a group; of an older broker without epochs.
pub(crate) async fn committed_positions(
    cluster: &Cluster,
    group: &GroupId,
    partitions: Option<Vec<(TopicId, PartitionId)>>,
) -> Result<Vec<CommittedPosition>, RequestError> {
    match cluster.ask_retrying(&Request::FetchPositions { group: group.clone(), partitions }).await {
        Ok((_, Response::FetchPositions(positions))) => Ok(positions),
        Ok((_, Response::FetchOffsets(offsets))) => Ok(offsets.into_iter().map(CommittedPosition::from).collect()),
        Ok((connection, other)) => Err(connection.unexpected("fetch positions", other)),
        Err(error) if error.code() == Some(ErrorCode::UnknownGroup) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Whether there is another page, which is asked for next; one that leads back is none.
fn leads_on(after: &mut Option<GroupId>, next: Option<GroupId>) -> bool {
    let leads_on = next > *after;
    *after = next;
    leads_on
}
