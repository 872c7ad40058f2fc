//! `--until-end`: where each partition ended when the command began.
//!
//! An end belongs to one topic and to the log that its partition had then. Of a topic that was created again nothing is left
//! to read; in a log that lost records the end comes down to where the loss begins.

use super::offline::OfflinePartitions;
use crate::output::stderr_line;
use grower_client::ids::{LeaderEpoch, Offset, PartitionId, TopicId, TopicName};
use grower_client::{
    Admin, AdminError, Client, Consumer, ConsumerRecord, ErrorCode, Gap, GapCause, OffsetSpec, PartitionDescription,
    TopicDescription, TopicPartition,
};
use std::collections::{BTreeMap, BTreeSet};

/// The high watermark of each partition, as it was.
pub(super) struct PartitionEnds {
    of: BTreeMap<String, BTreeMap<PartitionId, PartitionEnd>>,
    /// In a group: where it may not be decided yet where the group begins. It must be before this ends, or the next run would
    /// begin elsewhere.
    undecided: BTreeMap<(String, PartitionId), TopicId>,
}

/// Where one partition ends.
#[derive(Clone, Copy, Debug)]
struct PartitionEnd {
    offset: Offset,
    topic: TopicId,
    /// The leadership under which it ended there.
    began: LeaderEpoch,
    /// A leadership whose log has the end for certain.
    reviewed: LeaderEpoch,
}

/// What a group has committed.
pub(super) type CommittedOffsets = BTreeMap<(TopicId, PartitionId), Offset>;

impl PartitionEnds {
    /// Asks the broker. Those that are offline will stay unread.
    pub(super) async fn now(
        admin: &Admin,
        partitions: &[(String, PartitionId)],
        in_group: bool,
        offline: &mut OfflinePartitions,
    ) -> anyhow::Result<Self> {
        let served = served(admin, partitions, offline).await?;
        let names: BTreeSet<&String> = served.iter().map(|(topic, _)| topic).collect();
        let mut of: BTreeMap<String, BTreeMap<PartitionId, PartitionEnd>> = BTreeMap::new();
        let mut undecided = BTreeMap::new();
        for name in names {
            let topic = admin.describe_topic(name, false).await?;
            let wanted =
                |now: &&PartitionDescription| served.iter().any(|(topic, p)| topic == name && *p == now.partition);
            if in_group {
                let place = |now: &PartitionDescription| ((name.clone(), now.partition), topic.id);
                undecided.extend(topic.partitions.iter().filter(wanted).map(place));
            }
            // The others have nothing to wait for.
            for now in topic.partitions.iter().filter(wanted).filter(|now| now.log_start < now.high_watermark) {
                let end = PartitionEnd {
                    offset: now.high_watermark,
                    topic: topic.id,
                    began: now.leader_epoch,
                    reviewed: now.leader_epoch,
                };
                of.entry(name.clone()).or_default().insert(now.partition, end);
            }
        }
        Ok(Self { of, undecided })
    }

    /// Whether a record came later.
    pub(super) fn is_past(&self, record: &ConsumerRecord) -> bool {
        let end = self.of.get(record.topic.as_str()).and_then(|of| of.get(&record.partition));
        // Of a later leadership are records that took the offsets of lost ones, too.
        end.is_none_or(|end| end.offset <= record.offset || record.leader_epoch > Some(end.began))
    }

    /// Forgets the partitions that the consumer has read; true once none is left.
    pub(super) fn are_reached_by(&mut self, consumer: &Consumer) -> bool {
        for (topic, of) in &mut self.of {
            of.retain(|partition, end| {
                consumer.position(topic, *partition).is_none_or(|position| position < end.offset)
            });
        }
        self.none_left()
    }

    /// The consumer met a gap. Behind one that comes of a new topic nothing is left of what the end was about. A loss of
    /// records may be older than the end: the next review tells.
    pub(super) fn pass(&mut self, gap: &Gap) {
        if let (GapCause::TopicRecreated, Some(of)) = (gap.cause, self.of.get_mut(gap.place.topic.as_str())) {
            of.remove(&gap.place.partition);
        }
    }

