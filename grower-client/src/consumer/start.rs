//! Where to begin: by what a group committed, by position, or by time.

use super::builder::StartFrom;
use super::shelf::Shared;
use super::slot::Version;
use crate::admin::list_offsets;
use crate::cluster::Cluster;
use crate::error::{ConsumeError, RequestError};
use crate::record::TopicPartition;
use grower_protocol::ids::{GroupId, Offset, PartitionId, TopicId};
use grower_protocol::message::{ErrorCode, Failure, OffsetSpec, Request, Response, TopicMetadata};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What decides where partitions begin.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) group: Option<GroupId>,
    pub(super) from: Option<StartFrom>,
}

/// Where a partition begins, and whether the group said so.
pub(super) type Start = (TopicPartition, Offset, bool);

/// Puts `places` on the shelf and begins each where it should. All must exist.
pub(super) async fn assign(
    cluster: &Arc<Cluster>,
    shared: &Arc<Shared>,
    places: &[TopicPartition],
    origin: &Origin,
) -> Result<(), ConsumeError> {
    let mut found = Vec::new();
    for place in places {
        let topic = look_up(cluster, place).await?;
        shared.lock().first_counts.entry(place.topic.clone()).or_insert(topic.partitions.len() as u32);
        found.push((place.clone(), topic.id));
    }
    let versions: Vec<Version> = {
        let mut shelf = shared.lock();
        found.iter().map(|(place, topic)| shelf.add(place.clone(), *topic)).collect()
    };
    let starts = resolve(cluster, shared, &found, origin).await.map_err(ConsumeError::Start)?;
    begin(shared, starts, &versions);
    Ok(())
}

/// Begins each partition where it should, unless it was moved or given up meanwhile.
pub(super) fn begin(shared: &Shared, starts: Vec<Start>, versions: &[Version]) {
    for ((place, offset, committed), version) in starts.into_iter().zip(versions) {
        shared.with(&place, *version, |slot, _| {
            slot.move_to(offset, *version);
            slot.committed = committed.then_some(offset);
        });
    }
}

/// Finds out where each of these partitions begins, in their order.
pub(super) async fn resolve(
    cluster: &Cluster,
    shared: &Shared,
    places: &[(TopicPartition, TopicId)],
    origin: &Origin,
) -> Result<Vec<Start>, RequestError> {
    let committed = match &origin.group {
        Some(group) => committed(cluster, group, places).await?,
        None => HashMap::new(),
    };
    let mut starts: BTreeMap<usize, Start> = BTreeMap::new();
    let mut lookups = Vec::new();
    for (at, (place, topic)) in places.iter().enumerate() {
        if let Some(offset) = committed.get(&(*topic, place.partition)) {
            starts.insert(at, (place.clone(), *offset, true));
            continue;
        }
        match spec(shared, place, origin.from) {
            Spec::Known(offset) => drop(starts.insert(at, (place.clone(), offset, false))),
            Spec::LookUp(spec) => lookups.push((at, place, spec)),
        }
    }
    for (at, place, offset) in look_up_offsets(cluster, lookups).await? {
        starts.insert(at, (place, offset, false));
    }
    Ok(starts.into_values().collect())
}

enum Spec {
    Known(Offset),
    LookUp(OffsetSpec),
}

fn spec(shared: &Shared, place: &TopicPartition, from: Option<StartFrom>) -> Spec {
    let came_later =
        shared.lock().first_counts.get(&place.topic).is_some_and(|count| *count <= place.partition.value());
    match from {
        _ if came_later => Spec::LookUp(OffsetSpec::Beginning),
        None | Some(StartFrom::Beginning | StartFrom::Committed) => Spec::LookUp(OffsetSpec::Beginning),
        Some(StartFrom::End) => Spec::LookUp(OffsetSpec::End),
        Some(StartFrom::Time(time)) => Spec::LookUp(OffsetSpec::AtOrAfter(time)),
        Some(StartFrom::Offset(offset)) => Spec::Known(offset),
    }
}

/// Looks offsets up; where no record matches, the end is meant.
pub(super) async fn look_up_offsets(
    cluster: &Cluster,
    lookups: Vec<(usize, &TopicPartition, OffsetSpec)>,
) -> Result<Vec<(usize, TopicPartition, Offset)>, RequestError> {
    let ask = |specs: Vec<(&TopicPartition, OffsetSpec)>| {
        specs.into_iter().map(|(place, spec)| (place.topic.clone(), place.partition, spec)).collect::<Vec<_>>()
    };
    let mut found = Vec::new();
    let mut unmatched = Vec::new();
    let answers = list_offsets(cluster, &ask(lookups.iter().map(|(_, place, spec)| (*place, *spec)).collect())).await?;
    for ((at, place, _), answer) in lookups.into_iter().zip(answers) {
        match answer?.offset {
            Some(offset) => found.push((at, place.clone(), offset)),
            None => unmatched.push((at, place)),
        }
    }
    let ends =
        list_offsets(cluster, &ask(unmatched.iter().map(|(_, place)| (*place, OffsetSpec::End)).collect())).await?;
    for ((at, place), answer) in unmatched.into_iter().zip(ends) {
        found.push((at, place.clone(), answer?.offset.unwrap_or_default()));
    }
    Ok(found)
}

async fn committed(
    cluster: &Cluster,
    group: &GroupId,
    places: &[(TopicPartition, TopicId)],
) -> Result<HashMap<(TopicId, PartitionId), Offset>, RequestError> {
    let partitions = Some(places.iter().map(|(place, topic)| (*topic, place.partition)).collect());
    match cluster.ask_again(&Request::FetchOffsets { group: group.clone(), partitions }).await {
        Ok((_, Response::FetchOffsets(offsets))) => {
            Ok(offsets.into_iter().map(|offset| ((offset.topic, offset.partition), offset.offset)).collect())
        }
        Ok((link, other)) => Err(link.refusal("fetch offsets", other)),
        Err(error) if error.code() == Some(ErrorCode::UnknownGroup) => Ok(HashMap::new()),
        Err(error) => Err(error),
    }
}

/// The topic of a partition that must exist.
async fn look_up(cluster: &Cluster, place: &TopicPartition) -> Result<Arc<TopicMetadata>, ConsumeError> {
    let missing = |source| ConsumeError::Topic { topic: place.topic.clone(), source };
    let topic = cluster.refresh(&place.topic, false).await.map_err(missing)?;
    if topic.partitions.len() <= place.partition.value() as usize {
        let detail = format_args!("{place} does not exist: the topic has {} partitions", topic.partitions.len());
        return Err(missing(Failure::new(ErrorCode::UnknownPartition, detail).into()));
    }
    Ok(topic)
}
