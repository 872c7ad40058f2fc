//! Being a member of a group: heartbeats, partitions that come, partitions that must go.
//!
//! A partition that the broker's answer no longer lists is given up before anything else happens: nothing of it is handed
//! out any more, what the reader is done with is committed if that is automatic, and the next heartbeat, at once, says
//! that it is free. A member that is told to start again, or that heard nothing for a session timeout, gives up everything:
//! somebody else may be reading it.

use super::builder::{OnRebalance, RebalanceEvent, Settings};
use super::commit::{Committer, Progress};
use super::shelf::Shared;
use super::start::{self, Origin};
use crate::backoff;
use crate::cluster::Cluster;
use crate::error::{ConsumeError, RequestError};
use crate::record::TopicPartition;
use grower_protocol::ids::{GroupId, MemberEpoch, MemberId, TopicId, TopicName};
use grower_protocol::message::{
    ErrorCode, Failure, Heartbeat, HeartbeatAnswer, Metadata, Request, Response, TopicPartitions,
};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// Who a consumer is in its group.
pub(super) struct Member {
    pub(super) group: GroupId,
    id: MemberId,
    topics: Vec<TopicName>,
    epoch: Mutex<MemberEpoch>,
    /// Somebody learned that the epoch is not right any more.
    beat_now: Notify,
}

impl Member {
    pub(super) fn new(group: GroupId, id: MemberId, topics: Vec<TopicName>) -> Self {
        Self { group, id, topics, epoch: Mutex::default(), beat_now: Notify::new() }
    }

    /// What fences its commits.
    pub(super) fn identity(&self) -> (MemberId, MemberEpoch) {
        (self.id.clone(), *self.epoch.lock())
    }

