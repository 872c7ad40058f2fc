//! `--until-end`: the end of each partition at the start of the command.
//!
//! An end belongs to one topic id and to the log of its partition at that time. A topic that was created again has
//! nothing left to read. In a log that lost records the end falls to the first lost offset.

use super::offline::OfflinePartitions;
use crate::output::stderr_line;
use grower_client::ids::{LeaderEpoch, Offset, PartitionId, TopicId, TopicName};
use grower_client::{
    Admin, AdminError, Client, Consumer, ConsumerRecord, ErrorCode, Gap, GapCause, OffsetSpec, PartitionDescription,
    TopicDescription, TopicPartition,
};
use std::collections::{BTreeMap, BTreeSet};

/// The high watermarks at the start of the command.
pub(super) struct PartitionEnds {
    topics: BTreeMap<String, BTreeMap<PartitionId, PartitionEnd>>,
    /// In a group: partitions that may have no starting offset yet. The command ends only once they have one;
    /// otherwise the next run could start elsewhere.
    undecided: BTreeMap<(String, PartitionId), TopicId>,
}

/// The end of one partition.
#[derive(Clone, Copy, Debug)]
struct PartitionEnd {
    offset: Offset,
    topic: TopicId,
    /// The leader epoch at the start of the command.
    epoch_at_start: LeaderEpoch,
    /// The latest leader epoch whose log is known to contain the end.
    reviewed_epoch: LeaderEpoch,
}

/// The committed offsets of a group.
pub(super) type CommittedOffsets = BTreeMap<(TopicId, PartitionId), Offset>;

impl PartitionEnds {
    /// Fetches the ends from the broker. Offline partitions stay unread.
    pub(super) async fn fetch(
        admin: &Admin,
        partitions: &[(String, PartitionId)],
        in_group: bool,
        offline: &mut OfflinePartitions,
    ) -> anyhow::Result<Self> {
        let served = served(admin, partitions, offline).await?;
        let names: BTreeSet<&String> = served.iter().map(|(topic, _)| topic).collect();
        let mut topics: BTreeMap<String, BTreeMap<PartitionId, PartitionEnd>> = BTreeMap::new();
        let mut undecided = BTreeMap::new();
        for name in names {
            let topic = admin.describe_topic(name, false).await?;
            let wanted =
                |now: &&PartitionDescription| served.iter().any(|(topic, p)| topic == name && *p == now.partition);
            if in_group {
                let topic_partition = |now: &PartitionDescription| ((name.clone(), now.partition), topic.id);
                undecided.extend(topic.partitions.iter().filter(wanted).map(topic_partition));
            }
            // An empty partition has nothing to wait for.
            for now in topic.partitions.iter().filter(wanted).filter(|now| now.log_start < now.high_watermark) {
                let end = PartitionEnd {
                    offset: now.high_watermark,
                    topic: topic.id,
                    epoch_at_start: now.leader_epoch,
                    reviewed_epoch: now.leader_epoch,
                };
                topics.entry(name.clone()).or_default().insert(now.partition, end);
            }
        }
        Ok(Self { topics, undecided })
    }

    /// Whether a record was appended after the start of the command.
    pub(super) fn is_past(&self, record: &ConsumerRecord) -> bool {
        let end = self.topics.get(record.topic.as_str()).and_then(|partitions| partitions.get(&record.partition));
        // A later leader epoch may have reused the offsets of lost records.
        end.is_none_or(|end| end.offset <= record.offset || record.leader_epoch > Some(end.epoch_at_start))
    }

    /// Drops the partitions that the consumer has read to their ends.
    pub(super) fn drop_reached(&mut self, consumer: &Consumer) {
        for (topic, partitions) in &mut self.topics {
            partitions.retain(|partition, end| {
                consumer.position(topic, *partition).is_none_or(|position| position < end.offset)
            });
        }
        self.topics.retain(|_, partitions| !partitions.is_empty());
    }

    /// Handles a gap. A recreated topic has none of the old records left. A loss of records may be older than the
    /// end: the next review decides.
    pub(super) fn handle_gap(&mut self, gap: &Gap) {
        if let (GapCause::TopicRecreated, Some(partitions)) =
            (gap.cause, self.topics.get_mut(gap.topic_partition.topic.as_str()))
        {
            partitions.remove(&gap.topic_partition.partition);
        }
    }

    /// Compares the ends with the broker's present state: drops the partitions of recreated topics, lowers the ends
    /// that a log lost, and reports both.
    pub(super) async fn review(&mut self, admin: &Admin) -> anyhow::Result<()> {
        for (name, partitions) in &mut self.topics {
            let reviewed = match admin.describe_topic(name, false).await {
                Ok(topic) => review_topic(admin, &topic, partitions).await,
                Err(error) => Err(error),
            };
            match reviewed {
                Err(error) if error.is_retriable() => {}                          // Next time.
                Err(error) if error.code() == Some(ErrorCode::UnknownTopic) => {} // The consumer gets the same error.
                Err(error) if error.code() == Some(ErrorCode::OffsetOutOfRange) => {} // Dropped just now: next time.
                other => other?,
            }
        }
        Ok(())
    }

