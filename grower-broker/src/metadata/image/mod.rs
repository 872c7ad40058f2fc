//! Metadata as of one command: immutable, cheap to share, whole.

mod admission;
mod apply;
mod command;
mod minimum_ids;
mod refusal;
pub(super) mod snapshot;
mod topic_table;

pub use apply::Applied;
pub use command::Command;
pub(crate) use minimum_ids::{begin_above, minimum_producer_id};
pub use refusal::MetadataRefusal;
pub use snapshot::SnapshotError;

use super::Uuid;
use crate::config::topic::TopicConfig;
use grower_protocol::ids::{LeaderEpoch, NodeId, Offset, PartitionId, ProducerId, Timestamp, TopicId, TopicName};
use grower_protocol::message::{ConfigEntry, PartitionMetadata, TopicMetadata};
use std::collections::BTreeMap;
use std::sync::Arc;
use topic_table::TopicTable;

/// All metadata after some number of commands. Readers keep one and see no change in it.
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
}

/// A broker that registered once.
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
    /// What differs from the defaults, as people wrote it.
    pub configs: BTreeMap<String, String>,
    /// All configs, read.
    pub config: TopicConfig,
}

/// Who stores a partition and who leads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionRegistration {
    /// Who leads it; none during an election.
    pub leader: Option<NodeId>,
    /// The leadership's number; the leader's appends carry it.
    pub leader_epoch: LeaderEpoch,
    /// Who stores it.
    pub replicas: Vec<NodeId>,
    /// Who of them is in sync.
    pub in_sync: Vec<NodeId>,
}

/// A topic that is gone, while its records may still be on some disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletedTopic {
    /// The name it had; another topic may have it now.
    pub name: TopicName,
    /// How many partitions it had.
    pub partitions: u32,
}

impl Image {
    /// Whether some producer was ever given this id.
    pub fn gave_out(&self, id: ProducerId) -> bool {
        id < self.next_producer
    }

    /// How many commands led here.
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

    /// Settings of a broker that were changed while it ran, as people wrote them.
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

    /// Topics whose records may be removed from disk: that was committed, and [`super::Command::ForgetDeleted`] did not come yet.
    pub fn deleted(&self) -> impl ExactSizeIterator<Item = (TopicId, &DeletedTopic)> {
        self.deleted.iter().map(|(id, topic)| (*id, topic))
    }

    /// What commands dropped and logs may still hold: before this offset, nothing of this partition stays.
    pub fn trims(&self) -> impl ExactSizeIterator<Item = (TopicId, PartitionId, Offset)> {
        self.trims.iter().map(|((topic, partition), before)| (*topic, *partition, *before))
    }

    /// How many partitions all topics have together.
    pub fn partition_count(&self) -> u64 {
        self.topics.partition_count()
    }
}

impl Topic {
    /// How many partitions it has.
    pub fn partition_count(&self) -> u32 {
        u32::try_from(self.partitions.len()).unwrap_or(u32::MAX)
    }

    /// One partition.
    pub fn partition(&self, partition: PartitionId) -> Option<&PartitionRegistration> {
        self.partitions.get(usize::try_from(partition.value()).ok()?)
    }

    /// Its partitions with their numbers.
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

    /// What clients are told.
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
    /// A partition that nobody wrote to yet: the first replica leads.
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
