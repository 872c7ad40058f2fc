//! Consumer groups: requests to the coordinator.

use super::{Answered, Api, Burst, Peer, RequestContext};
use crate::group::{HeartbeatSender, QueueTicket};
use crate::metrics::{RequestClass, RequestTimer};
use grower_protocol::ids::{GroupId, MemberId, PartitionId, TopicId};
use grower_protocol::message::{Heartbeat, OffsetCommit, OffsetToCommit, Part, Response, StartOffsets};
use std::sync::Arc;

/// The partitions that a request names.
type Partitions = Vec<(TopicId, PartitionId)>;

impl Api {
    /// Answers a heartbeat. While its answer waits, it takes no slot from other requests.
    pub(super) fn heartbeat(
        self: &Arc<Self>,
        timer: RequestTimer,
        beat: Heartbeat,
        call: RequestContext,
        burst: &mut Burst,
    ) {
        let (ticket, mut session) = (self.state.groups.enter(&beat.group), self.state.groups.guard_session(&beat));
        let (mut reply, api, peer) = (burst.reply(call.correlation, call.permit, timer), self.clone(), call.peer);
        self.state.tasks.spawn("a heartbeat", async move {
            let ended = reply.ended().clone();
            let answer = api
                .state
                .groups
                .heartbeat(ticket, &beat, sender(&peer), &ended, || reply.only_waits(RequestClass::HeartbeatWait))
                .await;
            session.settle(&answer);
            reply.send(&super::response(&api.state.health, answer.map(Response::Heartbeat)));
        });
    }

    pub(super) async fn detach_member(
        self: Arc<Self>,
        ticket: QueueTicket,
        group: GroupId,
        member: MemberId,
    ) -> Answered {
        self.state.groups.decide(ticket, &group, |shard, now, _| shard.detach(&group, &member, now.steady)).await?;
        Ok(Response::Done)
    }

    pub(super) async fn leave_group(
        self: Arc<Self>,
        ticket: QueueTicket,
        group: GroupId,
        member: MemberId,
    ) -> Answered {
        self.state.groups.decide(ticket, &group, |shard, _, _| shard.leave(&group, &member)).await?;
        Ok(Response::Done)
    }

    pub(super) async fn delete_group(self: Arc<Self>, ticket: QueueTicket, group: GroupId) -> Answered {
        self.state.groups.decide(ticket, &group, |shard, _, _| shard.delete(&group)).await?;
        Ok(Response::Done)
    }

    pub(super) async fn list_groups(self: Arc<Self>, after: Option<GroupId>, most: u32) -> Answered {
        let (groups, next) = self.state.groups.page(after.as_ref(), most).await?;
        Ok(Response::ListGroups { groups, next })
    }

    pub(super) async fn describe_group(self: Arc<Self>, group: GroupId) -> Answered {
        let described = self.state.groups.read_members(&group, |shard, now| shard.describe(&group, now.steady)).await?;
        let mut described = described?;
        self.state.groups.compare_with_logs(&mut described.offsets);
        Ok(Response::DescribeGroup(described))
    }

    pub(super) async fn list_commits(self: Arc<Self>, group: GroupId) -> Answered {
        Ok(Response::ListCommits(self.state.groups.commit_times(&group).await?))
    }

    pub(super) async fn describe_group_memory(self: Arc<Self>) -> Answered {
        Ok(Response::DescribeGroupMemory(self.state.groups.describe_memory()))
    }

    pub(super) async fn fetch_offsets(self: Arc<Self>, group: GroupId, partitions: Option<Partitions>) -> Answered {
        let fetched = self.state.groups.read(&group, |shard, _| shard.fetch_offsets(&group, partitions.as_deref()));
        let mut offsets = fetched.await?;
        self.state.groups.compare_with_logs(&mut offsets);
        Ok(Response::FetchOffsets(offsets))
    }

    pub(super) async fn start_offsets(self: Arc<Self>, ticket: QueueTicket, mut request: StartOffsets) -> Answered {
        self.state.groups.fill_in_epochs(&mut request.starts);
        let log_end = |topic, partition| self.state.groups.log_end(topic, partition);
        let started =
            self.state.groups.decide(ticket, &request.group, |shard, _, _| shard.start_offsets(&request, &log_end));
        let mut offsets = started.await.map_err(|failure| {
            let offline = request.starts.iter().find_map(|start| self.state.groups.why_offline(start, &failure));
            offline.unwrap_or(failure)
        })?;
        self.state.groups.compare_with_logs(&mut offsets);
        Ok(Response::FetchOffsets(offsets))
    }

    pub(super) async fn commit_offsets(self: Arc<Self>, ticket: QueueTicket, mut commit: OffsetCommit) -> Answered {
        self.state.groups.fill_in_epochs(&mut commit.offsets);
        let log_end = |topic, partition| self.state.groups.log_end(topic, partition);
        let committed =
            self.state.groups.decide(ticket, &commit.group, |shard, _, _| shard.commit_offsets(&commit, &log_end));
        let outcome = |(part, offset): (Part<()>, &OffsetToCommit)| {
            part.map_err(|failure| self.state.groups.why_offline(offset, &failure).unwrap_or(failure))
        };
        Ok(Response::CommitOffsets(committed.await?.into_iter().zip(&commit.offsets).map(outcome).collect()))
    }
}

fn sender(peer: &Peer) -> HeartbeatSender<'_> {
    HeartbeatSender { client: peer.client(), address: peer.address() }
}