    /// Drops the partitions that other members of the group have committed to their ends, and those of deleted topics.
    pub(super) async fn drop_committed(&mut self, client: &Client, group: &str) -> anyhow::Result<()> {
        let topics = client.admin().metadata().await?.topics;
        let existing: BTreeMap<_, _> =
            topics.into_iter().flatten().map(|topic| (topic.name.to_string(), topic.id)).collect();
        self.topics.retain(|topic, _| existing.contains_key(topic));
        let Ok(committed) = committed(client, group).await else { return Ok(()) }; // Next time.
        for partitions in self.topics.values_mut() {
            let at = |partition: &PartitionId, end: &PartitionEnd| committed.get(&(end.topic, *partition)).copied();
            partitions.retain(|partition, end| at(partition, end).is_none_or(|committed| committed < end.offset));
        }
        Ok(())
    }

    /// Drops the partitions that have a starting offset, which they get when a consumer of the group starts to read
    /// them. True once none is missing, or if other members may read the rest.
    pub(super) async fn check_started(
        &mut self,
        consumer: &Consumer,
        client: &Client,
        group: &str,
    ) -> anyhow::Result<bool> {
        self.undecided.retain(|(topic, partition), _| consumer.position(topic, *partition).is_none());
        if self.undecided.is_empty() {
            return Ok(true);
        }
        let described = match client.admin().describe_group(group).await {
            Ok(described) => described,
            Err(error) if error.is_retriable() || error.code() == Some(ErrorCode::UnknownGroup) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let is_committed = |partition: PartitionId, id: TopicId| {
            described.offsets.iter().any(|offset| offset.topic == id && offset.partition == partition)
        };
        self.undecided.retain(|(_, partition), id| !is_committed(*partition, *id));
        Ok(self.undecided.is_empty() || 1 < described.members.len())
    }

    /// Drops a deleted topic.
    pub(super) fn drop_topic(&mut self, topic: &str) {
        self.topics.remove(topic);
        self.undecided.retain(|(name, _), _| name != topic);
    }

    /// Drops an offline partition. True if it was not read to its end.
    pub(super) fn drop_partition(&mut self, topic_partition: &TopicPartition) -> bool {
        self.undecided.remove(&(topic_partition.topic.to_string(), topic_partition.partition));
        let partitions = self.topics.get_mut(topic_partition.topic.as_str());
        partitions.is_some_and(|partitions| partitions.remove(&topic_partition.partition).is_some())
    }

    /// Whether every partition was read to its end.
    pub(super) fn is_empty(&self) -> bool {
        self.topics.values().all(BTreeMap::is_empty)
    }
}

/// Returns the partitions that can be read. Fails if the state of one cannot be fetched.
async fn served(
    admin: &Admin,
    partitions: &[(String, PartitionId)],
    offline: &mut OfflinePartitions,
) -> anyhow::Result<Vec<(String, PartitionId)>> {
    let lookups = partitions.iter().map(|(topic, partition)| (topic.as_str(), *partition, OffsetSpec::End));
    let mut served = Vec::new();
    for ((topic, partition), found) in partitions.iter().zip(admin.list_offsets(lookups).await?) {
        match found {
            Ok(_) => served.push((topic.clone(), *partition)),
            Err(error) if error.code() == Some(ErrorCode::PartitionOffline) => {
                let topic_partition = TopicPartition { topic: TopicName::new(topic)?, partition: *partition };
                offline.report_unread(topic_partition, &error);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(served)
}

async fn review_topic(
    admin: &Admin,
    topic: &TopicDescription,
    partitions: &mut BTreeMap<PartitionId, PartitionEnd>,
) -> Result<(), AdminError> {
    let name = &topic.name;
    let before = partitions.len();
    partitions.retain(|_, end| end.topic == topic.id);
    if partitions.len() < before {
        stderr_line(format_args!("topic {name} was created again: the records it had at the start are gone"));
    }
    drop_trimmed(topic, partitions); // A log does not know whether it lost records that it has dropped.
    for now in &topic.partitions {
        let Some(end) = partitions.get_mut(&now.partition).filter(|end| end.reviewed_epoch != now.leader_epoch) else {
            continue;
        };
        let topic_partition = TopicPartition { topic: name.clone(), partition: now.partition };
        let lost_from = match admin.lost_from(&topic_partition, end.topic, end.offset, end.reviewed_epoch).await {
            Err(error) if error.code() == Some(ErrorCode::PartitionOffline) => continue, // The consumer gets the same error.
            lost_from => lost_from?,
        };
        if let Some(lost_from) = lost_from {
            stderr_line(format_args!(
                "{topic_partition}: the log lost offsets {lost_from}..{}: reading up to offset {lost_from}",
                end.offset
            ));
            end.offset = lost_from;
        }
        end.reviewed_epoch = now.leader_epoch; // The log of this epoch contains the remaining records.
    }
    drop_trimmed(topic, partitions);
    Ok(())
}

/// Drops the partitions whose logs start at or after the end.
fn drop_trimmed(topic: &TopicDescription, partitions: &mut BTreeMap<PartitionId, PartitionEnd>) {
    let starts: BTreeMap<_, _> = topic.partitions.iter().map(|now| (now.partition, now.log_start)).collect();
    partitions.retain(|partition, end| starts.get(partition).is_some_and(|start| *start < end.offset));
}

/// Fetches the committed offsets of a group; an unknown group has none.
pub(super) async fn committed(client: &Client, group: &str) -> anyhow::Result<CommittedOffsets> {
    let description = match client.admin().describe_group(group).await {
        Ok(description) => description,
        Err(error) if error.code() == Some(ErrorCode::UnknownGroup) => return Ok(BTreeMap::new()),
        Err(error) => return Err(error.into()),
    };
    Ok(description
        .offsets
        .into_iter()
        .map(|committed| ((committed.topic, committed.partition), committed.offset))
        .collect())
}
