//! `--until-end`: where each partition ended when the command began.

use grower_client::ids::{Offset, PartitionId};
use grower_client::{Client, Consumer, ConsumerRecord, ErrorCode, OffsetSpec};
use std::collections::{BTreeMap, BTreeSet};

/// The high watermark of each partition, as it was.
pub(super) struct Ends {
    of: BTreeMap<String, BTreeMap<PartitionId, Offset>>,
}

impl Ends {
    /// Asks the broker.
    pub(super) async fn now(client: &Client, partitions: &[(String, PartitionId)]) -> anyhow::Result<Self> {
        let admin = client.admin();
        let look = |spec| partitions.iter().map(move |(topic, partition)| (topic.as_str(), *partition, spec));
        let starts = admin.list_offsets(look(OffsetSpec::Beginning)).await?;
        let ends = admin.list_offsets(look(OffsetSpec::End)).await?;
        let mut of: BTreeMap<String, BTreeMap<PartitionId, Offset>> = BTreeMap::new();
        for ((topic, partition), (start, end)) in partitions.iter().zip(starts.into_iter().zip(ends)) {
            let (start, end) = (start?.offset.unwrap_or_default(), end?.offset.unwrap_or_default());
            if start < end {
                of.entry(topic.clone()).or_default().insert(*partition, end); // The others have nothing to wait for.
            }
        }
        Ok(Self { of })
    }

    /// Whether a record came later.
    pub(super) fn is_past(&self, record: &ConsumerRecord) -> bool {
        let end = self.of.get(record.topic.as_str()).and_then(|of| of.get(&record.partition));
        end.is_none_or(|end| *end <= record.offset)
    }

    /// Forgets the partitions that the consumer has read; true once none is left.
    pub(super) fn are_reached_by(&mut self, consumer: &Consumer) -> bool {
        for (topic, of) in &mut self.of {
            of.retain(|partition, end| consumer.position(topic, *partition).is_none_or(|position| position < *end));
        }
        self.none_left()
    }

    /// Forgets the partitions that other members of the group have read and committed, and those of topics that are gone;
    /// true once none is left.
    pub(super) async fn are_committed_by(&mut self, client: &Client, group: &str) -> anyhow::Result<bool> {
        let topics = client.admin().metadata().await?.topics;
        let there: BTreeSet<_> = topics.into_iter().flatten().map(|topic| topic.name).collect();
        self.of.retain(|topic, _| there.iter().any(|name| name.as_str() == topic));
        let Ok(committed) = committed(client, group).await else { return Ok(false) };
        for (topic, of) in &mut self.of {
            let at = |partition: &PartitionId| committed.get(&(topic.clone(), *partition));
            of.retain(|partition, end| at(partition).is_none_or(|committed| *committed < *end));
        }
        Ok(self.none_left())
    }

    /// The topic is gone.
    pub(super) fn forget(&mut self, topic: &str) {
        self.of.remove(topic);
    }

    fn none_left(&mut self) -> bool {
        self.of.retain(|_, of| !of.is_empty());
        self.of.is_empty()
    }
}

/// What a group has committed, of topics that are there. A group that is not there has committed nothing.
pub(super) async fn committed(client: &Client, group: &str) -> anyhow::Result<BTreeMap<(String, PartitionId), Offset>> {
    let description = match client.admin().describe_group(group).await {
        Ok(description) => description,
        Err(error) if error.code() == Some(ErrorCode::UnknownGroup) => return Ok(BTreeMap::new()),
        Err(error) => return Err(error.into()),
    };
    let topics = client.admin().metadata().await?.topics;
    let names: BTreeMap<_, _> = topics.into_iter().flatten().map(|topic| (topic.id, topic.name)).collect();
    let named = description.offsets.into_iter().filter_map(|committed| {
        let topic = names.get(&committed.topic)?.as_str().to_owned();
        Some(((topic, committed.partition), committed.offset))
    });
    Ok(named.collect())
}
