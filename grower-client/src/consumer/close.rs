//! Closes a consumer: commits, leaves the group, and drops all partitions.

use super::Consumer;
use super::tasks::commit::UncommittedOffset;
use crate::deadline::Deadline;
use crate::error::ConsumeError;
use std::time::Duration;

impl Consumer {
    /// The time limit of [`Consumer::close`]. The request timeout applies if it is shorter.
    pub const CLOSE_LIMIT: Duration = Duration::from_secs(3);

    /// Stops reading and leaves the group. With an instance name, the partitions wait for the instance until the
    /// session timeout. Commits the records handed out if automatic commits are on.
    ///
    /// Takes at most [`Consumer::CLOSE_LIMIT`], or the request timeout if that is shorter. If the broker is away, the
    /// consumer is closed nevertheless: the error names the offsets that were not committed, or is
    /// [`ConsumeError::NotLeft`], and the group gives the partitions to others after the session timeout of this member.
    ///
    /// A further call returns the same result. If the future is dropped, a further call continues.
    pub async fn close(&mut self) -> Result<(), ConsumeError> {
        self.close_within(Self::CLOSE_LIMIT.min(self.cluster.request_timeout())).await
    }

    /// Closes the consumer like [`Consumer::close`], with another time limit.
    pub async fn close_within(&mut self, limit: Duration) -> Result<(), ConsumeError> {
        if let Some(result) = &self.close_result {
            return result.clone();
        }
        self.closed = true;
        let deadline = Deadline::after(limit);
        // First, since a further heartbeat would join the group again.
        self.tasks.shutdown().await;
        let committed = self.commit_before_close(deadline).await;
        let left = self.leave_group(deadline).await;
        drop(self.shared.lock().lose_all());
        self.close_result.insert(committed.and(left)).clone()
    }

    async fn commit_before_close(&self, deadline: Deadline) -> Result<(), ConsumeError> {
        let (Some(committer), Some(_)) = (&self.committer, self.settings.auto_commit) else { return Ok(()) };
        let progress = || self.shared.lock().partitions.iter().filter_map(UncommittedOffset::handed_out).collect();
        committer.commit_until(&self.shared, progress, deadline).await
    }

    async fn leave_group(&self, deadline: Deadline) -> Result<(), ConsumeError> {
        let Some(member) = self.committer.as_ref().and_then(|committer| committer.member()) else { return Ok(()) };
        let (group, session_timeout) = (member.group.clone(), self.settings.session_timeout);
        let left = member.close(&self.cluster, deadline).await;
        left.map_err(|source| ConsumeError::NotLeft { group, session_timeout, source })
    }
}
