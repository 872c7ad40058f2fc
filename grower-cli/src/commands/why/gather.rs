//! Fetches the facts from a broker.

use super::group::{GroupFacts, MemberFacts, UnstartedPartition};
use super::topic::{ReaderFacts, TopicFacts};
use crate::capacity::{Capacity, Rate};
use crate::groups::{self, GroupProgress};
use grower_client::ids::{TopicId, TopicName};
use grower_client::{
    Admin, AdminError, BrokerDescription, ErrorCode, GroupDescription, MemberDescription, OffsetSpec, TopicDescription,
    TopicPartitions,
};
use std::collections::{BTreeMap, BTreeSet};

/// The internal topic of committed offsets.
const COMMITS: &str = "__consumer_offsets";

type TopicNames = BTreeMap<TopicId, TopicName>;

/// The facts about a topic; none if it does not exist.
pub(crate) async fn topic(admin: &Admin, name: &str) -> Result<Option<TopicFacts>, AdminError> {
    let Some(topic) = none_if_unknown(admin.describe_topic(name, false).await)? else { return Ok(None) };
    let Some(losses) = none_if_unknown(admin.list_losses(name).await)? else { return Ok(None) };
    let broker = admin.describe_broker().await?;
    let described = admin.list_groups(usize::MAX).await?;
    let names = TopicNames::from([(topic.id, topic.name.clone())]);
    let progress = groups::fetch_progress(admin, &described, &names, broker.now).await?;
    let readers = described.iter().zip(progress).filter_map(|(group, rows)| reader(group, &rows)).collect();
    let traffic = broker.topics.iter().find(|traffic| traffic.topic == topic.id);
    Ok(Some(TopicFacts {
        rate: traffic.map(|traffic| Rate::of(&traffic.recent, traffic.recent_ms)).unwrap_or_default(),
        capacity: broker.disk.as_ref().map(Capacity::of),
        readers,
        losses,
        offline: offline(admin, std::slice::from_ref(&topic)).await?,
        topic,
    }))
}

fn reader(group: &GroupDescription, rows: &[GroupProgress]) -> Option<ReaderFacts> {
    (!rows.is_empty()).then(|| ReaderFacts {
        group: group.group.to_string(),
        lag: rows.iter().map(|row| row.lag).sum(),
        lag_ms: rows.iter().filter_map(|row| row.lag_ms).max(),
    })
}

/// The facts about a group; none if it does not exist.
pub(crate) async fn group(admin: &Admin, name: &str) -> Result<Option<GroupFacts>, AdminError> {
    let Some(group) = none_if_unknown(admin.describe_group(name).await)? else { return Ok(None) };
    let BrokerDescription { now, .. } = admin.describe_broker().await?;
    let names = groups::topic_names(admin).await?;
    let commits = admin.list_commits(name).await?;
    let commits = commits
        .iter()
        .filter_map(|commit| Some((format!("{}/{}", names.get(&commit.topic)?, commit.partition), commit.at)));
    let described = [group];
    let mut progress = groups::fetch_progress(admin, &described, &names, now).await?;
    let partitions = progress.pop().unwrap_or_default();
    let [group] = described;
    let members = members(&group, &names);
    let subscribed: BTreeSet<String> = members.iter().flat_map(|member| member.topics.clone()).collect();
    let committed = group.offsets.iter().filter_map(|commit| names.get(&commit.topic)).map(TopicName::to_string);
    let concerned = partitions.iter().map(|row| row.topic.to_string()).chain(subscribed.iter().cloned());
    let mut topics = Vec::new();
    for topic in concerned.chain(committed).collect::<BTreeSet<_>>() {
        topics.extend(none_if_unknown(admin.describe_topic(&topic, false).await)?);
    }
    let existing: BTreeSet<String> = topics.iter().map(|topic| topic.name.to_string()).collect();
    let offline = offline(admin, &topics).await?;
    let served = |partition: &UnstartedPartition| !offline.contains_key(&partition.name);
    Ok(Some(GroupFacts {
        group: group.group.to_string(),
        now,
        members,
        commits: commits.collect(),
        unstarted: unstarted(&topics, &subscribed, &partitions).into_iter().filter(served).collect(),
        missing_topics: subscribed.difference(&existing).cloned().collect(),
        damaged: topics.iter().flat_map(damaged).collect(),
        damaged_commits: none_if_unknown(admin.describe_topic(COMMITS, false).await)?
            .iter()
            .flat_map(damaged)
            .collect(),
        partitions,
        offline,
    }))
}

