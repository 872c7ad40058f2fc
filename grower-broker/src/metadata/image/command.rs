//! Commands: the only way to change metadata. They are stored for ever.

use crate::metadata::Uuid;
use grower_protocol::ids::{
    LeaderEpoch, NodeId, Offset, PartitionId, ProducerHolder, ProducerId, ProducerName, Timestamp, TopicId, TopicName,
};
use grower_protocol::message::ProducerIdentity;
use serde::{Deserialize, Serialize};

/// One change. Random and clock values are part of it, so that it has the same effect everywhere.
///
/// The encoding is positional: a released variant never changes, and a change is a new variant at the end. The rules
/// of [`super::Image::apply`] only loosen, so that an old log leads to the same state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Names the cluster; the first command of all.
    FormatCluster {
        /// Its identity.
        cluster: Uuid,
    },
    /// Registers a broker that started. Every partition that it leads begins a new leader epoch, so its appends carry
    /// an unused one.
    RegisterBroker {
        /// Its number.
        node: NodeId,
        /// Its identity, since two nodes may have one number by mistake.
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
        /// Configs that differ from the defaults.
        configs: Vec<(String, String)>,
        /// The creation time.
        at: Timestamp,
    },
    /// Deletes a topic and all its records.
    DeleteTopic {
        /// Its id: a topic that was created meanwhile under the same name stays.
        id: TopicId,
    },
    /// Adds partitions to a topic.
    GrowTopic {
        /// Its id.
        id: TopicId,
        /// Its number of partitions at the decision; the command is refused if it changed since.
        from: u32,
        /// The replicas of each new partition; the first of them leads.
        added: Vec<Vec<NodeId>>,
    },
    /// Changes configs of a topic.
    AlterTopic {
        /// Which.
        id: TopicId,
        /// Keys and new values; none restores the default.
        configs: Vec<(String, Option<String>)>,
    },
    /// Allocates a block of producer ids. They are used only after this is durable, so no id is allocated twice.
    AllocateProducerIds {
        /// How many.
        count: u32,
    },
    /// Removes deleted topics from the metadata: their records are gone from every disk.
    ForgetDeleted {
        /// The topics.
        ids: Vec<TopicId>,
    },
    /// Drops the oldest records of a topic. The image lists the trim until it is done in every log.
    TrimTopic {
        /// Which.
        id: TopicId,
        /// The partitions, each with its new log start offset.
        before: Vec<(PartitionId, Offset)>,
    },
    /// Removes finished trims from the image.
    ForgetTrims {
        /// Topic, partition, and the offset that its log start has reached.
        done: Vec<(TopicId, PartitionId, Offset)>,
    },
    /// Changes settings of a running broker.
    AlterBroker {
        /// Which.
        node: NodeId,
        /// Keys and new values; none restores the value of the broker's start.
        settings: Vec<(String, Option<String>)>,
    },
    /// Replaces a node's identity after its data was restored from a backup: other nodes must see that later data is
    /// lost.
    ReplaceNode {
        /// Its number, which does not change.
        node: NodeId,
        /// Its new identity.
        uuid: Uuid,
    },
    /// Allocates a block of producer ids, none of them below `first`.
    AllocateProducerIdsFrom {
        /// The least id of the block.
        first: ProducerId,
        /// How many.
        count: u32,
    },
    /// Raises all numbers above those that clients may hold although this metadata does not know them: it is older
    /// than the data, or was restored from a backup.
    RaiseMinimumIds {
        /// The smallest producer id to allocate next.
        producer: ProducerId,
        /// The smallest leader epoch of every partition.
        leader_epoch: LeaderEpoch,
    },
    /// Gives a producer's name its next identity. All earlier ones are refused from then on.
    ClaimProducer {
        /// The name.
        name: ProducerName,
        /// The process that claims it.
        holder: ProducerHolder,
        /// The identity that the process has and renews; none claims the name.
        current: Option<ProducerIdentity>,
        /// The smallest id to allocate if the name needs a fresh one.
        first: ProducerId,
        /// The time of the claim.
        at: Timestamp,
    },
    /// Removes names of producers. A name with another identity than this one was claimed again, and stays.
    ForgetProducers {
        /// The names, each with its identity at the decision.
        producers: Vec<(ProducerName, ProducerIdentity)>,
    },
}
