//! Consumer groups: requests to the coordinator.

use super::burst::Reply;
use super::{Api, Peer};
use crate::group::Commit;
use grower_protocol::ids::GroupId;
use grower_protocol::message::{ErrorCode, Failure, Heartbeat, Request, Response};
use std::sync::Arc;
use std::time::Duration;

type Answered = Result<Response, Failure>;

impl Api {
    /// A heartbeat whose answer may wait takes no place from other requests meanwhile.
    pub(super) async fn hold_heartbeat(&self, beat: &Heartbeat, max_wait_ms: u32, peer: &Peer, mut reply: Reply) {
        let max_wait = Duration::from_millis(max_wait_ms.into());
        let held = self.groups.hold(beat, peer, max_wait, &self.stop, || reply.only_waits()).await;
        reply.send(&super::response(&self.health, held.map(Response::Heartbeat)));
    }

    pub(super) async fn group_request(self: Arc<Self>, request: Request, peer: &Peer) -> Answered {
        match request {
            Request::Heartbeat(beat) => Ok(Response::Heartbeat(self.groups.heartbeat(&beat, peer).await?)),
            Request::StepOut { group, member } => {
                self.groups.step(&group, |shard, now, _| shard.step_out(&group, &member, now.at)).await?;
                Ok(Response::Done)
            }
            Request::LeaveGroup { group, member } => {
                self.groups.step(&group, |shard, _, _| shard.leave(&group, &member)).await?;
                Ok(Response::Done)
            }
            Request::CommitOffsets(commit) => self.commit(commit.into()).await,
            Request::CommitPositions(commit) => self.commit(commit.into()).await,
            Request::FetchOffsets { group, partitions } => {
                let fetched = self.groups.look(&group, |shard, _| shard.fetch_offsets(&group, partitions.as_deref()));
                Ok(Response::FetchOffsets(fetched.await?))
            }
            Request::ListGroups => Ok(Response::ListGroups(self.groups.list().await?)),
            Request::PageGroups { after } => {
                let (groups, next) = self.groups.page(after.as_ref()).await?;
                Ok(Response::PageGroups { groups, next })
            }
            Request::InspectGroups { after, most } => {
                let (groups, next) = self.groups.inspect_page(after.as_ref(), most).await?;
                Ok(Response::InspectGroups { groups, next })
            }
            Request::DescribeGroup(group) => self.describe_group(group).await,
            Request::InspectGroup(group) => {
                let seen = self.groups.look(&group, |shard, now| shard.inspect(&group, now.at)).await?;
                Ok(Response::InspectGroup(seen?))
            }
            Request::ListCommits(group) => Ok(Response::ListCommits(self.groups.commits(&group).await?)),
            Request::DeleteGroup(group) => {
                self.groups.step(&group, |shard, _, _| shard.delete(&group)).await?;
                Ok(Response::Done)
            }
            other => Err(Failure::new(ErrorCode::Internal, format_args!("{other:?} is not about groups"))),
        }
    }

    async fn commit(&self, commit: Commit) -> Answered {
        let log_end = |topic, partition| self.groups.log_end(topic, partition);
        let committed = self.groups.step(&commit.group, |shard, _, _| shard.commit_offsets(&commit, &log_end));
        Ok(Response::CommitOffsets(committed.await?))
    }

    async fn describe_group(&self, group: GroupId) -> Answered {
        let described = self.groups.look(&group, |shard, _| shard.describe(&group)).await?;
        Ok(Response::DescribeGroup(described?))
    }
}
