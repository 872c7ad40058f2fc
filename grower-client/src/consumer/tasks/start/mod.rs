//! Determines the start of each partition: a group's commit, a position, or a time.
//!
//! A group decides its start once for each topic, for all partitions, and the broker stores the decision as commits. So
//! every member follows it, regardless of its own setting. A partition that is added later, or is offline at the
//! decision, starts at its first record.

mod lookup;
mod spec;

pub(crate) use lookup::StartLookup;

use super::commit::Committer;
use crate::admin::{committed_offsets, list_offsets};
use crate::cluster::Cluster;
use crate::consumer::settings::StartFrom;
use crate::consumer::state::{FetchVersion, OffsetAndEpoch, SharedSubscription, SubscriptionState};
use crate::deadline::Deadline;
use crate::error::{ConsumeError, RequestError};
use crate::record::TopicPartition;
use crate::retry::{self, StartAction};
use grower_protocol::ids::{Offset, PartitionCount, PartitionId, TopicId, TopicName};
use grower_protocol::message::{
    CommittedOffset, ErrorCode, Failure, ListedOffset, OffsetSpec, OffsetToCommit, Request, Response, StartOffsets,
    TopicMetadata,
};
use spec::{StartSpec, find_starts};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tokio::task::JoinSet;

/// Decides where partitions start.
#[derive(Clone)]
pub(crate) struct StartPolicy {
    /// The group, if any: its committed offsets take precedence.
    pub(crate) committer: Option<Arc<Committer>>,
    pub(crate) from: Option<StartFrom>,
    /// The starts of single partitions, which take precedence over all others.
    pub(crate) at: Arc<BTreeMap<TopicPartition, Offset>>,
}

/// The start of a partition.
#[derive(Clone, Debug)]
pub(crate) struct PartitionStart {
    topic_partition: TopicPartition,
    position: OffsetAndEpoch,
    /// The position is the group's commit.
    is_committed: bool,
    /// The first offset that the log lost after the group had read it.
    lost_from: Option<Offset>,
}

type CommittedByPartition = HashMap<(TopicId, PartitionId), CommittedOffset>;

/// Adds partitions, which must exist, and starts them. A task looks up the start of those that are offline or have no
/// leader now; fails if that is true of all.
pub(crate) async fn assign(
    cluster: &Arc<Cluster>,
    shared: &Arc<SharedSubscription>,
    topic_partitions: &[TopicPartition],
    policy: &StartPolicy,
    tasks: &mut JoinSet<()>,
    deadline: Deadline,
) -> Result<(), ConsumeError> {
    let mut topics: BTreeMap<&TopicName, Arc<TopicMetadata>> = BTreeMap::new();
    let mut found = Vec::with_capacity(topic_partitions.len());
    for topic_partition in topic_partitions {
        let topic = match topics.entry(&topic_partition.topic) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(look_up(cluster, shared, &topic_partition.topic, deadline).await?),
        };
        check_exists(topic_partition, topic)?;
        found.push((topic_partition.clone(), topic.id));
    }
    let versions: Vec<FetchVersion> = {
        let mut subscription = shared.lock();
        found.iter().map(|(topic_partition, topic)| subscription.add(topic_partition.clone(), *topic)).collect()
    };
    let starts = resolve(cluster, shared, &found, policy, deadline).await.map_err(ConsumeError::Start)?;
    let mut lookup = StartLookup::new(cluster, shared, policy, found.into_iter().zip(versions));
    let fatal = |error: &&RequestError| retry::after_start_lookup(error) == StartAction::Fail;
    if let Some(error) = starts.iter().filter_map(|start| start.as_ref().err()).find(fatal) {
        return Err(ConsumeError::Start(error.clone()));
    }
    if let (false, Some(Err(error))) = (starts.iter().any(Result::is_ok), starts.first()) {
        return Err(ConsumeError::Start(error.clone()));
    }
    lookup.take(starts);
    if !lookup.is_done() {
        tasks.spawn(lookup.run());
    }
    Ok(())
}

/// Starts a partition, unless its position was set or it was revoked meanwhile.
fn start_partition(subscription: &mut SubscriptionState, start: &PartitionStart, version: FetchVersion) {
    let Some(mut partition) = subscription.current(&start.topic_partition, version) else { return };
    partition.move_to(start.position, version);
    partition.committed = start.is_committed.then_some(start.position.offset);
    // With an epoch, the first fetch finds the exact loss.
    if let (None, Some(lost_from)) = (start.position.epoch, start.lost_from) {
        partition.lost_from(OffsetAndEpoch::of_unknown_epoch(lost_from));
    }
}

