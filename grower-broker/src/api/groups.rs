//! Consumer groups: requests to the coordinator.

use super::burst::Reply;
use super::{Api, Peer};
use crate::group::state::{GroupCommit, GroupShard};
use crate::group::{HeartbeatSender, QueueTicket, SessionGuard};
use grower_protocol::message::{
    ErrorCode, Failure, Heartbeat, HeartbeatAnswer, Part, PositionToCommit, Request, Response, StartPositions,
};
use std::sync::Arc;

type Answered = Result<Response, Failure>;

/// What a request takes when it arrives, before its task runs.
pub(super) struct Arrival {
    /// Its place among those that change the same group.
    ticket: Option<QueueTicket>,
    /// Until the request is answered.
    held: Option<SessionGuard>,
}

impl Arrival {
    /// A heartbeat got this answer.
    fn settle(&mut self, answer: &Result<HeartbeatAnswer, Failure>) {
        self.held.iter_mut().for_each(|held| held.settle(answer));
    }
}

impl Api {
    /// Notes that a request arrived: requests of one connection take effect in the order in which they were sent.
    pub(super) fn arrival(&self, request: &Request) -> Arrival {
        let (group, held) = match request {
            Request::Heartbeat(beat) => (&beat.group, Some(self.groups.guard_session(beat))),
            Request::LeaveGroup { group, .. } | Request::StepOut { group, .. } => (group, None),
            Request::CommitOffsets(commit) => (&commit.group, None),
            Request::CommitPositions(commit) => (&commit.group, None),
            Request::StartPositions(wish) => (&wish.group, None),
            Request::DeleteGroup(group) => (group, None),
            _ => return Arrival { ticket: None, held: None },
        };
        Arrival { ticket: Some(self.groups.enter(group)), held }
    }

    /// A heartbeat whose answer waits takes no place from other requests meanwhile.
    pub(super) async fn heartbeat(&self, beat: &Heartbeat, mut arrival: Arrival, peer: &Peer, mut reply: Reply) {
        let (ticket, ended) = (arrival.ticket.take(), reply.ended().clone());
        let answer = self.groups.heartbeat(ticket, beat, sender(peer), &ended, || reply.only_waits()).await;
        arrival.settle(&answer);
        reply.send(&super::response(&self.health, answer.map(Response::Heartbeat)));
    }

    pub(super) async fn group_request(self: Arc<Self>, request: Request, arrival: Arrival) -> Answered {
        let ticket = arrival.ticket;
        match request {
            Request::StepOut { group, member } => {
                self.groups.decide(ticket, &group, |shard, now, _| shard.detach(&group, &member, now.at)).await?;
                Ok(Response::Done)
            }
            Request::LeaveGroup { group, member } => {
                self.groups.decide(ticket, &group, |shard, _, _| shard.leave(&group, &member)).await?;
                Ok(Response::Done)
            }
            Request::CommitOffsets(commit) => self.commit(ticket, commit.into()).await,
            Request::CommitPositions(commit) => self.commit(ticket, commit.into()).await,
            Request::FetchOffsets { group, partitions } => {
                let fetched = self.groups.read(&group, |shard, _| shard.fetch_offsets(&group, partitions.as_deref()));
                Ok(Response::FetchOffsets(fetched.await?))
            }
            Request::FetchPositions { group, partitions } => {
                let look = |shard: &GroupShard, _| shard.fetch_positions(&group, partitions.as_deref());
                let positions = self.groups.read(&group, look).await?;
                Ok(Response::FetchPositions(self.groups.compared_with_logs(positions)))
            }
            Request::StartPositions(wish) => self.start_positions(ticket, wish).await,
            Request::ListGroups { after, most } => {
                let (groups, next) = self.groups.page(after.as_ref(), most).await?;
                Ok(Response::ListGroups { groups, next })
            }
            Request::DescribeGroup(group) => {
                let described =
                    self.groups.read_members(&group, |shard, now| shard.describe(&group, now.at)).await?;
                Ok(Response::DescribeGroup(described?))
            }
            Request::ListCommits(group) => Ok(Response::ListCommits(self.groups.commit_times(&group).await?)),
            Request::DescribeGroupMemory => Ok(Response::DescribeGroupMemory(self.groups.describe_memory())),
            Request::DeleteGroup(group) => {
                self.groups.decide(ticket, &group, |shard, _, _| shard.delete(&group)).await?;
                Ok(Response::Done)
            }
            other => Err(Failure::new(ErrorCode::Internal, format_args!("{other:?} is not about groups"))),
        }
    }

    async fn start_positions(&self, ticket: Option<QueueTicket>, mut wish: StartPositions) -> Answered {
        self.groups.fill_in_epochs(&mut wish.starts);
        let log_end = |topic, partition| self.groups.log_end(topic, partition);
        let started = self.groups.decide(ticket, &wish.group, |shard, _, _| shard.start_positions(&wish, &log_end));
        let started = started.await.map_err(|failure| {
            let offline = wish.starts.iter().find_map(|start| self.groups.why_offline(start, &failure));
            offline.unwrap_or(failure)
        })?;
        Ok(Response::FetchPositions(self.groups.compared_with_logs(started)))
    }

    async fn commit(&self, ticket: Option<QueueTicket>, mut commit: GroupCommit) -> Answered {
        self.groups.fill_in_epochs(&mut commit.positions);
        let log_end = |topic, partition| self.groups.log_end(topic, partition);
        let committed =
            self.groups.decide(ticket, &commit.group, |shard, _, _| shard.commit_offsets(&commit, &log_end));
        let told = |(part, position): (Part<()>, &PositionToCommit)| {
            part.map_err(|failure| self.groups.why_offline(position, &failure).unwrap_or(failure))
        };
        Ok(Response::CommitOffsets(committed.await?.into_iter().zip(&commit.positions).map(told).collect()))
    }
}

fn sender(peer: &Peer) -> HeartbeatSender<'_> {
    HeartbeatSender { client: peer.client(), address: peer.address() }
}
