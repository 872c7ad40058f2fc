//! Refusals of requests and commands that change metadata.

use super::ProducerRefusal;
use crate::config::topic::ConfigError;
use crate::metadata::Uuid;
use grower_protocol::ids::{NodeId, PartitionCount, PartitionId, TopicId, TopicName};
use grower_protocol::message::{ErrorCode, Failure};

/// The reason for refusing a request or a command. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataRefusal {
    /// The cluster has an identity already.
    #[error("the data belongs to cluster {cluster} already")]
    ClusterExists {
        /// The present identity.
        cluster: Uuid,
    },
    /// Another node has this number.
    #[error("node {node} is registered as {known}, not {other}: a node that lost its disk needs a new number")]
    ForeignNode {
        /// The number.
        node: NodeId,
        /// The registered node.
        known: Uuid,
        /// The refused node.
        other: Uuid,
    },
    /// The name is taken.
    #[error("topic {name} exists already")]
    TopicExists {
        /// The name.
        name: TopicName,
        /// The topic with the name.
        id: TopicId,
    },
    /// The id belongs to a topic, or to a deleted one with records left.
    #[error("topic id {id} was used already")]
    IdUsed {
        /// The id.
        id: TopicId,
    },
    /// Metrics or file systems could not tell the names apart.
    #[error("topic name {name} collides with {existing}: they differ only in case, or in '.' and '_'")]
    NameCollides {
        /// The name.
        name: TopicName,
        /// The existing topic.
        existing: TopicName,
    },
    /// The topic is internal.
    #[error("topic {name} belongs to the broker: names that start with __ cannot be created, changed or deleted")]
    Internal {
        /// The name.
        name: TopicName,
    },
    /// One request names one topic twice.
    #[error("the request names topic {name} more than once")]
    NamedTwice {
        /// The name.
        name: TopicName,
    },
    /// The topic does not exist.
    #[error("there is no topic {name}")]
    UnknownTopic {
        /// The name.
        name: TopicName,
    },
    /// No topic has this id.
    #[error("there is no topic with id {id}; it may have been deleted")]
    UnknownTopicId {
        /// The id.
        id: TopicId,
    },
    /// The partition does not exist.
    #[error("topic {name} has {}, counted from 0, and no partition {partition}", PartitionCount(*.count))]
    UnknownPartition {
        /// The topic.
        name: TopicName,
        /// As requested.
        partition: PartitionId,
        /// Its number of partitions.
        count: u32,
    },
    /// One request names one partition twice.
    #[error("the request names partition {partition} of topic {name} more than once")]
    PartitionTwice {
        /// The topic.
        name: TopicName,
        /// The partition.
        partition: PartitionId,
    },
    /// The number of partitions is 0 or over the limit.
    #[error("a topic has 1 to {max} partitions, not {partitions}")]
    Partitions {
        /// As requested.
        partitions: u32,
        /// The limit.
        max: u32,
    },
    /// The new number of partitions is not larger.
    #[error("topic {name} has {}; it can grow, and {requested} is not more", PartitionCount(*.current))]
    NotGrowing {
        /// The topic.
        name: TopicName,
        /// Its number of partitions.
        current: u32,
        /// The requested number.
        requested: u32,
    },
    /// Another command changed the topic first.
    #[error("topic {name} changed meanwhile: try again")]
    PartitionCountChanged {
        /// The topic.
        name: TopicName,
    },
    /// The replication factor is 0 or larger than the number of brokers.
    #[error("the replication factor must be 1 to {brokers}, the number of brokers, not {factor}")]
    ReplicationFactor {
        /// As requested.
        factor: u32,
        /// The number of brokers.
        brokers: u32,
    },
    /// A limit is reached.
    #[error("{requested} {what} would be over the limit of {max}")]
    LimitReached {
        /// The limited things: `topics` or `partitions`.
        what: &'static str,
        /// The resulting number.
        requested: u64,
        /// The limit.
        max: u64,
    },
    /// A config is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A claim or the deletion of a producer's name is refused.
    #[error(transparent)]
    Producer(#[from] ProducerRefusal),
    /// No producer ids are left.
    #[error("all producer ids are allocated")]
    ProducerIdsExhausted,
}

impl MetadataRefusal {
    /// The error code for clients.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::ClusterExists { .. }
            | Self::ForeignNode { .. }
            | Self::NamedTwice { .. }
            | Self::PartitionTwice { .. }
            | Self::PartitionCountChanged { .. } => ErrorCode::InvalidRequest,
            Self::UnknownPartition { .. } => ErrorCode::UnknownPartition,
            Self::TopicExists { .. } => ErrorCode::TopicExists,
            Self::IdUsed { .. } => ErrorCode::Internal,
            Self::NameCollides { .. } | Self::Internal { .. } => ErrorCode::InvalidName,
            Self::UnknownTopic { .. } => ErrorCode::UnknownTopic,
            Self::UnknownTopicId { .. } => ErrorCode::UnknownTopicId,
            Self::Partitions { .. } | Self::NotGrowing { .. } => ErrorCode::InvalidPartitions,
            Self::ReplicationFactor { .. } => ErrorCode::InvalidReplicationFactor,
            Self::LimitReached { .. } | Self::ProducerIdsExhausted => ErrorCode::LimitReached,
            Self::Producer(refusal) => refusal.code(),
            Self::Config(_) => ErrorCode::InvalidConfig,
        }
    }
}

impl From<MetadataRefusal> for Failure {
    fn from(refusal: MetadataRefusal) -> Self {
        Self::new(refusal.code(), refusal)
    }
}