/// Determines the start of each partition, in order.
pub(crate) async fn resolve(
    cluster: &Cluster,
    shared: &SharedSubscription,
    topic_partitions: &[(TopicPartition, TopicId)],
    policy: &StartPolicy,
    deadline: Deadline,
) -> Result<Vec<Result<PartitionStart, RequestError>>, RequestError> {
    let committed = match &policy.committer {
        // Also if all these starts are known: the group decides that of the topics' other partitions.
        Some(committer) if !topic_partitions.is_empty() => {
            committed_or_decided(cluster, shared, committer, topic_partitions, policy, deadline).await?
        }
        _ => HashMap::new(),
    };
    let mut starts: BTreeMap<usize, Result<PartitionStart, RequestError>> = BTreeMap::new();
    let mut lookups = Vec::new();
    for (at, (topic_partition, topic)) in topic_partitions.iter().enumerate() {
        let known = policy.at.get(topic_partition).map(|offset| StartSpec::Known(*offset));
        let committed = committed.get(&(*topic, topic_partition.partition));
        if let (None, Some(offset)) = (known, committed) {
            starts.insert(at, Ok(PartitionStart::committed(topic_partition, offset)));
            continue;
        }
        match known.unwrap_or_else(|| StartSpec::of(shared, topic_partition, *topic, policy.from)) {
            StartSpec::Known(offset) => {
                drop(starts.insert(at, Ok(PartitionStart::at(topic_partition.clone(), offset))))
            }
            spec => lookups.push((at, (topic_partition, spec))),
        }
    }
    let (looked_up, lookups): (Vec<usize>, Vec<_>) = lookups.into_iter().unzip();
    let found = find_starts(cluster, &lookups, deadline).await?;
    for ((at, (topic_partition, _)), found) in looked_up.into_iter().zip(lookups).zip(found) {
        starts.insert(at, found.map(|found| PartitionStart::at(topic_partition.clone(), found.offset)));
    }
    debug_assert_eq!(starts.len(), topic_partitions.len(), "each partition has a start or an error");
    Ok(starts.into_values().collect())
}

impl PartitionStart {
    fn at(topic_partition: TopicPartition, offset: Offset) -> Self {
        let position = OffsetAndEpoch::of_unknown_epoch(offset);
        Self { topic_partition, position, is_committed: false, lost_from: None }
    }

    fn committed(topic_partition: &TopicPartition, committed: &CommittedOffset) -> Self {
        Self {
            topic_partition: topic_partition.clone(),
            position: OffsetAndEpoch::new(committed.offset, committed.leader_epoch),
            is_committed: true,
            lost_from: committed.lost_from,
        }
    }
}

/// Looks up offsets, in order; returns the end where no record matches.
pub(crate) async fn look_up_offsets(
    cluster: &Cluster,
    lookups: &[(&TopicPartition, OffsetSpec)],
    deadline: Deadline,
) -> Result<Vec<Result<Offset, RequestError>>, RequestError> {
    let ask = |topic_partition: &TopicPartition, spec| (topic_partition.topic.clone(), topic_partition.partition, spec);
    let asked: Vec<_> = lookups.iter().map(|(topic_partition, spec)| ask(topic_partition, *spec)).collect();
    let answers = list_offsets(cluster, &asked, deadline).await?;
    debug_assert_eq!(answers.len(), lookups.len(), "each lookup has an answer");
    let unmatched = lookups.iter().zip(&answers).filter(|(_, answer)| is_unmatched(answer));
    let ends: Vec<_> = unmatched.map(|((topic_partition, _), _)| ask(topic_partition, OffsetSpec::End)).collect();
    let mut ends = list_offsets(cluster, &ends, deadline).await?.into_iter();
    let found = answers.into_iter().map(|answer| {
        let answer = if is_unmatched(&answer) { ends.next().unwrap_or(answer) } else { answer };
        answer.map(|listed| listed.offset.unwrap_or_default())
    });
    Ok(found.collect())
}

fn is_unmatched(answer: &Result<ListedOffset, RequestError>) -> bool {
    answer.as_ref().is_ok_and(|listed| listed.offset.is_none())
}

