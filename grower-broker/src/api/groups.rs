//! Consumer groups: requests to the coordinator.

use super::Api;
use grower_protocol::ids::GroupId;
use grower_protocol::message::{ErrorCode, Failure, Heartbeat, OffsetCommit, Request, Response};
use std::sync::Arc;

type Answered = Result<Response, Failure>;

impl Api {
    pub(super) async fn group_request(self: Arc<Self>, request: Request) -> Answered {
        match request {
            Request::Heartbeat(beat) => self.heartbeat(beat).await,
            Request::LeaveGroup { group, member } => {
                self.groups.step(&group, |shard, _, _| shard.leave(&group, &member)).await?;
                Ok(Response::Done)
            }
            Request::CommitOffsets(commit) => self.commit_offsets(commit).await,
            Request::FetchOffsets { group, partitions } => {
                let fetched = self.groups.look(&group, |shard| shard.fetch_offsets(&group, partitions.as_deref()));
                Ok(Response::FetchOffsets(fetched.await?))
            }
            Request::ListGroups => Ok(Response::ListGroups(self.groups.list().await?)),
            Request::DescribeGroup(group) => self.describe_group(group).await,
            Request::DeleteGroup(group) => {
                self.groups.step(&group, |shard, _, _| shard.delete(&group)).await?;
                Ok(Response::Done)
            }
            other => Err(Failure::new(ErrorCode::Internal, format_args!("{other:?} is not about groups"))),
        }
    }

    async fn heartbeat(&self, beat: Heartbeat) -> Answered {
        let answer = self.groups.step(&beat.group, |shard, at, image| shard.heartbeat(&beat, at, image));
        Ok(Response::Heartbeat(answer.await?))
    }

    async fn commit_offsets(&self, commit: OffsetCommit) -> Answered {
        let log_end = |topic, partition| self.groups.log_end(topic, partition);
        let committed = self.groups.step(&commit.group, |shard, _, _| shard.commit_offsets(&commit, &log_end));
        Ok(Response::CommitOffsets(committed.await?))
    }

    async fn describe_group(&self, group: GroupId) -> Answered {
        let described = self.groups.look(&group, |shard| shard.describe(&group)).await?;
        Ok(Response::DescribeGroup(described?))
    }
}
