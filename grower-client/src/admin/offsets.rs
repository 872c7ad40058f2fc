//! Offsets by position and by time.

use super::{Admin, PARTITIONS_MAX};
use crate::cluster::Cluster;
use crate::error::{AdminError, RequestError};
use grower_protocol::ids::{PartitionId, TopicName};
use grower_protocol::message::{
    ErrorCode, Failure, ListOffset, ListOffsets, ListedOffset, Metadata, OffsetSpec, Part, Request, Response,
    TopicMetadata,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One lookup: where, and for what.
pub(crate) type Lookup = (TopicName, PartitionId, OffsetSpec);

impl Admin {
    /// Looks up offsets; the results stand in the order asked.
    pub async fn list_offsets(
        &self,
        lookups: impl IntoIterator<Item = (impl AsRef<str>, impl Into<PartitionId>, OffsetSpec)>,
    ) -> Result<Vec<Result<ListedOffset, AdminError>>, AdminError> {
        let mut checked = Vec::new();
        for (topic, partition, spec) in lookups {
            checked.push((TopicName::new(topic.as_ref())?, partition.into(), spec));
        }
        let results = list_offsets(&self.cluster, &checked).await?;
        Ok(results.into_iter().map(|result| result.map_err(AdminError::from)).collect())
    }
}

/// Asks each partition's leader, many partitions of one leader in each request. Topics are looked up anew, so that one
/// that was deleted and created again is found as it is now.
pub(crate) async fn list_offsets(
    cluster: &Cluster,
    lookups: &[Lookup],
) -> Result<Vec<Result<ListedOffset, RequestError>>, RequestError> {
    if lookups.is_empty() {
        return Ok(Vec::new());
    }
    let topics = topics_now(cluster, lookups).await?;
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
            let parts = ask_leader(cluster, leader.as_ref(), partitions).await?;
            for ((slot, _), part) in asked.iter().zip(parts) {
                results[*slot] = part.map_err(RequestError::from);
            }
        }
    }
    Ok(results)
}

async fn topics_now(
    cluster: &Cluster,
    lookups: &[Lookup],
) -> Result<BTreeMap<TopicName, Part<TopicMetadata>>, RequestError> {
    let names: BTreeSet<TopicName> = lookups.iter().map(|(name, ..)| name.clone()).collect();
    let names: Vec<TopicName> = names.into_iter().collect();
    let (_, answer) = cluster.metadata(Metadata { topics: Some(names.clone()), create_missing: false }).await?;
    Ok(names.into_iter().zip(answer.topics).collect())
}

async fn ask_leader(
    cluster: &Cluster,
    leader: Option<&Arc<str>>,
    partitions: Vec<ListOffset>,
) -> Result<Vec<Part<ListedOffset>>, RequestError> {
    let asked = partitions.len();
    let link = match leader {
        Some(leader) => cluster.control_lane().link(leader).await?,
        None => cluster.control().await?, // Any broker can say what is wrong with the partition.
    };
    match link.ask(&Request::ListOffsets(ListOffsets { partitions })).await? {
        Response::ListOffsets(parts) if parts.len() == asked => Ok(parts),
        other => Err(link.refusal("list offsets", other)),
    }
}

fn unanswered() -> Failure {
    Failure::new(ErrorCode::Internal, "the broker did not answer for this partition")
}
