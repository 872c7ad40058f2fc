//! An image, the whole metadata after some command: immutable and cheap to share.

mod admission;
mod apply;
mod command;
mod minimum_ids;
mod producers;
mod refusal;
pub(super) mod snapshot;
mod topic_table;

pub use apply::Applied;
pub use command::Command;
pub(crate) use minimum_ids::{minimum_named_id, minimum_producer_id, raise_minimum_ids};
pub use producers::{FORMER_HOLDERS_MAX, FORMER_IDS_MAX, NamedProducer, ProducerClaim, ProducerRefusal};
pub use refusal::MetadataRefusal;
pub use snapshot::SnapshotError;

use super::Uuid;
use crate::config::topic::TopicConfig;
use grower_protocol::ids::{LeaderEpoch, NodeId, Offset, PartitionId, ProducerId, Timestamp, TopicId, TopicName};
use grower_protocol::message::{ConfigEntry, PartitionMetadata, TopicMetadata};
use producers::ProducerTable;
use std::collections::BTreeMap;
use std::sync::Arc;
use topic_table::TopicTable;

/// All metadata after some number of commands. An image that a reader holds never changes.
///
/// Invariants: the version counts commands (asserted at each publish), producer ids only rise (in `apply` and
/// `ProducerTable`), leader epochs only rise, and a leader is one of the in-sync replicas, which are replicas (in
/// `TopicTable`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    pub(super) version: u64,
    pub(super) cluster: Option<Uuid>,
    pub(super) brokers: BTreeMap<NodeId, BrokerRegistration>,
    topics: TopicTable,
    pub(super) deleted: BTreeMap<TopicId, DeletedTopic>,
    pub(super) settings: BTreeMap<NodeId, BTreeMap<String, String>>,
    pub(super) trims: BTreeMap<(TopicId, PartitionId), Offset>,
    pub(super) next_producer: ProducerId,
    producers: ProducerTable,
}

/// A registered broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerRegistration {
    /// Its number.
    pub node: NodeId,
    /// Its identity.
    pub uuid: Uuid,
    /// Where clients reach it, `host:port`.
    pub address: String,
}

/// A topic with its partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: TopicName,
    /// Its identity.
    pub id: TopicId,
    /// When it was created.
    pub created: Timestamp,
    /// In order, from 0.
    pub partitions: Vec<PartitionRegistration>,
    /// Configs that differ from the defaults, as users wrote them.
    pub configs: BTreeMap<String, String>,
    /// All configs, parsed.
    pub config: TopicConfig,
}

/// The replicas of a partition, and its leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionRegistration {
    /// The leader; none during an election.
    pub leader: Option<NodeId>,
    /// The leader epoch; the leader's appends carry it.
    pub leader_epoch: LeaderEpoch,
    /// The replicas.
    pub replicas: Vec<NodeId>,
    /// The in-sync replicas.
    pub in_sync: Vec<NodeId>,
}

/// A deleted topic, until its records are gone from every disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletedTopic {
    /// Its name; another topic may have it now.
    pub name: TopicName,
    /// Its number of partitions.
    pub partitions: u32,
}

impl Image {
    /// Whether this producer id was ever allocated. A named producer's id is known while its name is.
    pub fn has_allocated(&self, id: ProducerId) -> bool {
        if id.is_named() { self.producer_with_id(id).is_some() } else { id < self.next_producer }
    }

    /// The number of commands so far.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The cluster's identity; none before its first start.
    pub fn cluster(&self) -> Option<Uuid> {
        self.cluster
    }

    /// All brokers, by number.
    pub fn brokers(&self) -> impl ExactSizeIterator<Item = &BrokerRegistration> {
        self.brokers.values()
    }

    /// One broker.
    pub fn broker(&self, node: NodeId) -> Option<&BrokerRegistration> {
        self.brokers.get(&node)
    }

    /// Settings of a broker that were changed while it ran, as users wrote them.
    pub fn settings(&self, node: NodeId) -> BTreeMap<String, String> {
        self.settings.get(&node).cloned().unwrap_or_default()
    }

    /// All topics, the internal ones included, sorted by name.
    pub fn topics(&self) -> impl ExactSizeIterator<Item = &Arc<Topic>> {
        self.topics.iter()
    }

    /// A topic by its name.
    pub fn topic(&self, name: &TopicName) -> Option<&Arc<Topic>> {
        self.topics.by_name(name)
    }

    /// A topic by its identity.
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.topics.by_id(id)
    }

    /// Topics with a committed deletion and no [`super::Command::ForgetDeleted`] yet: their records may be removed.
    pub fn deleted(&self) -> impl ExactSizeIterator<Item = (TopicId, &DeletedTopic)> {
        self.deleted.iter().map(|(id, topic)| (*id, topic))
    }

    /// Pending trims: the log start offset that each partition must reach.
    pub fn trims(&self) -> impl ExactSizeIterator<Item = (TopicId, PartitionId, Offset)> {
        self.trims.iter().map(|((topic, partition), before)| (*topic, *partition, *before))
    }

    /// The number of partitions of all topics.
    pub fn partition_count(&self) -> u64 {
        self.topics.partition_count()
    }
}

impl Topic {
    /// The number of partitions.
    pub fn partition_count(&self) -> u32 {
        u32::try_from(self.partitions.len()).unwrap_or(u32::MAX)
    }

    /// One partition.
    pub fn partition(&self, partition: PartitionId) -> Option<&PartitionRegistration> {
        self.partitions.get(usize::try_from(partition.value()).ok()?)
    }

    /// The partitions with their numbers.
    pub fn numbered(&self) -> impl Iterator<Item = (PartitionId, &PartitionRegistration)> {
        (0..).map(PartitionId::new).zip(&self.partitions)
    }

    /// Replicas of each partition.
    pub fn replication_factor(&self) -> u32 {
        self.partitions.first().map_or(0, |first| u32::try_from(first.replicas.len()).unwrap_or(u32::MAX))
    }

    /// Every config with its value, sorted by key.
    pub fn describe_configs(&self) -> Vec<ConfigEntry> {
        self.config.describe(&self.configs)
    }

    /// The metadata for clients.
    pub fn metadata(&self) -> TopicMetadata {
        let partition = |(number, partition): (PartitionId, &PartitionRegistration)| PartitionMetadata {
            partition: number,
            leader: partition.leader,
            leader_epoch: partition.leader_epoch,
            replicas: partition.replicas.clone(),
            in_sync: partition.in_sync.clone(),
        };
        TopicMetadata { name: self.name.clone(), id: self.id, partitions: self.numbered().map(partition).collect() }
    }
}

impl PartitionRegistration {
    /// A new partition: the first replica leads.
    pub(super) fn new(replicas: Vec<NodeId>) -> Self {
        Self {
            leader: replicas.first().copied(),
            leader_epoch: LeaderEpoch::default(),
            in_sync: replicas.clone(),
            replicas,
        }
    }
}

#[cfg(test)]
mod tests;