    /// Tells the group that it is gone.
    pub(super) async fn leave(&self, cluster: &Cluster) -> Result<(), RequestError> {
        let request = Request::LeaveGroup { group: self.group.clone(), member: self.id.clone() };
        match cluster.ask_again(&request).await {
            Ok((_, Response::Done)) => Ok(()),
            Ok((link, other)) => Err(link.refusal("leave group", other)),
            // Nobody to leave, or left already: an answer may have been lost.
            Err(error) if matches!(error.code(), Some(ErrorCode::UnknownMember | ErrorCode::UnknownGroup)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Keeps the membership.
pub(super) struct Membership {
    cluster: Arc<Cluster>,
    shared: Arc<Shared>,
    member: Arc<Member>,
    committer: Committer,
    origin: Origin,
    session_timeout: Duration,
    assignor: Option<String>,
    instance: Option<String>,
    auto_commit: bool,
    on_rebalance: Option<OnRebalance>,
    /// When the last heartbeat was sent that was answered.
    heard: Instant,
    interval: Duration,
}

/// Joins a group: returns once the broker took the member in, or said why not.
pub(super) async fn join(
    cluster: &Arc<Cluster>,
    shared: &Arc<Shared>,
    member: &Arc<Member>,
    settings: &Settings,
    origin: &Origin,
) -> Result<Membership, ConsumeError> {
    let refused = |source| ConsumeError::Group { group: member.group.clone(), source };
    let link = cluster.control().await.map_err(|error| refused(error.into()))?;
    link.needs("groups").map_err(|error| refused(error.into()))?;
    let mut membership = Membership {
        cluster: cluster.clone(),
        shared: shared.clone(),
        member: member.clone(),
        committer: Committer::new(cluster.clone(), member.group.clone(), Some(member.clone())),
        origin: origin.clone(),
        session_timeout: settings.session_timeout,
        assignor: settings.assignor.clone(),
        instance: settings.instance.clone(),
        auto_commit: settings.auto_commit.is_some(),
        on_rebalance: settings.on_rebalance.clone(),
        heard: Instant::now(),
        interval: Duration::ZERO,
    };
    membership.look_at_topics().await.map_err(refused)?;
    let give_up = Instant::now() + cluster.request_timeout();
    for failures in 1.. {
        match membership.beat().await {
            Err(error) if error.is_retriable() && Instant::now() < give_up => sleep(backoff::jittered(failures)).await,
            result => {
                result.map_err(refused)?;
                break;
            }
        }
    }
    Ok(membership)
}

impl Membership {
    /// Runs until it is aborted.
    pub(super) async fn run(mut self) {
        let mut failures = 0;
        loop {
            let wait = if failures == 0 { self.interval } else { backoff::jittered(failures) };
            drop(timeout(wait, self.member.beat_now.notified()).await);
            match self.beat().await {
                Ok(()) => failures = 0,
                Err(error) => {
                    failures += 1;
                    self.failed(error);
                }
            }
        }
    }

    /// One heartbeat, and more at once as long as partitions have to go.
    async fn beat(&mut self) -> Result<(), RequestError> {
        loop {
            let sent = Instant::now();
            let answer = match self.ask().await {
                Err(error) if is_fenced(&error) && self.has_joined() => {
                    self.lose_everything(&error);
                    continue; // With epoch 0.
                }
                answer => answer?,
            };
            self.heard = sent;
            self.interval = Duration::from_millis(answer.interval_ms.into()).min(self.session_timeout / 2);
            *self.member.epoch.lock() = answer.epoch;
            if !self.follow(&answer).await? {
                return Ok(());
            }
        }
    }

    async fn ask(&self) -> Result<HeartbeatAnswer, RequestError> {
        let session_timeout_ms = u32::try_from(self.session_timeout.as_millis()).unwrap_or(u32::MAX);
        let request = Request::Heartbeat(Heartbeat {
            group: self.member.group.clone(),
            member: self.member.id.clone(),
            epoch: *self.member.epoch.lock(),
            topics: self.member.topics.clone(),
            owned: self.owned(),
            session_timeout_ms,
            rebalance_timeout_ms: session_timeout_ms,
            assignor: self.assignor.clone(),
            instance: self.instance.clone(),
        });
        // The session counts from the last heartbeat that was answered: after that there is nothing to wait for.
        let end =
            if self.has_joined() { self.heard + self.session_timeout } else { Instant::now() + self.session_timeout };
        match in_time(end, self.cluster.ask(&request)).await? {
            (_, Response::Heartbeat(answer)) => Ok(answer),
            (link, other) => Err(link.refusal("heartbeat", other)),
        }
    }

    fn owned(&self) -> Vec<TopicPartitions> {
        let mut owned: BTreeMap<TopicId, TopicPartitions> = BTreeMap::new();
        for slot in self.shared.lock().slots.values() {
            let of_topic = || TopicPartitions { topic: slot.topic, partitions: Vec::new() };
            owned.entry(slot.topic).or_insert_with(of_topic).partitions.push(slot.place.partition);
        }
        owned.into_values().collect()
    }

    /// Does as the answer says; true if the broker should hear of it at once.
    async fn follow(&mut self, answer: &HeartbeatAnswer) -> Result<bool, RequestError> {
        let soon = Instant::now() + self.session_timeout / 2; // The next heartbeat must not wait for ever.
        let target = in_time(soon, self.places(&answer.assignment)).await?;
        let (revoked, progress) = self.give_up(&target);
        if self.auto_commit {
            self.commit_revoked(progress, soon).await;
        }
        let added = self.add(target);
        let event = RebalanceEvent { assigned: added.iter().map(|(place, ..)| place.clone()).collect(), revoked };
        let gave_up = !event.revoked.is_empty();
        self.tell(event);
        self.begin(added);
        Ok(gave_up)
    }

    async fn commit_revoked(&self, progress: Vec<Progress>, until: Instant) {
        let committed = timeout_at(until, self.committer.commit(&self.shared, progress)).await;
        let error = match committed {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        tracing::warn!(group = %self.member.group, %error, "offsets of revoked partitions were not committed");
    }

    /// The partitions of an assignment by name.
    async fn places(&self, assignment: &[TopicPartitions]) -> Result<BTreeMap<TopicPartition, TopicId>, RequestError> {
        if assignment.iter().any(|topic| self.cluster.name_of(topic.topic).is_none()) {
            self.look_at_topics().await?;
        }
        let mut places = BTreeMap::new();
        for TopicPartitions { topic, partitions } in assignment {
            // Unknown still: deleted meanwhile, and the next answer will not list it.
            let Some(name) = self.cluster.name_of(*topic) else { continue };
            let place = |partition: &_| (TopicPartition { topic: name.clone(), partition: *partition }, *topic);
            places.extend(partitions.iter().map(place));
        }
        Ok(places)
    }

    /// Takes what is not in `target` off the shelf; returns it with what the reader is done with.
    fn give_up(&self, target: &BTreeMap<TopicPartition, TopicId>) -> (Vec<TopicPartition>, Vec<Progress>) {
        let mut shelf = self.shared.lock();
        let stays = |place: &TopicPartition, topic: TopicId| target.get(place) == Some(&topic);
        let progress =
            shelf.slots.values().filter(|slot| !stays(&slot.place, slot.topic)).filter_map(Progress::consumed);
        let progress = progress.collect();
        let mut revoked = Vec::new();
        shelf.slots.retain(|place, slot| {
            let stays = stays(place, slot.topic);
            if !stays {
                revoked.push(place.clone());
            }
            stays
        });
        (revoked, progress)
    }

    fn add(&self, target: BTreeMap<TopicPartition, TopicId>) -> Vec<(TopicPartition, TopicId, u64)> {
        let mut shelf = self.shared.lock();
        let new: Vec<_> = target.into_iter().filter(|(place, _)| !shelf.slots.contains_key(place)).collect();
        new.into_iter()
            .map(|(place, topic)| {
                let version = shelf.add(place.clone(), topic);
                (place, topic, version)
            })
            .collect()
    }

    /// Finds out where the new partitions begin, beside the heartbeats.
    fn begin(&self, added: Vec<(TopicPartition, TopicId, u64)>) {
        if added.is_empty() {
            return;
        }
        let (cluster, shared, origin) = (self.cluster.clone(), self.shared.clone(), self.origin.clone());
        tokio::spawn(async move {
            let versions: Vec<u64> = added.iter().map(|(.., version)| *version).collect();
            let places: Vec<_> = added.into_iter().map(|(place, topic, _)| (place, topic)).collect();
            for failures in 1.. {
                let error = match start::resolve(&cluster, &shared, &places, &origin).await {
                    Ok(starts) => return start::begin(&shared, starts, &versions),
                    Err(error) => error,
                };
                let still_mine = shared.lock().slots.values().any(|slot| versions.contains(&slot.version));
                if !still_mine {
                    return;
                }
                tracing::debug!(%error, "cannot find out where to start; trying again");
                sleep(backoff::jittered(failures)).await;
            }
        });
    }

    fn failed(&mut self, error: RequestError) {
        tracing::debug!(group = %self.member.group, %error, "a heartbeat failed");
        let silent = self.session_timeout <= self.heard.elapsed();
        if silent && self.has_joined() {
            self.lose_everything(&error);
        }
        if !error.is_retriable() {
            self.shared.trouble(ConsumeError::Group { group: self.member.group.clone(), source: error });
        }
    }

    /// Gives up everything at once and starts again with epoch 0. Nothing can be committed any more.
    fn lose_everything(&mut self, error: &RequestError) {
        tracing::warn!(group = %self.member.group, %error, "lost all partitions; joining again");
        let (revoked, _) = self.give_up(&BTreeMap::new());
        *self.member.epoch.lock() = MemberEpoch::default();
        self.tell(RebalanceEvent { assigned: Vec::new(), revoked });
    }

    fn has_joined(&self) -> bool {
        *self.member.epoch.lock() != MemberEpoch::default()
    }

    fn tell(&self, event: RebalanceEvent) {
        let changed = event != RebalanceEvent::default();
        if let Some(callback) = self.on_rebalance.as_ref().filter(|_| changed) {
            callback(event);
        }
    }

    /// Learns the ids of the subscribed topics, and how many partitions each has at first sight: none if it is not there.
    async fn look_at_topics(&self) -> Result<(), RequestError> {
        let names: BTreeSet<TopicName> = self.member.topics.iter().cloned().collect();
        let names: Vec<TopicName> = names.into_iter().collect();
        let asked = Metadata { topics: Some(names.clone()), create_missing: false };
        let (_, answer) = self.cluster.metadata(asked).await?;
        let mut shelf = self.shared.lock();
        for (name, topic) in names.into_iter().zip(answer.topics) {
            let partitions = topic.map_or(0, |topic| topic.partitions.len() as u32);
            shelf.first_counts.entry(name).or_insert(partitions);
        }
        Ok(())
    }
}

/// Waits for an answer until `end`.
async fn in_time<T>(end: Instant, asking: impl Future<Output = Result<T, RequestError>>) -> Result<T, RequestError> {
    let late = |_| Failure::new(ErrorCode::TimedOut, "the group did not answer in time");
    timeout_at(end, asking).await.map_err(late)?
}

fn is_fenced(error: &RequestError) -> bool {
    matches!(error.code(), Some(ErrorCode::UnknownMember | ErrorCode::FencedMember))
}
