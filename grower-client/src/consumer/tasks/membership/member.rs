//! The identity of a consumer in its group, and its leave requests.

use crate::cluster::Cluster;
use crate::deadline::Deadline;
use crate::error::RequestError;
use crate::retry;
use grower_protocol::ids::{GroupId, MemberEpoch, MemberId, TopicName};
use grower_protocol::message::{Request, Response};
use parking_lot::Mutex;

/// The identity of a consumer in its group.
pub(crate) struct MemberIdentity {
    pub(crate) group: GroupId,
    pub(super) id: MemberId,
    pub(super) topics: Vec<TopicName>,
    pub(super) epoch: Mutex<MemberEpoch>,
    /// An instance name reserves its partitions after it leaves.
    is_static: bool,
    /// The program chose the id, so that a later consumer may have the same.
    pub(super) is_chosen: bool,
}

impl MemberIdentity {
    pub(crate) fn new(group: GroupId, id: MemberId, topics: Vec<TopicName>, is_static: bool, is_chosen: bool) -> Self {
        Self { group, id, topics, epoch: Mutex::default(), is_static, is_chosen }
    }

    /// Whether the broker has accepted the member.
    pub(super) fn has_joined(&self) -> bool {
        *self.epoch.lock() != MemberEpoch::default()
    }

    /// The identity that fences its commits.
    pub(crate) fn identity(&self) -> (MemberId, MemberEpoch) {
        (self.id.clone(), *self.epoch.lock())
    }

    /// Tells the group that this process ends. Under an instance name, a successor may return.
    pub(crate) async fn close(&self, cluster: &Cluster, deadline: Deadline) -> Result<(), RequestError> {
        if !self.is_static {
            return self.leave(cluster, deadline).await;
        }
        self.send(cluster, &Request::DetachMember { group: self.group.clone(), member: self.id.clone() }, deadline)
            .await
    }

    /// Tells the group that this member reads no more and does not return.
    pub(super) async fn leave(&self, cluster: &Cluster, deadline: Deadline) -> Result<(), RequestError> {
        self.send(cluster, &Request::LeaveGroup { group: self.group.clone(), member: self.id.clone() }, deadline).await
    }

    async fn send(&self, cluster: &Cluster, request: &Request, deadline: Deadline) -> Result<(), RequestError> {
        match cluster.ask_retrying(request, deadline).await {
            Ok((_, Response::Done)) => Ok(()),
            Ok((connection, other)) => Err(connection.unexpected("leave group", other)),
            Err(error) if retry::has_left(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
