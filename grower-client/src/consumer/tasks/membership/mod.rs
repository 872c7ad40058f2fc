//! Keeps up the membership in a group: heartbeats, new partitions, revoked partitions.
//!
//! The broker holds a heartbeat until the assignment changes. Partitions that the answer omits are revoked: they are no
//! longer handed out, and heartbeats list them until the reader is done with the records that it has. The heartbeat
//! after that is sent at once and releases them. A member that is fenced, or had no answer for a session timeout, drops all partitions: another
//! member may be reading them. A member with a stuck reader leaves the group until the reader polls again.

mod assignment;
mod member;
mod pending_join;
mod revocation;
mod session;

pub(crate) use member::MemberIdentity;

use super::commit::Committer;
use super::start::StartPolicy;
use crate::backoff;
use crate::cluster::Cluster;
use crate::consumer::settings::{ConsumerSettings, OnRebalance, RebalanceEvent};
use crate::consumer::state::SharedSubscription;
use crate::deadline::Deadline;
use crate::error::{ConsumeError, RequestError};
use crate::retry::{self, Attempts, HeartbeatAction};
use grower_protocol::ids::TopicId;
use grower_protocol::message::{
    ErrorCode, Failure, Heartbeat, HeartbeatAnswer, Request, Response, TopicPartitions, heartbeat_interval,
};
use pending_join::PendingJoin;
use session::MemberSession;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

/// A membership in a group.
pub(crate) struct MembershipTask {
    cluster: Arc<Cluster>,
    shared: Arc<SharedSubscription>,
    member: Arc<MemberIdentity>,
    committer: Arc<Committer>,
    policy: StartPolicy,
    session: MemberSession,
    assignor: Option<String>,
    instance: Option<String>,
    auto_commit: bool,
    on_rebalance: Option<OnRebalance>,
    /// Look up where new partitions start. Aborted when dropped.
    start_lookups: JoinSet<()>,
}

#[expect(clippy::disallowed_methods, reason = "a shell reads the clock")]
impl MembershipTask {
    pub(crate) fn new(
        cluster: &Arc<Cluster>,
        shared: &Arc<SharedSubscription>,
        member: &Arc<MemberIdentity>,
        committer: &Arc<Committer>,
        settings: &ConsumerSettings,
        policy: &StartPolicy,
    ) -> Self {
        Self {
            cluster: cluster.clone(),
            shared: shared.clone(),
            member: member.clone(),
            committer: committer.clone(),
            policy: policy.clone(),
            session: MemberSession::new(settings, Instant::now()),
            assignor: settings.assignor.clone(),
            instance: settings.instance.clone(),
            auto_commit: settings.auto_commit.is_some(),
            on_rebalance: settings.on_rebalance.clone(),
            start_lookups: JoinSet::new(),
        }
    }

    /// Joins the group; returns when the broker has accepted or refused the member. A member with a taken instance name
    /// is not in yet: the answer asks it to claim the name with the next heartbeat.
    pub(crate) async fn join(mut self) -> Result<Self, ConsumeError> {
        match self.try_join().await {
            Ok(()) => Ok(self),
            Err(source) => Err(ConsumeError::Group { group: self.member.group.clone(), source }),
        }
    }

    async fn try_join(&mut self) -> Result<(), RequestError> {
        let deadline = self.cluster.deadline();
        self.cluster.require("groups", deadline).await?;
        self.refresh_topics(deadline).await?;
        let mut attempts = Attempts::until(deadline.end());
        let mut has_warned = false;
        let mut pending = PendingJoin::new(&self.cluster, &self.member);
        loop {
            let late = Err(RequestError::TimedOut { after: deadline.limit() });
            let join = async { deadline.wait(self.send_heartbeat()).await.unwrap_or(late) };
            let Err(error) = pending.attempt(join).await else { return Ok(()) };
            let action = retry::after_heartbeat(&error, self.has_joined());
            let is_repeated = matches!(action, HeartbeatAction::Retry | HeartbeatAction::WarnAndRetry);
            let wait = attempts.next_wait(&error, Instant::now(), backoff::random()).filter(|_| is_repeated);
            let Some(wait) = wait else { return Err(error) };
            if action == HeartbeatAction::WarnAndRetry && !std::mem::replace(&mut has_warned, true) {
                tracing::warn!(group = %self.member.group, %error, "cannot join the group yet; trying again");
            }
            sleep(wait).await;
        }
    }

