//! The topics, and the broker that leads each partition.

use super::Part;
use crate::ids::{LeaderEpoch, NodeId, PartitionId, TopicId, TopicName};
use serde::{Deserialize, Serialize};

/// Requests the metadata of topics by name, or of all topics.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// The topics' names; none requests all topics, including internal ones.
    pub topics: Option<Vec<TopicName>>,
    /// Whether to create missing topics, if the broker allows it (`--auto-create-topics`).
    pub create_missing: bool,
}

/// The cluster as this broker sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetadataAnswer {
    /// All brokers of the cluster.
    pub brokers: Vec<BrokerAddress>,
    /// The topics in the order of the request, or all sorted by name.
    pub topics: Vec<Part<TopicMetadata>>,
}

/// The address of a broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokerAddress {
    /// The broker's id.
    pub node: NodeId,
    /// The address in the form `host:port`.
    pub address: String,
}

/// The metadata of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicMetadata {
    /// The topic's name.
    pub name: TopicName,
    /// The topic's id, which requests use.
    pub id: TopicId,
    /// The partitions in order, from 0.
    pub partitions: Vec<PartitionMetadata>,
}

/// The metadata of a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionMetadata {
    /// The partition.
    pub partition: PartitionId,
    /// The broker that leads the partition; none during an election.
    pub leader: Option<NodeId>,
    /// The current leader epoch.
    pub leader_epoch: LeaderEpoch,
    /// The brokers that store the partition.
    pub replicas: Vec<NodeId>,
    /// The replicas that are in sync.
    pub in_sync: Vec<NodeId>,
}
