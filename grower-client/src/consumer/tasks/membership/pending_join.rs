//! A join that the broker may have carried out although its answer did not come.

use super::MemberIdentity;
use crate::cluster::Cluster;
use crate::error::RequestError;
use grower_protocol::message::Outcome;
use std::sync::Arc;
use tokio::runtime::Handle;

/// Leaves the group when it is dropped in doubt. Otherwise a member without a process would keep partitions for a
/// session timeout.
pub(super) struct PendingJoin {
    cluster: Arc<Cluster>,
    member: Arc<MemberIdentity>,
    in_doubt: bool,
}

impl PendingJoin {
    pub(super) fn new(cluster: &Arc<Cluster>, member: &Arc<MemberIdentity>) -> Self {
        Self { cluster: cluster.clone(), member: member.clone(), in_doubt: false }
    }

    /// Sends a join. It is in doubt until the answer comes.
    pub(super) async fn attempt(
        &mut self,
        join: impl Future<Output = Result<(), RequestError>>,
    ) -> Result<(), RequestError> {
        let was_in_doubt = std::mem::replace(&mut self.in_doubt, true);
        let joined = join.await;
        self.in_doubt = match &joined {
            Ok(()) => false,
            Err(error) => was_in_doubt || self.member.has_joined() || error.outcome() == Outcome::Unknown,
        };
        joined
    }
}

impl Drop for PendingJoin {
    fn drop(&mut self) {
        // A later consumer may already use a chosen id. It takes the place of this member.
        if !self.in_doubt || self.member.is_chosen {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        let (cluster, member) = (self.cluster.clone(), self.member.clone());
        runtime.spawn(async move {
            if let Err(error) = member.close(&cluster, cluster.deadline()).await {
                tracing::debug!(group = %member.group, %error, "cannot withdraw a join; its session will expire");
            }
        });
    }
}