    /// Runs until it is aborted, or another process takes the instance name.
    pub(crate) async fn run(mut self) {
        loop {
            self.until_heartbeat_is_due().await;
            if self.session.is_stuck(self.shared.idle_for(Instant::now())) {
                self.leave_until_reader_polls().await;
            }
            let revoked = self.release_revoked().await;
            self.notify_rebalance(RebalanceEvent { assigned: Vec::new(), revoked });
            match self.send_heartbeat().await {
                Ok(()) => self.session.record_success(),
                Err(error) => match retry::after_heartbeat(&error, self.has_joined()) {
                    HeartbeatAction::Leave => return self.end_membership(error).await,
                    action => self.heartbeat_failed(error, action),
                },
            }
        }
    }

    /// Sends a heartbeat, and a second one at once if the first finds the member fenced.
    async fn send_heartbeat(&mut self) -> Result<(), RequestError> {
        loop {
            let (sent, sent_epoch) = (Instant::now(), *self.member.epoch.lock());
            let answer = self.request_heartbeat().await;
            self.session.begin_revocations(Instant::now());
            let answer = match answer {
                Err(error) if retry::after_heartbeat(&error, self.has_joined()) == HeartbeatAction::Rejoin => {
                    self.lose_partitions(&error);
                    continue; // The next heartbeat has epoch 0.
                }
                answer => answer?,
            };
            let interval = Duration::from_millis(answer.interval_ms.into());
            self.session.record_answer(sent, answer.epoch != sent_epoch, interval);
            if self.instance.is_some() {
                self.shared.extend_lease(self.session.lease_end());
            }
            *self.member.epoch.lock() = answer.epoch;
            return self.apply_assignment(&answer).await;
        }
    }

    async fn request_heartbeat(&self) -> Result<HeartbeatAnswer, RequestError> {
        let millis = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        let max_wait = heartbeat_interval(self.session.timeout());
        let beat = Heartbeat {
            group: self.member.group.clone(),
            member: self.member.id.clone(),
            epoch: *self.member.epoch.lock(),
            topics: self.member.topics.clone(),
            owned: self.owned(),
            session_timeout_ms: millis(self.session.timeout()),
            rebalance_timeout_ms: millis(self.session.broker_rebalance_timeout()),
            assignor: self.assignor.clone(),
            instance: self.instance.clone(),
            max_wait_ms: millis(max_wait),
        };
        let end = self.session.answer_deadline(self.has_joined(), Instant::now());
        // The broker may hold a heartbeat for longer than a whole request timeout.
        let deadline = Deadline::after(self.cluster.request_timeout().saturating_add(max_wait));
        match in_time(end, self.cluster.ask(&Request::Heartbeat(beat), deadline)).await? {
            (_, Response::Heartbeat(answer)) => Ok(answer),
            (connection, other) => Err(connection.unexpected("heartbeat", other)),
        }
    }

    fn owned(&self) -> Vec<TopicPartitions> {
        let mut owned: BTreeMap<TopicId, TopicPartitions> = BTreeMap::new();
        for partition in self.shared.lock().partitions.iter() {
            let of_topic = || TopicPartitions { topic: partition.topic, partitions: Vec::new() };
            owned.entry(partition.topic).or_insert_with(of_topic).partitions.push(partition.topic_partition.partition);
        }
        owned.into_values().collect()
    }

    fn heartbeat_failed(&mut self, error: RequestError, action: HeartbeatAction) {
        tracing::debug!(group = %self.member.group, %error, "a heartbeat failed");
        let is_expired = self.session.record_failure(&error, Instant::now(), backoff::random());
        if is_expired && self.has_joined() {
            self.lose_partitions(&error);
        }
        if action == HeartbeatAction::Report {
            let error = ConsumeError::Group { group: self.member.group.clone(), source: error };
            self.shared.set_error(error);
        }
    }

    /// Ends the membership: another process has the instance name and waits until this one has stopped.
    async fn end_membership(self, error: RequestError) {
        let revoked = self.shared.lock().lose_all();
        let error = ConsumeError::Group { group: self.member.group.clone(), source: error };
        self.shared.set_fatal_error(error);
        self.notify_rebalance(RebalanceEvent { assigned: Vec::new(), revoked });
        if let Err(error) = self.member.leave(&self.cluster, self.cluster.deadline()).await {
            tracing::debug!(%error, "cannot leave the group; the lease of its instance name will expire");
        }
    }

    fn has_joined(&self) -> bool {
        self.member.has_joined()
    }
}

/// Waits for an answer until `end`.
async fn in_time<T>(end: Instant, asking: impl Future<Output = Result<T, RequestError>>) -> Result<T, RequestError> {
    let late = |_| Failure::new(ErrorCode::TimedOut, "the group did not answer in time");
    timeout_at(end, asking).await.map_err(late)?
}