fn members(group: &GroupDescription, names: &TopicNames) -> Vec<MemberFacts> {
    let member = |member: &MemberDescription| MemberFacts {
        member: member.member.to_string(),
        client: member.client.clone(),
        address: member.address.clone(),
        silent_ms: member.silent_ms,
        session_timeout_ms: member.session_timeout_ms.into(),
        topics: member.topics.iter().map(TopicName::to_string).collect(),
        awaits: member.awaits.iter().flat_map(|of| partition_names(of, names)).collect(),
        replaced_by: member.replaced_by.as_ref().map(ToString::to_string),
    };
    group.members.iter().map(member).collect()
}

fn partition_names(of: &TopicPartitions, names: &TopicNames) -> Vec<String> {
    let Some(topic) = names.get(&of.topic) else { return Vec::new() };
    of.partitions.iter().map(|partition| format!("{topic}/{partition}")).collect()
}

fn unstarted(
    topics: &[TopicDescription],
    subscribed: &BTreeSet<String>,
    known: &[GroupProgress],
) -> Vec<UnstartedPartition> {
    let subscribed = topics.iter().filter(|topic| subscribed.contains(topic.name.as_str()));
    let all = subscribed.flat_map(|topic| topic.partitions.iter().map(move |p| (&topic.name, p)));
    let unstarted =
        all.filter(|(topic, found)| !known.iter().any(|row| (&row.topic, row.partition) == (topic, found.partition)));
    let described = unstarted.map(|(topic, found)| UnstartedPartition {
        name: format!("{topic}/{}", found.partition),
        records: found.high_watermark.since(found.log_start),
    });
    described.collect()
}

/// Partitions without a leader, with the error that the broker returns.
async fn offline(admin: &Admin, topics: &[TopicDescription]) -> Result<BTreeMap<String, String>, AdminError> {
    let led = |topic: &TopicDescription| {
        let partitions = topic.partitions.iter().filter(|partition| partition.leader.is_none());
        partitions.map(|partition| (topic.name.clone(), partition.partition, OffsetSpec::End)).collect::<Vec<_>>()
    };
    let lookups: Vec<_> = topics.iter().flat_map(led).collect();
    let answers = admin.list_offsets(lookups.clone()).await?;
    let why = lookups.into_iter().zip(answers).filter_map(|((topic, partition, _), answer)| {
        Some((format!("{topic}/{partition}"), answer.err()?.to_string()))
    });
    Ok(why.collect())
}

type Damaged = (String, Vec<(grower_client::ids::Offset, grower_client::ids::Offset)>);

fn damaged(topic: &TopicDescription) -> impl Iterator<Item = Damaged> {
    let damaged = topic.partitions.iter().filter(|partition| !partition.damaged.is_empty());
    damaged.map(|partition| (format!("{}/{}", topic.name, partition.partition), partition.damaged.clone()))
}

/// Turns "unknown" and "invalid name" errors into none.
fn none_if_unknown<T>(result: Result<T, AdminError>) -> Result<Option<T>, AdminError> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(AdminError::Name(_)) => Ok(None),
        Err(error) if matches!(error.code(), Some(ErrorCode::UnknownTopic | ErrorCode::UnknownGroup)) => Ok(None),
        Err(error) => Err(error),
    }
}
