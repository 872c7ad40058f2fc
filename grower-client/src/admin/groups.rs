//! Consumer groups: list, describe, reset, delete.

use super::{Admin, PARTITIONS_MAX};
use crate::cluster::Cluster;
use crate::deadline::Deadline;
use crate::error::{AdminError, RequestError};
use grower_protocol::ids::{GroupId, Offset, PartitionId, TopicId, TopicName};
use grower_protocol::message::{
    CommitTime, CommittedOffset, ErrorCode, GroupDescription, GroupMemory, OffsetToCommit, Request, Response,
};
use std::collections::BTreeMap;

impl Admin {
    /// Lists the first groups by id, at most `most`, each as [`Admin::describe_group`] does. Commit metadata is
    /// omitted, and a group that is too large for one answer comes [in brief](GroupDescription::is_in_brief).
    pub async fn list_groups(&self, most: usize) -> Result<Vec<GroupDescription>, AdminError> {
        let (mut all, mut after, deadline) = (Vec::new(), None, self.cluster.deadline());
        loop {
            let wanted = u32::try_from(most - all.len()).unwrap_or(u32::MAX);
            let request = Request::ListGroups { after: after.clone(), most: wanted };
            match self.cluster.ask_retrying(&request, deadline).await? {
                (_, Response::ListGroups { groups, next }) => {
                    all.extend(groups);
                    if most <= all.len() || !has_next_page(&mut after, next) {
                        all.truncate(most);
                        return Ok(all);
                    }
                }
                (connection, other) => return Err(connection.unexpected("list groups", other).into()),
            }
        }
    }

    /// Describes a group: its committed offsets, and its members: instance name, program, address, and how long each
    /// has owned each partition.
    pub async fn describe_group(&self, group: impl AsRef<str>) -> Result<GroupDescription, AdminError> {
        let request = Request::DescribeGroup(GroupId::new(group.as_ref())?);
        match self.cluster.ask_retrying(&request, self.cluster.deadline()).await? {
            (_, Response::DescribeGroup(group)) => Ok(group),
            (connection, other) => Err(connection.unexpected("describe group", other).into()),
        }
    }

    /// Lists the time of a group's latest commit for each partition; empty for an unknown group.
    pub async fn list_commits(&self, group: impl AsRef<str>) -> Result<Vec<CommitTime>, AdminError> {
        let request = Request::ListCommits(GroupId::new(group.as_ref())?);
        match self.cluster.ask_retrying(&request, self.cluster.deadline()).await? {
            (_, Response::ListCommits(commits)) => Ok(commits),
            (connection, other) => Err(connection.unexpected("list commits", other).into()),
        }
    }

    /// Describes the memory of all groups, and which of them were refused more recently.
    pub async fn describe_group_memory(&self) -> Result<GroupMemory, AdminError> {
        match self.cluster.ask_retrying(&Request::DescribeGroupMemory, self.cluster.deadline()).await? {
            (_, Response::DescribeGroupMemory(memory)) => Ok(memory),
            (connection, other) => Err(connection.unexpected("describe group memory", other).into()),
        }
    }

    /// Lists all committed offsets of a group, sorted by topic and partition, each with the leader epoch of the record
    /// before it and whether the log still has the records that were read. Empty for an unknown group.
    pub async fn list_committed_offsets(&self, group: impl AsRef<str>) -> Result<Vec<CommittedOffset>, AdminError> {
        let group = GroupId::new(group.as_ref())?;
        Ok(committed_offsets(&self.cluster, &group, None, self.cluster.deadline()).await?)
    }

    /// Deletes a group and its committed offsets. The group must have no members.
    pub async fn delete_group(&self, group: impl AsRef<str>) -> Result<(), AdminError> {
        self.change("delete group", Request::DeleteGroup(GroupId::new(group.as_ref())?)).await
    }

    /// Sets the committed offsets of a group. The group must have no members. Fails with the first refused offset; the
    /// others may be set.
    pub async fn reset_group(
        &self,
        group: impl AsRef<str>,
        offsets: impl IntoIterator<Item = (impl AsRef<str>, impl Into<PartitionId>, Offset)>,
    ) -> Result<(), AdminError> {
        let group = GroupId::new(group.as_ref())?;
        let (mut ids, mut requested, deadline) = (BTreeMap::new(), Vec::new(), self.cluster.deadline());
        for (topic, partition, offset) in offsets {
            let name = TopicName::new(topic.as_ref())?;
            let topic = match ids.get(&name) {
                Some(id) => *id,
                None => {
                    let id = self.cluster.refresh(&name, false, deadline).await?.id;
                    ids.insert(name, id);
                    id
                }
            };
            let partition = partition.into();
            requested.push(OffsetToCommit { topic, partition, offset, leader_epoch: None, metadata: String::new() });
        }
        for offsets in requested.chunks(PARTITIONS_MAX) {
            match self.cluster.set_offsets(&group, offsets.to_vec(), deadline).await? {
                (_, Response::CommitOffsets(parts)) => drop(parts.into_iter().collect::<Result<Vec<()>, _>>()?),
                (connection, other) => return Err(connection.unexpected("commit offsets", other).into()),
            }
        }
        Ok(())
    }
}

/// Returns the committed offsets of a group.
pub(crate) async fn committed_offsets(
    cluster: &Cluster,
    group: &GroupId,
    partitions: Option<Vec<(TopicId, PartitionId)>>,
    deadline: Deadline,
) -> Result<Vec<CommittedOffset>, RequestError> {
    let request = Request::FetchOffsets { group: group.clone(), partitions };
    match cluster.ask_retrying(&request, deadline).await {
        Ok((_, Response::FetchOffsets(offsets))) => Ok(offsets),
        Ok((connection, other)) => Err(connection.unexpected("fetch offsets", other)),
        Err(error) if error.code() == Some(ErrorCode::UnknownGroup) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Whether another page follows. A page that leads back ends the listing.
fn has_next_page(after: &mut Option<GroupId>, next: Option<GroupId>) -> bool {
    let has_next = next > *after;
    *after = next;
    has_next
}
