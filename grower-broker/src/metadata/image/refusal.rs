//! Why metadata does not change as somebody requested.

use crate::config::topic::ConfigError;
use crate::metadata::Uuid;
use grower_protocol::ids::{NodeId, PartitionCount, PartitionId, TopicId, TopicName};
use grower_protocol::message::{ErrorCode, Failure};

/// Why a wish or a command was refused. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataRefusal {
    /// The cluster has its identity already.
    #[error("the data belongs to cluster {cluster} already")]
    ClusterExists {
        /// As it is.
        cluster: Uuid,
    },
    /// Two nodes with one number.
    #[error("node {node} is registered as {known}, not {other}: a node that lost its disk needs a new number")]
    ForeignNode {
        /// The number.
        node: NodeId,
        /// Whose it is.
        known: Uuid,
        /// Who wanted it.
        other: Uuid,
    },
    /// The name is taken.
    #[error("topic {name} exists already")]
    TopicExists {
        /// The name.
        name: TopicName,
        /// Who has it.
        id: TopicId,
    },
    /// The id is taken, now or by a topic whose records are still being deleted.
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
        /// The topic that is there.
        existing: TopicName,
    },
    /// The name is the broker's own.
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
    /// No topic of that name.
    #[error("there is no topic {name}")]
    UnknownTopic {
        /// The name.
        name: TopicName,
    },
    /// No topic of that id.
    #[error("there is no topic with id {id}; it may have been deleted")]
    UnknownTopicId {
        /// The id.
        id: TopicId,
    },
    /// No partition of that number.
    #[error("topic {name} has {}, counted from 0, and no partition {partition}", PartitionCount(*.count))]
    UnknownPartition {
        /// The topic.
        name: TopicName,
        /// As requested.
        partition: PartitionId,
        /// How many it has.
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
    /// None at all, or too many.
    #[error("a topic has 1 to {max} partitions, not {partitions}")]
    Partitions {
        /// As requested.
        partitions: u32,
        /// The limit.
        max: u32,
    },
    /// Partitions are only ever added.
    #[error("topic {name} has {}; it can grow, and {requested} is not more", PartitionCount(*.current))]
    NotGrowing {
        /// The topic.
        name: TopicName,
        /// How many it has.
        current: u32,
        /// How many were requested.
        requested: u32,
    },
    /// Somebody else changed it first.
    #[error("topic {name} changed meanwhile: try again")]
    Changed {
        /// The topic.
        name: TopicName,
    },
    /// None at all, or more than there are brokers.
    #[error("the replication factor must be 1 to {brokers}, the number of brokers, not {factor}")]
    ReplicationFactor {
        /// As requested.
        factor: u32,
        /// How many there are.
        brokers: u32,
    },
    /// The cluster holds as much as it may.
    #[error("{requested} {what} would be over the limit of {max}")]
    LimitReached {
        /// Of what: `topics`, `partitions`.
        what: &'static str,
        /// How many there would be.
        requested: u64,
        /// The limit.
        max: u64,
    },
    /// A config that is not allowed.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There are no producer ids left.
    #[error("all producer ids are allocated")]
    ProducerIdsExhausted,
}

impl MetadataRefusal {
    /// For programs.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::ClusterExists { .. }
            | Self::ForeignNode { .. }
            | Self::NamedTwice { .. }
            | Self::PartitionTwice { .. }
            | Self::Changed { .. } => ErrorCode::InvalidRequest,
            Self::UnknownPartition { .. } => ErrorCode::UnknownPartition,
            Self::TopicExists { .. } => ErrorCode::TopicExists,
            Self::IdUsed { .. } => ErrorCode::Internal,
            Self::NameCollides { .. } | Self::Internal { .. } => ErrorCode::InvalidName,
            Self::UnknownTopic { .. } => ErrorCode::UnknownTopic,
            Self::UnknownTopicId { .. } => ErrorCode::UnknownTopicId,
            Self::Partitions { .. } | Self::NotGrowing { .. } => ErrorCode::InvalidPartitions,
            Self::ReplicationFactor { .. } => ErrorCode::InvalidReplicationFactor,
            Self::LimitReached { .. } | Self::ProducerIdsExhausted => ErrorCode::LimitReached,
            Self::Config(_) => ErrorCode::InvalidConfig,
        }
    }
}

impl From<MetadataRefusal> for Failure {
    fn from(refusal: MetadataRefusal) -> Self {
        Self::new(refusal.code(), refusal)
    }
}
