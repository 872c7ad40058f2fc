//! From requests to commands: requests of users and of the broker itself, checked against the image.
//!
//! [`Image::apply`] checks again only what another command may have changed meanwhile. Limits and the parsing of
//! configs stand here: they may differ between versions and settings, which a stored command must not.

use super::{Command, Image, MetadataRefusal, Topic};
use crate::config::MetadataLimits;
use crate::config::topic::{ConfigError, TopicConfig};
use grower_protocol::ids::{NodeId, Offset, PartitionId, Timestamp, TopicId, TopicName};
use grower_protocol::message::NewTopic;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The default replication factor, if there are enough brokers.
const REPLICATION_DEFAULT: u32 = 3;

impl Image {
    /// Checks each topic of one request alone; `id` makes a random id. A name that is repeated is refused each time.
    pub fn create_topics(
        &self,
        requests: &[NewTopic],
        mut id: impl FnMut() -> TopicId,
        at: Timestamp,
        limits: &MetadataLimits,
    ) -> Vec<Result<Command, MetadataRefusal>> {
        let mut times = BTreeMap::new();
        for request in requests {
            *times.entry(&request.name).or_insert(0u32) += 1;
        }
        let mut check = |request: &NewTopic| match times.get(&request.name) {
            Some(1) => self.create_topic(request, id(), at, limits),
            _ => Err(MetadataRefusal::NamedTwice { name: request.name.clone() }),
        };
        requests.iter().map(&mut check).collect()
    }

    /// Checks a topic that a user creates.
    pub fn create_topic(
        &self,
        request: &NewTopic,
        id: TopicId,
        at: Timestamp,
        limits: &MetadataLimits,
    ) -> Result<Command, MetadataRefusal> {
        check_not_internal(&request.name)?;
        self.create_any_topic(request, id, at, limits)
    }

    /// Checks a topic that the broker creates for itself: its name may start with `__`.
    pub fn create_any_topic(
        &self,
        request: &NewTopic,
        id: TopicId,
        at: Timestamp,
        limits: &MetadataLimits,
    ) -> Result<Command, MetadataRefusal> {
        self.check_new_name(&request.name)?;
        TopicConfig::parse(&request.configs)?;
        let partitions = request.partitions.unwrap_or(1);
        check_partitions(partitions, limits)?;
        self.check_limits(1, partitions, limits)?;
        let factor = self.replication_factor(request.replication_factor)?;
        Ok(Command::CreateTopic {
            name: request.name.clone(),
            id,
            replicas: self.place_replicas(0..partitions, factor),
            configs: request.configs.clone(),
            at,
        })
    }

    /// Checks a topic that a user deletes.
    pub fn delete_topic(&self, name: &TopicName) -> Result<Command, MetadataRefusal> {
        check_not_internal(name)?;
        Ok(Command::DeleteTopic { id: self.named(name)?.id })
    }

    /// Checks the growth of a topic to `partitions` in all.
    pub fn grow_topic(
        &self,
        name: &TopicName,
        partitions: u32,
        limits: &MetadataLimits,
    ) -> Result<Command, MetadataRefusal> {
        check_not_internal(name)?;
        let topic = self.named(name)?;
        check_partitions(partitions, limits)?;
        let from = topic.partition_count();
        if partitions <= from {
            return Err(MetadataRefusal::NotGrowing { name: name.clone(), current: from, requested: partitions });
        }
        self.check_limits(0, partitions - from, limits)?;
        let added = self.place_replicas(from..partitions, topic.replication_factor());
        Ok(Command::GrowTopic { id: topic.id, from, added })
    }

    /// Checks a user's changes to a topic's configs; a value of none restores the default.
    pub fn alter_topic(
        &self,
        name: &TopicName,
        changes: &[(String, Option<String>)],
    ) -> Result<Command, MetadataRefusal> {
        check_not_internal(name)?;
        self.alter_any_topic(name, changes)
    }

    /// Checks changes to the configs of any topic, internal ones included.
    pub fn alter_any_topic(
        &self,
        name: &TopicName,
        changes: &[(String, Option<String>)],
    ) -> Result<Command, MetadataRefusal> {
        let topic = self.named(name)?;
        for (at, (key, value)) in changes.iter().enumerate() {
            if changes.iter().take(at).any(|(earlier, _)| earlier == key) {
                return Err(ConfigError::Repeated { key: key.clone() }.into());
            }
            match value {
                Some(value) => TopicConfig::default().set(key, value)?,
                // A key of another version may be set, and must be unsettable.
                None if topic.configs.contains_key(key) => {}
                None => TopicConfig::check_key(key)?,
            }
        }
        Ok(Command::AlterTopic { id: topic.id, configs: changes.to_vec() })
    }

    /// Checks a trim. Only the partitions' leaders know whether the records are committed.
    pub fn trim_topic(&self, id: TopicId, before: &[(PartitionId, Offset)]) -> Result<Command, MetadataRefusal> {
        let topic = self.topic_by_id(id).ok_or(MetadataRefusal::UnknownTopicId { id })?;
        check_not_internal(&topic.name)?;
        let mut named = BTreeSet::new();
        if let Some((partition, _)) = before.iter().find(|(partition, _)| !named.insert(*partition)) {
            return Err(MetadataRefusal::PartitionTwice { name: topic.name.clone(), partition: *partition });
        }
        Ok(Command::TrimTopic { id, before: before.to_vec() })
    }

    fn named(&self, name: &TopicName) -> Result<&Arc<Topic>, MetadataRefusal> {
        self.topic(name).ok_or_else(|| MetadataRefusal::UnknownTopic { name: name.clone() })
    }

    fn check_limits(&self, topics: u64, partitions: u32, limits: &MetadataLimits) -> Result<(), MetadataRefusal> {
        let within = |what, requested, max| {
            if requested <= max { Ok(()) } else { Err(MetadataRefusal::LimitReached { what, requested, max }) }
        };
        within("topics", self.topics().len() as u64 + topics, limits.topics)?;
        within("partitions", self.partition_count() + u64::from(partitions), limits.partitions)
    }

    fn replication_factor(&self, requested: Option<u32>) -> Result<u32, MetadataRefusal> {
        let brokers = u32::try_from(self.brokers.len()).unwrap_or(u32::MAX);
        let factor = requested.unwrap_or(REPLICATION_DEFAULT.min(brokers));
        if (1..=brokers).contains(&factor) {
            Ok(factor)
        } else {
            Err(MetadataRefusal::ReplicationFactor { factor, brokers })
        }
    }

    /// Places the replicas of partitions with these numbers: leaders rotate over the brokers, followers are the next
    /// ones.
    fn place_replicas(&self, partitions: std::ops::Range<u32>, factor: u32) -> Vec<Vec<NodeId>> {
        let brokers: Vec<NodeId> = self.brokers.keys().copied().collect();
        let replicas = |partition: u32| {
            let from = partition as usize % brokers.len().max(1);
            brokers.iter().cycle().skip(from).take((factor as usize).min(brokers.len())).copied().collect()
        };
        partitions.map(replicas).collect()
    }
}

fn check_not_internal(name: &TopicName) -> Result<(), MetadataRefusal> {
    if name.is_internal() { Err(MetadataRefusal::Internal { name: name.clone() }) } else { Ok(()) }
}

fn check_partitions(partitions: u32, limits: &MetadataLimits) -> Result<(), MetadataRefusal> {
    let max = limits.partitions_per_topic;
    if (1..=max).contains(&partitions) { Ok(()) } else { Err(MetadataRefusal::Partitions { partitions, max }) }
}
