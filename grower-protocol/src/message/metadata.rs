//! Which topics there are, and which broker leads each partition.

use super::Part;
use crate::ids::{LeaderEpoch, NodeId, PartitionId, TopicId, TopicName};
use serde::{Deserialize, Serialize};

/// Asks for topics by name, or for all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// Which; none means all, the internal ones included.
    pub topics: Option<Vec<TopicName>>,
    /// Create those that are missing, if the broker allows that (`--auto-create-topics`).
    pub create_missing: bool,
}

/// The cluster as this broker sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetadataAnswer {
    /// All brokers.
    pub brokers: Vec<BrokerAddress>,
    /// In the order asked, or sorted by name.
    pub topics: Vec<Part<TopicMetadata>>,
}

/// Where to reach a broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokerAddress {
    /// Its id.
    pub node: NodeId,
    /// `host:port`.
    pub address: String,
}

/// One topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicMetadata {
    /// Its name.
    pub name: TopicName,
    /// Its identity: requests name it by this.
    pub id: TopicId,
    /// Its partitions in order, from 0.
    pub partitions: Vec<PartitionMetadata>,
}

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionMetadata {
    /// Its number.
    pub partition: PartitionId,
    /// Who leads it; none during an election.
    pub leader: Option<NodeId>,
    /// The leadership's number.
    pub leader_epoch: LeaderEpoch,
    /// Who stores it.
    pub replicas: Vec<NodeId>,
    /// Who of them is in sync.
    pub in_sync: Vec<NodeId>,
}
