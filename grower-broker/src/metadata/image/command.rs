//! The only ways in which metadata changes. They are stored for ever.

use crate::metadata::Uuid;
use grower_protocol::ids::{LeaderEpoch, NodeId, Offset, PartitionId, ProducerId, Timestamp, TopicId, TopicName};
use serde::{Deserialize, Serialize};

/// One change. Whatever was decided at random or by a clock stands in it, so that applying it is the same everywhere.
///
/// Its encoding is positional: a released variant never changes, a change is a new variant at the end, and the rules
/// of [`super::Image::apply`] only ever loosen, so that an old log leads to the state it led to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Names the cluster; the first command of all.
    FormatCluster {
        /// Its identity.
        cluster: Uuid,
    },
    /// A broker started. A new leadership begins in every partition that it leads, so its first append after a start
    /// carries a leader epoch that nobody used before.
    RegisterBroker {
        /// Its number.
        node: NodeId,
        /// Its identity: a number alone may be given to two.
        uuid: Uuid,
        /// Where clients reach it, `host:port`.
        address: String,
    },
    /// Creates a topic.
    CreateTopic {
        /// Its name.
        name: TopicName,
        /// Its identity, never used before.
        id: TopicId,
        /// The replicas of each partition; the first of them leads.
        replicas: Vec<Vec<NodeId>>,
        /// What differs from the defaults.
        configs: Vec<(String, String)>,
        /// When.
        at: Timestamp,
    },
    /// Deletes a topic and all its records.
    DeleteTopic {
        /// Which: by identity, so that a topic created meanwhile under its name stays.
        id: TopicId,
    },
    /// Adds partitions to a topic.
    GrowTopic {
        /// Which.
        id: TopicId,
        /// How many partitions it had when this was decided; another number now refuses the command.
        from: u32,
        /// The replicas of each new partition; the first of them leads.
        added: Vec<Vec<NodeId>>,
    },
    /// Changes configs of a topic.
    AlterTopic {
        /// Which.
        id: TopicId,
        /// Keys and new values; none goes back to the default.
        configs: Vec<(String, Option<String>)>,
    },
    /// Takes a block of producer ids; they are handed out after this is durable, so none is handed out twice.
    AllocateProducerIds {
        /// How many.
        count: u32,
    },
    /// The records of deleted topics are gone from every disk: nobody needs to remember their ids.
    ForgetDeleted {
        /// The topics.
        ids: Vec<TopicId>,
    },
    /// Drops the oldest records of a topic. It is remembered until they are gone from every log.
    TrimTopic {
        /// Which.
        id: TopicId,
        /// The partitions, each with the offset before which nothing stays.
        before: Vec<(PartitionId, Offset)>,
    },
    /// These records are gone: nobody needs to remember that they had to go.
    ForgetTrims {
        /// Topic, partition, and the offset that its log start has reached.
        done: Vec<(TopicId, PartitionId, Offset)>,
    },
    /// Changes settings of a broker while it runs.
    AlterBroker {
        /// Which.
        node: NodeId,
        /// Keys and new values; none goes back to what the broker's start says.
        settings: Vec<(String, Option<String>)>,
    },
    /// A node's data was restored from a backup: what came after it is lost, and the others must be able to tell.
    ReplaceNode {
        /// Its number, which it keeps.
        node: NodeId,
        /// Its identity from now on.
        uuid: Uuid,
    },
    /// Takes a block of producer ids, none of them below `first`.
    AllocateProducerIdsFrom {
        /// The least id of the block.
        first: ProducerId,
        /// How many.
        count: u32,
    },
    /// Clients may hold numbers that this metadata does not know: it is older than the data, or both were restored from
    /// a backup. Numbers given out from now on are above these.
    BeginAbove {
        /// The least producer id that is given out next.
        producer: ProducerId,
        /// The least leader epoch of every partition.
        leader_epoch: LeaderEpoch,
    },
}
