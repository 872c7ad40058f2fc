//! Offset lookups: by position, by time, and the start of a loss.

use super::{Admin, PARTITIONS_MAX};
use crate::cluster::Cluster;
use crate::deadline::Deadline;
use crate::error::{AdminError, RequestError, single_part};
use crate::record::TopicPartition;
use grower_protocol::ids::{LeaderEpoch, Offset, PartitionId, TopicId, TopicName};
use grower_protocol::message::{
    ErrorCode, Failure, Fetch, FetchPartition, FetchedPartition, ListOffset, ListOffsets, ListedOffset, Metadata,
    OffsetSpec, Part, Request, Response, TopicMetadata,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One lookup: the partition and the kind of offset.
pub(crate) type OffsetLookup = (TopicName, PartitionId, OffsetSpec);

impl Admin {
    /// Looks up offsets and returns them in the order of `lookups`.
    pub async fn list_offsets(
        &self,
        lookups: impl IntoIterator<Item = (impl AsRef<str>, impl Into<PartitionId>, OffsetSpec)>,
    ) -> Result<Vec<Result<ListedOffset, AdminError>>, AdminError> {
        let mut checked = Vec::new();
        for (topic, partition, spec) in lookups {
            checked.push((TopicName::new(topic.as_ref())?, partition.into(), spec));
        }
        let results = list_offsets(&self.cluster, &checked, self.cluster.deadline()).await?;
        Ok(results.into_iter().map(|result| result.map_err(AdminError::from)).collect())
    }

    /// Returns the first offset that a partition's log lost, given that it once had a record before `end` with a leader
    /// epoch of at most `epoch`; `None` while it still has that record. Other records may have taken the lost offsets
    /// since.
    pub async fn lost_from(
        &self,
        topic_partition: &TopicPartition,
        topic: TopicId,
        end: Offset,
        epoch: LeaderEpoch,
    ) -> Result<Option<Offset>, AdminError> {
        let deadline = self.cluster.deadline();
        let known = self.cluster.refresh(&topic_partition.topic, false, deadline).await?;
        let connection = match self.cluster.leader(&known, topic_partition.partition) {
            Some(leader) => self.cluster.control_pool().connect(&leader, deadline).await?,
            None => self.cluster.any_broker(deadline).await?,
        };
        let partition = FetchPartition {
            topic,
            partition: topic_partition.partition,
            offset: end,
            max_bytes: 0,
            leader_epoch: None,
            last_epoch: Some(epoch),
        };
        let request = Request::Fetch(Fetch { max_wait_ms: 0, min_bytes: 0, max_bytes: 0, partitions: vec![partition] });
        let fetched = match connection.ask(&request, deadline).await? {
            Response::Fetch(fetched) => single_part(connection.address(), "fetch", fetched.partitions)?,
            other => return Err(connection.unexpected("fetch", other).into()),
        };
        match fetched {
            FetchedPartition::Diverged(divergence) => Ok(Some(divergence.end)),
            FetchedPartition::Records(_) => Ok(None),
        }
    }
}

/// Asks each partition's leader, with many partitions of one leader in each request. Refreshes the metadata first, so
/// that a recreated topic gets its current offsets.
pub(crate) async fn list_offsets(
    cluster: &Cluster,
    lookups: &[OffsetLookup],
    deadline: Deadline,
) -> Result<Vec<Result<ListedOffset, RequestError>>, RequestError> {
    if lookups.is_empty() {
        return Ok(Vec::new());
    }
    let topics = topics_now(cluster, lookups, deadline).await?;
    let mut results: Vec<Result<ListedOffset, RequestError>> = Vec::with_capacity(lookups.len());
    let mut by_leader: BTreeMap<Option<Arc<str>>, Vec<(usize, ListOffset)>> = BTreeMap::new();
    for (at, (name, partition, spec)) in lookups.iter().enumerate() {
        match topics.get(name) {
            Some(Ok(topic)) => {
                let lookup = ListOffset { topic: topic.id, partition: *partition, spec: *spec };
                by_leader.entry(cluster.leader(topic, *partition)).or_default().push((at, lookup));
                results.push(Err(unanswered().into()));
            }
            Some(Err(failure)) => results.push(Err(failure.clone().into())),
            None => results.push(Err(unanswered().into())),
        }
    }
    for (leader, asked) in by_leader {
        for asked in asked.chunks(PARTITIONS_MAX) {
            let partitions = asked.iter().map(|(_, lookup)| *lookup).collect();
            let parts = ask_leader(cluster, leader.as_ref(), partitions, deadline).await?;
            for ((slot, _), part) in asked.iter().zip(parts) {
                results[*slot] = part.map_err(RequestError::from);
            }
        }
    }
    Ok(results)
}

async fn topics_now(
    cluster: &Cluster,
    lookups: &[OffsetLookup],
    deadline: Deadline,
) -> Result<BTreeMap<TopicName, Part<TopicMetadata>>, RequestError> {
    let names: BTreeSet<TopicName> = lookups.iter().map(|(name, ..)| name.clone()).collect();
    let names: Vec<TopicName> = names.into_iter().collect();
    let asked = Metadata { topics: Some(names.clone()), create_missing: false };
    let (_, answer) = cluster.metadata(asked, deadline).await?;
    Ok(names.into_iter().zip(answer.topics).collect())
}

async fn ask_leader(
    cluster: &Cluster,
    leader: Option<&Arc<str>>,
    partitions: Vec<ListOffset>,
    deadline: Deadline,
) -> Result<Vec<Part<ListedOffset>>, RequestError> {
    let asked = partitions.len();
    let connection = match leader {
        Some(leader) => cluster.control_pool().connect(leader, deadline).await?,
        None => cluster.any_broker(deadline).await?, // Any broker can report the partition's fault.
    };
    match connection.ask(&Request::ListOffsets(ListOffsets { partitions }), deadline).await? {
        Response::ListOffsets(parts) if parts.len() == asked => Ok(parts),
        other => Err(connection.unexpected("list offsets", other)),
    }
}

fn unanswered() -> Failure {
    Failure::new(ErrorCode::Internal, "the broker did not answer for this partition")
}