    /// Compares the ends with what the broker has now. Partitions whose records are gone with their topic are forgotten, ends
    /// that a log lost come down; each is told. True once none is left.
    pub(super) async fn review(&mut self, admin: &Admin) -> anyhow::Result<bool> {
        for (name, of) in &mut self.of {
            let reviewed = match admin.describe_topic(name, false).await {
                Ok(topic) => review_topic(admin, &topic, of).await,
                Err(error) => Err(error),
            };
            match reviewed {
                Err(error) if error.is_retriable() => {}                          // Next time.
                Err(error) if error.code() == Some(ErrorCode::UnknownTopic) => {} // The consumer finds out as well.
                Err(error) if error.code() == Some(ErrorCode::OffsetOutOfRange) => {} // Dropped just now: next time.
                other => other?,
            }
        }
        Ok(self.none_left())
    }

    /// Forgets the partitions that other members of the group have read and committed, and those of topics that are gone;
    /// true once none is left.
    pub(super) async fn are_committed_by(&mut self, client: &Client, group: &str) -> anyhow::Result<bool> {
        let topics = client.admin().metadata().await?.topics;
        let there: BTreeMap<_, _> =
            topics.into_iter().flatten().map(|topic| (topic.name.to_string(), topic.id)).collect();
        self.of.retain(|topic, _| there.contains_key(topic));
        let Ok(committed) = committed(client, group).await else { return Ok(false) };
        for of in self.of.values_mut() {
            let at = |partition: &PartitionId, end: &PartitionEnd| committed.get(&(end.topic, *partition)).copied();
            of.retain(|partition, end| at(partition, end).is_none_or(|committed| committed < end.offset));
        }
        Ok(self.none_left())
    }

    /// Whether it is decided, for each partition, where the group begins: it was when a consumer of the group began to read
    /// it. What another member is to read it decides.
    pub(super) async fn are_begun_by(
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

    /// The topic is gone.
    pub(super) fn forget(&mut self, topic: &str) {
        self.of.remove(topic);
        self.undecided.retain(|(name, _), _| name != topic);
    }

    /// The partition is offline; true if it has not been read to its end.
    pub(super) fn leave_unread(&mut self, place: &TopicPartition) -> bool {
        self.undecided.remove(&(place.topic.to_string(), place.partition));
        let of = self.of.get_mut(place.topic.as_str());
        of.is_some_and(|of| of.remove(&place.partition).is_some())
    }

    /// Whether all was read.
    pub(super) fn none_left(&mut self) -> bool {
        self.of.retain(|_, of| !of.is_empty());
        self.of.is_empty()
    }
}

/// Those of the partitions that can be read. Fails if it cannot be found out of one.
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
            Err(error) if error.code() == Some(ErrorCode::PartitionShut) => {
                let place = TopicPartition { topic: TopicName::new(topic)?, partition: *partition };
                offline.is_unread(place, &error);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(served)
}

async fn review_topic(
    admin: &Admin,
    topic: &TopicDescription,
    of: &mut BTreeMap<PartitionId, PartitionEnd>,
) -> Result<(), AdminError> {
    let name = &topic.name;
    let before = of.len();
    of.retain(|_, end| end.topic == topic.id);
    if of.len() < before {
        stderr_line(format_args!("topic {name} was created again: the records it had at the start are gone"));
    }
    forget_dropped(topic, of); // No log says whether it lost what it has dropped.
    for now in &topic.partitions {
        let Some(end) = of.get_mut(&now.partition).filter(|end| end.reviewed != now.leader_epoch) else { continue };
        let place = TopicPartition { topic: name.clone(), partition: now.partition };
        let lost_from = match admin.lost_from(&place, end.topic, end.offset, end.reviewed).await {
            Err(error) if error.code() == Some(ErrorCode::PartitionShut) => continue, // The consumer finds out as well.
            lost_from => lost_from?,
        };
        if let Some(lost_from) = lost_from {
            stderr_line(format_args!(
                "{place}: the log lost offsets {lost_from}..{}: reading up to offset {lost_from}",
                end.offset
            ));
            end.offset = lost_from;
        }
        end.reviewed = now.leader_epoch; // What is left of it is in the log of this leadership.
    }
    forget_dropped(topic, of);
    Ok(())
}

/// Forgets the partitions whose logs have nothing before the end any more.
fn forget_dropped(topic: &TopicDescription, of: &mut BTreeMap<PartitionId, PartitionEnd>) {
    let starts: BTreeMap<_, _> = topic.partitions.iter().map(|now| (now.partition, now.log_start)).collect();
    of.retain(|partition, end| starts.get(partition).is_some_and(|start| *start < end.offset));
}

/// What a group has committed. A group that is not there has committed nothing.
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
