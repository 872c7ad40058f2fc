//! The effect of each command on the image. Any command in any state either takes effect or changes nothing.

use super::{
    BrokerRegistration, Command, DeletedTopic, Image, MetadataRefusal, PartitionRegistration, ProducerClaim, Topic,
};
use crate::config::topic::TopicConfig;
use crate::metadata::Uuid;
use grower_protocol::ids::{LeaderEpoch, NodeId, Offset, PartitionId, ProducerId, Timestamp, TopicId, TopicName};
use grower_protocol::message::ProducerIdentity;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// The effect of a command, for its proposer to carry out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The image changed; nothing else is to be done.
    Done,
    /// A topic was created.
    TopicCreated(Arc<Topic>),
    /// A topic was deleted: close its logs and remove its directories.
    TopicDeleted(Arc<Topic>),
    /// A topic grew from `from` partitions.
    TopicGrown {
        /// The topic as it is now.
        topic: Arc<Topic>,
        /// The number of partitions before.
        from: u32,
    },
    /// A topic's configs changed.
    TopicAltered(Arc<Topic>),
    /// Records must be dropped, as listed by [`Image::trims`].
    TopicTrimmed,
    /// These producer ids belong to the proposer.
    ProducerIds(Range<u64>),
    /// The proposer holds a producer's name, with this identity.
    ProducerClaimed(ProducerIdentity),
}

impl Image {
    /// Applies a command, or refuses it and changes only the version. The same commands in the same order lead to
    /// equal images.
    pub fn apply(&mut self, command: Command) -> Result<Applied, MetadataRefusal> {
        let (before, next_producer) = (self.kept_to_check(), self.next_producer);
        let applied = match command {
            Command::FormatCluster { cluster } => self.format(cluster),
            Command::RegisterBroker { node, uuid, address } => {
                self.register(BrokerRegistration { node, uuid, address })
            }
            Command::CreateTopic { name, id, replicas, configs, at } => self.create(name, id, replicas, configs, at),
            Command::DeleteTopic { id } => self.delete(id),
            Command::GrowTopic { id, from, added } => self.grow(id, from, added),
            Command::AlterTopic { id, configs } => self.alter(id, configs),
            Command::AllocateProducerIds { count } => self.allocate_producer_ids(self.next_producer, count),
            Command::AllocateProducerIdsFrom { first, count } => self.allocate_producer_ids(first, count),
            Command::ForgetDeleted { ids } => {
                self.deleted.retain(|id, _| !ids.contains(id));
                Ok(Applied::Done)
            }
            Command::TrimTopic { id, before } => self.trim(id, before),
            Command::AlterBroker { node, settings } => {
                set_or_unset(self.settings.entry(node).or_default(), settings);
                Ok(Applied::Done)
            }
            Command::ReplaceNode { node, uuid } => self.replace_node(node, uuid),
            Command::RaiseMinimumIds { producer, leader_epoch } => self.raise_minimum_ids(producer, leader_epoch),
            Command::ForgetTrims { done } => {
                for (id, partition, reached) in done {
                    // A later trim of the same partition may be pending.
                    self.trims.retain(|trim, before| *trim != (id, partition) || reached < *before);
                }
                Ok(Applied::Done)
            }
            Command::ClaimProducer { name, holder, current, first, at } => {
                let claim = ProducerClaim { name, holder, current };
                self.producers.claim(&claim, first, at).map(Applied::ProducerClaimed)
            }
            Command::ForgetProducers { producers } => {
                producers.iter().for_each(|(name, identity)| self.producers.forget(name, *identity));
                Ok(Applied::Done)
            }
        };
        debug_assert!(next_producer <= self.next_producer, "producer ids only rise");
        let is_unchanged = || before.is_none_or(|before| before == *self);
        debug_assert!(applied.is_ok() || is_unchanged(), "a refused command changes nothing");
        // A refused command counts as well: the version is a position in the command log.
        self.version = self.version.saturating_add(1);
        applied
    }

    /// A copy of the image for assertions; with many topics it would cost too much.
    fn kept_to_check(&self) -> Option<Self> {
        let is_small = cfg!(debug_assertions) && self.topics.iter().len() <= 16;
        is_small.then(|| self.clone())
    }

    /// Applies one of several commands, or refuses it and changes nothing, not even the version: the next command
    /// takes its place in the log.
    pub(crate) fn try_apply(&mut self, command: Command) -> Result<Applied, MetadataRefusal> {
        let version = self.version;
        self.apply(command).inspect_err(|_| self.version = version)
    }

    fn format(&mut self, cluster: Uuid) -> Result<Applied, MetadataRefusal> {
        if let Some(cluster) = self.cluster {
            return Err(MetadataRefusal::ClusterExists { cluster });
        }
        self.cluster = Some(cluster);
        Ok(Applied::Done)
    }

    fn register(&mut self, broker: BrokerRegistration) -> Result<Applied, MetadataRefusal> {
        let node = broker.node;
        if let Some(known) = self.brokers.get(&node).filter(|known| known.uuid != broker.uuid) {
            return Err(MetadataRefusal::ForeignNode { node, known: known.uuid, other: broker.uuid });
        }
        self.brokers.insert(node, broker);
        self.begin_leaderships(node);
        Ok(Applied::Done)
    }

    /// Replaces the identity of a node. An unknown node needs no change.
    fn replace_node(&mut self, node: NodeId, uuid: Uuid) -> Result<Applied, MetadataRefusal> {
        if let Some(broker) = self.brokers.get_mut(&node) {
            broker.uuid = uuid;
        }
        Ok(Applied::Done)
    }