/// Returns the committed offsets of the group, and decides the start of topics without any.
async fn committed_or_decided(
    cluster: &Cluster,
    shared: &SharedSubscription,
    committer: &Committer,
    topic_partitions: &[(TopicPartition, TopicId)],
    policy: &StartPolicy,
    deadline: Deadline,
) -> Result<CommittedByPartition, RequestError> {
    let partitions =
        topic_partitions.iter().map(|(topic_partition, topic)| (*topic, topic_partition.partition)).collect();
    let known = committed_offsets(cluster, committer.group(), Some(partitions), deadline).await?;
    let mut known = by_partition(known);
    let open: Vec<_> = topic_partitions
        .iter()
        .filter(|(topic_partition, topic)| !known.contains_key(&(*topic, topic_partition.partition)))
        .collect();
    if open.is_empty() {
        return Ok(known);
    }
    let starts = propose_starts(cluster, shared, &open, policy, deadline).await?;
    if starts.is_empty() {
        return Ok(known);
    }
    let (group, committer) = (committer.group().clone(), committer.identity());
    let request = Request::StartOffsets(StartOffsets { group, committer, starts });
    match cluster.ask_retrying(&request, deadline).await {
        Ok((_, Response::FetchOffsets(offsets))) => known.extend(by_partition(offsets)),
        Ok((connection, other)) => return Err(connection.unexpected("start offsets", other)),
        Err(error) if retry::leaves_start_to_consumer(&error) => {}
        Err(error) => return Err(error),
    }
    Ok(known)
}

fn by_partition(offsets: Vec<CommittedOffset>) -> CommittedByPartition {
    offsets.into_iter().map(|committed| ((committed.topic, committed.partition), committed)).collect()
}

/// Proposes the group's start in all partitions of these topics that are not offline. Proposes none if the start is
/// beyond the end of a partition to read: the reader then gets that error.
async fn propose_starts(
    cluster: &Cluster,
    shared: &SharedSubscription,
    to_read: &[&(TopicPartition, TopicId)],
    policy: &StartPolicy,
    deadline: Deadline,
) -> Result<Vec<OffsetToCommit>, RequestError> {
    let partitions = partitions_of_topics(cluster, to_read, deadline).await?;
    let wanted: Vec<_> =
        partitions.iter().map(|(name, topic)| (name, StartSpec::of(shared, name, *topic, policy.from))).collect();
    let found = find_starts(cluster, &wanted, deadline).await?;
    let mut starts = Vec::new();
    for ((topic_partition, topic), found) in partitions.iter().zip(found) {
        let found = match found {
            // The partition starts at its first record once it is served.
            Err(error) if retry::after_start_lookup(&error) == StartAction::ReportAndRetry => continue,
            found => found?,
        };
        let is_read = |name| to_read.iter().any(|(to_read, _)| to_read == name) && !policy.at.contains_key(name);
        if found.is_beyond_end && is_read(topic_partition) {
            return Ok(Vec::new());
        }
        let (topic, partition, offset) = (*topic, topic_partition.partition, found.offset);
        starts.push(OffsetToCommit { topic, partition, offset, leader_epoch: None, metadata: String::new() });
    }
    Ok(starts)
}

/// Returns all partitions of the topics of `to_read` that still have the same id.
async fn partitions_of_topics(
    cluster: &Cluster,
    to_read: &[&(TopicPartition, TopicId)],
    deadline: Deadline,
) -> Result<Vec<(TopicPartition, TopicId)>, RequestError> {
    let topics: BTreeMap<_, _> =
        to_read.iter().map(|(topic_partition, topic)| (topic_partition.topic.clone(), *topic)).collect();
    let mut partitions = Vec::new();
    for (name, id) in topics {
        let topic = cluster.refresh(&name, false, deadline).await?;
        let topic_partition = |partition| (TopicPartition { topic: name.clone(), partition }, id);
        if topic.id == id {
            partitions.extend(topic.partitions.iter().map(|partition| topic_partition(partition.partition)));
        }
    }
    Ok(partitions)
}

/// Looks up a topic that must exist, and keeps its id and number of partitions at first sight.
async fn look_up(
    cluster: &Cluster,
    shared: &SharedSubscription,
    name: &TopicName,
    deadline: Deadline,
) -> Result<Arc<TopicMetadata>, ConsumeError> {
    let missing = |source| ConsumeError::Topic { topic: name.clone(), source };
    let topic = cluster.refresh(name, false, deadline).await.map_err(missing)?;
    let seen = (Some(topic.id), topic.partitions.len() as u32);
    shared.lock().first_seen.entry(name.clone()).or_insert(seen);
    Ok(topic)
}

fn check_exists(topic_partition: &TopicPartition, topic: &TopicMetadata) -> Result<(), ConsumeError> {
    if topic_partition.partition.value() < topic.partitions.len() as u32 {
        return Ok(());
    }
    let count = PartitionCount(topic.partitions.len() as u32);
    let detail = format_args!("{topic_partition} does not exist: the topic has {count}, counted from 0");
    let source = Failure::new(ErrorCode::UnknownPartition, detail).into();
    Err(ConsumeError::Topic { topic: topic_partition.topic.clone(), source })
}