    /// Begins a new leader epoch in every partition that the node leads: its recovery may have cut off records of the
    /// epoch before.
    fn begin_leaderships(&mut self, node: NodeId) {
        let leads = |partition: &PartitionRegistration| partition.leader == Some(node);
        self.topics.change_all(
            |topic| topic.partitions.iter().any(leads),
            |partition| {
                if leads(partition) {
                    partition.leader_epoch = partition.leader_epoch.next();
                }
            },
        );
    }

    fn raise_minimum_ids(
        &mut self,
        producer: ProducerId,
        leader_epoch: LeaderEpoch,
    ) -> Result<Applied, MetadataRefusal> {
        self.next_producer = self.next_producer.max(producer);
        self.producers.raise_minimum_id();
        let raise =
            |partition: &mut PartitionRegistration| partition.leader_epoch = partition.leader_epoch.max(leader_epoch);
        self.topics.change_all(|_| true, raise);
        Ok(Applied::Done)
    }

    fn create(
        &mut self,
        name: TopicName,
        id: TopicId,
        replicas: Vec<Vec<NodeId>>,
        configs: Vec<(String, String)>,
        created: Timestamp,
    ) -> Result<Applied, MetadataRefusal> {
        self.check_new_name(&name)?;
        if self.topic_by_id(id).is_some() || self.deleted.contains_key(&id) {
            return Err(MetadataRefusal::IdUsed { id });
        }
        let configs: BTreeMap<_, _> = configs.into_iter().collect();
        let topic = Arc::new(Topic {
            name,
            id,
            created,
            partitions: replicas.into_iter().map(PartitionRegistration::new).collect(),
            config: TopicConfig::from_stored(&configs),
            configs,
        });
        self.topics.insert(topic.clone());
        Ok(Applied::TopicCreated(topic))
    }

    /// Checks that a topic of this name may be created.
    pub(super) fn check_new_name(&self, name: &TopicName) -> Result<(), MetadataRefusal> {
        if let Some(topic) = self.topic(name) {
            return Err(MetadataRefusal::TopicExists { name: name.clone(), id: topic.id });
        }
        match self.topics.colliding(name) {
            Some(existing) => Err(MetadataRefusal::NameCollides { name: name.clone(), existing: existing.clone() }),
            None => Ok(()),
        }
    }

    fn delete(&mut self, id: TopicId) -> Result<Applied, MetadataRefusal> {
        let topic = self.topics.remove(id).ok_or(MetadataRefusal::UnknownTopicId { id })?;
        let deleted = DeletedTopic { name: topic.name.clone(), partitions: topic.partition_count() };
        self.deleted.insert(id, deleted);
        self.trims.retain(|(topic, _), _| *topic != id);
        Ok(Applied::TopicDeleted(topic))
    }

    fn grow(&mut self, id: TopicId, from: u32, added: Vec<Vec<NodeId>>) -> Result<Applied, MetadataRefusal> {
        let topic = self.with_id(id)?;
        if topic.partition_count() != from {
            return Err(MetadataRefusal::PartitionCountChanged { name: topic.name.clone() });
        }
        // New partitions begin at the topic's largest epoch: after `RaiseMinimumIds`, a lost partition of the same
        // number may have had records below it.
        let leader_epoch = topic.partitions.iter().map(|partition| partition.leader_epoch).max().unwrap_or_default();
        let added = added
            .into_iter()
            .map(|replicas| PartitionRegistration { leader_epoch, ..PartitionRegistration::new(replicas) });
        let grown = self.topics.change(id, |topic| topic.partitions.extend(added));
        Ok(Applied::TopicGrown { topic: grown.expect("found above"), from })
    }

    fn alter(&mut self, id: TopicId, changes: Vec<(String, Option<String>)>) -> Result<Applied, MetadataRefusal> {
        let altered = self.topics.change(id, |topic| {
            set_or_unset(&mut topic.configs, changes);
            topic.config = TopicConfig::from_stored(&topic.configs);
        });
        Ok(Applied::TopicAltered(altered.ok_or(MetadataRefusal::UnknownTopicId { id })?))
    }

    fn trim(&mut self, id: TopicId, before: Vec<(PartitionId, Offset)>) -> Result<Applied, MetadataRefusal> {
        let topic = self.with_id(id)?;
        let (name, count) = (topic.name.clone(), topic.partition_count());
        if let Some((partition, _)) = before.iter().find(|(partition, _)| count <= partition.value()) {
            return Err(MetadataRefusal::UnknownPartition { name, partition: *partition, count });
        }
        for (partition, before) in before {
            let pending = self.trims.entry((id, partition)).or_default();
            *pending = before.max(*pending);
        }
        Ok(Applied::TopicTrimmed)
    }

    fn allocate_producer_ids(&mut self, first: ProducerId, count: u32) -> Result<Applied, MetadataRefusal> {
        let first = self.next_producer.max(first).value();
        let end = first.saturating_add(count.into());
        if ProducerId::NAMED.start.value() <= end {
            return Err(MetadataRefusal::ProducerIdsExhausted);
        }
        self.next_producer = ProducerId::new(end);
        Ok(Applied::ProducerIds(first..end))
    }

    fn with_id(&self, id: TopicId) -> Result<&Arc<Topic>, MetadataRefusal> {
        self.topic_by_id(id).ok_or(MetadataRefusal::UnknownTopicId { id })
    }
}

/// Sets each key to its value; a value of none unsets it.
fn set_or_unset(set: &mut BTreeMap<String, String>, changes: Vec<(String, Option<String>)>) {
    for (key, value) in changes {
        match value {
            Some(value) => set.insert(key, value),
            None => set.remove(&key),
        };
    }
}
