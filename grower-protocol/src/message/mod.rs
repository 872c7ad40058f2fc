//! The native messages between clients and brokers. They are plain data; [`crate::wire`] encodes and frames them.
//!
//! The answer to a [`Request`] is the [`Response`] with its name, or [`Response::Failed`]. The encoding is positional:
//! a released variant or field never changes, a change is a new variant at the end.

mod admin;
mod backup;
mod broker;
mod failure;
mod fetch;
mod fetch_session;
mod group;
mod hello;
mod kind;
mod metadata;
mod produce;
mod producer;

pub use admin::{NewTopic, SegmentPage, TopicConfigs};
pub use descriptions::*;
pub use failure::{ErrorCode, Failure, FailureContext, Outcome, RecordRange};
pub use fetch::{
    Divergence, Fetch, FetchAnswer, FetchPartition, FetchedPartition, FetchedRecords, ListOffset, ListOffsets,
    ListedOffset, OffsetSpec, ReportDamage,
};
pub use fetch_session::{
    AddedSlot, FetchSession, FetchSessionAnswer, FetchSessionId, FetchSlot, SessionSequence, SessionStep, SlotPart,
};
pub use group::{
    CommitterIdentity, Heartbeat, HeartbeatAnswer, OffsetCommit, OffsetToCommit, SESSION_MAX, SESSION_MIN,
    StartOffsets, heartbeat_interval, instance_lease,
};
pub use hello::{Feature, Hello, HelloAnswer};
pub use kind::{MemoryUse, RequestKind};
pub use metadata::{BrokerAddress, Metadata, MetadataAnswer, PartitionMetadata, TopicMetadata};
pub use produce::{Acks, Durability, Produce, ProducePartition, Produced};
pub use producer::{FenceProducer, InitProducer, ProducerFence, ProducerIdentity};

use crate::ids::{GroupId, MemberId, Offset, PartitionId, ProducerName, TopicId, TopicName};
use kind::{PartCount, requests};
use serde::{Deserialize, Serialize};

/// The descriptions in answers to admin requests, which clients hand to their users as they are.
pub mod descriptions {
    pub use crate::message::admin::{
        AcceptedLossDescription, ConfigEntry, ConfigSource, PartitionDescription, SegmentDescription, TopicDescription,
    };
    pub use crate::message::backup::{BackupDescription, BackupMade, BackupState};
    pub use crate::message::broker::{
        BrokerDescription, DiskDescription, FsyncDescription, SettingEntry, SettingSource, TopicTraffic, Traffic,
        UsedUp,
    };
    pub use crate::message::group::{
        CommitTime, CommittedOffset, GroupDescription, GroupMemory, GroupState, Holding, MemberDescription,
        RefusedGrowth, TopicPartitions,
    };
    pub use crate::message::producer::{LastWritten, NamedProducerDescription, ProducerDescription, ProducerIdentity};
}

/// The result of one part of a request. Each part succeeds or fails alone.
pub type Part<T> = Result<T, Failure>;

requests! {
    /// Introduces the client. It is the first request of a connection.
    0 => Hello(Hello);
    /// Lists topics and the leaders of their partitions.
    1 => Metadata(Metadata), memory: List, parts: (metadata) => Topics(metadata.topics.as_ref().map_or(0, Vec::len));
    /// Gets an identity for a producer: a new id, or the next epoch of a name.
    2 => InitProducer(InitProducer);
    /// Appends the record batches in the attachment.
    3 => Produce(Produce), memory: Records, parts: (produce) => Partitions(produce.partitions.len());
    /// Reads record batches. Checks first, on request, that the log still has the records read before.
    4 => Fetch(Fetch), memory: Records, parts: (fetch) => Partitions(fetch.partitions.len());
    /// Looks up offsets by position or time.
    5 => ListOffsets(ListOffsets), parts: (list) => Partitions(list.partitions.len());
    /// Joins a group, keeps the membership alive and receives the assignment. The answer may wait for a change.
    6 => Heartbeat(Heartbeat);
    /// Leaves a group.
    7 => LeaveGroup {
        /// The group.
        group: GroupId,
        /// The member that leaves.
        member: MemberId,
    };
    /// Commits offsets of a group in the order of the committer's sequence numbers.
    8 => CommitOffsets(OffsetCommit), parts: (commit) => Partitions(commit.offsets.len());
    /// Returns the committed offsets of a group, and where the log has lost records that the group read.
    9 => FetchOffsets {
        /// The group.
        group: GroupId,
        /// The partitions; none requests all committed offsets.
        partitions: Option<Vec<(TopicId, PartitionId)>>,
    }, memory: List, parts: { partitions, .. } => Partitions(partitions.as_ref().map_or(0, Vec::len));
    /// Lists all groups, a page at a time.
    10 => ListGroups {
        /// Lists groups whose ids come after this one; none for the first page.
        after: Option<GroupId>,
        /// The largest number of groups on the page.
        most: u32,
    }, memory: List;
    /// Describes a group with its members and offsets.
    11 => DescribeGroup(GroupId), memory: List;
    /// Deletes a group without members.
    12 => DeleteGroup(GroupId);
    /// Creates topics. Each succeeds or fails alone.
    13 => CreateTopics {
        /// The topics.
        topics: Vec<NewTopic>,
    }, parts: { topics } => Topics(topics.len());
    /// Deletes a topic with all its records.
    14 => DeleteTopic(TopicName);
    /// Adds partitions to a topic.
    15 => GrowTopic {
        /// The topic.
        topic: TopicName,
        /// The new number of partitions.
        partitions: u32,
    };
    /// Changes a topic's configs. An absent value restores the default.
    16 => AlterTopic {
        /// The topic.
        topic: TopicName,
        /// The keys with their new values.
        configs: Vec<(String, Option<String>)>,
    };
    /// Describes topics.
    17 => DescribeTopics {
        /// The topics; none requests all topics that are not internal.
        topics: Option<Vec<TopicName>>,
        /// Whether to include the segments of each partition.
        segments: bool,
    }, memory: List, parts: { topics, .. } => Topics(topics.as_ref().map_or(0, Vec::len));
    /// Reports a batch that arrived damaged. The broker checks its file.
    18 => ReportDamage(ReportDamage);
    /// Deletes the records of each partition before a committed offset.
    19 => TrimTopic {
        /// The topic.
        topic: TopicName,
        /// The new log start offset of each partition. A partition that already starts later is unchanged.
        before: Vec<(PartitionId, Offset)>,
    };
    /// Detaches a member that no longer reads. Its partitions wait a session timeout for a member that joins under its
    /// instance name. A member without such a name leaves the group.
    20 => DetachMember {
        /// The group.
        group: GroupId,
        /// The member to detach.
        member: MemberId,
    };
    /// Describes the status of this broker.
    21 => DescribeBroker, memory: List;
    /// Describes every setting of this broker.
    22 => DescribeSettings, memory: List;
    /// Changes settings of this broker at run time, for good. An absent value restores the value given at the start.
    23 => AlterSettings {
        /// The keys with their new values. Either all change or none.
        settings: Vec<(String, Option<String>)>,
    };
    /// Begins a backup on this broker's machine. The broker answers at once and serves meanwhile.
    24 => BeginBackup {
        /// The directory of backups: a path below the directory in the broker's settings.
        dir: String,
        /// Whether to copy all files instead of sharing them with earlier backups.
        full: bool,
    };
    /// Describes the latest backup of this broker.
    25 => DescribeBackup;
    /// Cancels the running backup and removes its files.
    26 => CancelBackup;
    /// Lists the accepted losses of a topic.
    27 => ListLosses(TopicName), memory: List;
    /// Lists the time of a group's last commit to each partition.
    28 => ListCommits(GroupId), memory: List;
    /// Lists the segments of a topic, a page at a time.
    29 => ListSegments {
        /// The topic.
        topic: TopicName,
        /// The partition and the offset of the first segment; none for the topic's first.
        from: Option<(PartitionId, Offset)>,
    }, memory: List;
    /// Decides where a group begins to read. The answer is [`Response::FetchOffsets`], with the group's offsets in
    /// these partitions.
    30 => StartOffsets(StartOffsets), parts: (start) => Partitions(start.starts.len());
    /// Describes the memory use of the broker's groups, and recent refusals.
    31 => DescribeGroupMemory, feature: "group-memory", memory: List;
    /// Reads record batches of a set of partitions that the broker keeps. The answer has only what there is to send.
    32 => FetchSession(FetchSession), feature: "fetch-sessions", memory: Records,
        parts: (fetch) => Partitions(fetch.add.len() + fetch.drop.len());
    /// Begins an epoch of a producer in some partitions, which refuse its earlier epochs from then on.
    33 => FenceProducer(FenceProducer), feature: "producer-fences",
        parts: (fence) => Partitions(fence.partitions.len());
    /// Lists the named producers, a page at a time.
    34 => ListProducers {
        /// Lists producers whose names come after this one; none for the first page.
        after: Option<ProducerName>,
        /// The largest number of producers on the page.
        most: u32,
    }, feature: "named-producers", memory: List;
    /// Describes a named producer.
    35 => DescribeProducer(ProducerName), feature: "named-producers", memory: List;
    /// Deletes a named producer: its holder is refused from then on, and the next claim of the name begins afresh.
    36 => DeleteProducer(ProducerName), feature: "named-producers";
}

/// A response of a broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// The request as a whole failed.
    Failed(Failure),
    /// Answers [`Request::Hello`].
    Hello(HelloAnswer),
    /// Answers [`Request::Metadata`].
    Metadata(MetadataAnswer),
    /// Answers [`Request::InitProducer`].
    InitProducer(ProducerIdentity),
    /// Answers [`Request::Produce`], in its order, unless acks is `none`.
    Produce(Vec<Part<Produced>>),
    /// Answers [`Request::Fetch`]. The attachment holds the batches.
    Fetch(FetchAnswer),
    /// Answers [`Request::ListOffsets`], in its order.
    ListOffsets(Vec<Part<ListedOffset>>),
    /// Answers [`Request::Heartbeat`].
    Heartbeat(HeartbeatAnswer),
    /// Answers [`Request::CommitOffsets`], in its order.
    CommitOffsets(Vec<Part<()>>),
    /// Answers [`Request::FetchOffsets`] and [`Request::StartOffsets`], sorted by topic and partition, without
    /// partitions that have no committed offset.
    FetchOffsets(Vec<CommittedOffset>),
    /// Answers [`Request::ListGroups`].
    ListGroups {
        /// The groups sorted by id, without the metadata of offsets. A group that does not fit an answer comes [in
        /// brief](GroupDescription::is_in_brief).
        groups: Vec<GroupDescription>,
        /// The group after which the next page begins; none if this page is the last.
        next: Option<GroupId>,
    },
    /// Answers [`Request::DescribeGroup`].
    DescribeGroup(GroupDescription),
    /// Answers [`Request::CreateTopics`], in its order.
    CreateTopics(Vec<Part<TopicId>>),
    /// Answers [`Request::DescribeTopics`], in its order, or sorted by name for all topics.
    DescribeTopics(Vec<Part<TopicDescription>>),
    /// Confirms that a request without a result is complete and durable: one that leaves a group, deletes, grows,
    /// alters or trims, a deletion of a producer, a report of damage, or [`Request::CancelBackup`].
    Done,
    /// Answers [`Request::DescribeBroker`].
    DescribeBroker(BrokerDescription),
    /// Answers [`Request::DescribeSettings`], in the order of the config file.
    DescribeSettings(Vec<SettingEntry>),
    /// Answers [`Request::BeginBackup`] and [`Request::DescribeBackup`]; none without a backup since the broker's
    /// start.
    DescribeBackup(Option<BackupDescription>),
    /// Answers [`Request::ListLosses`], sorted by partition, then by age, oldest first.
    ListLosses(Vec<AcceptedLossDescription>),
    /// Answers [`Request::ListCommits`], sorted by topic and partition.
    ListCommits(Vec<CommitTime>),
    /// Answers [`Request::ListSegments`].
    ListSegments(SegmentPage),
    /// Answers [`Request::DescribeGroupMemory`].
    DescribeGroupMemory(GroupMemory),
    /// Answers [`Request::FetchSession`]. The attachment holds the batches.
    FetchSession(FetchSessionAnswer),
    /// Answers [`Request::FenceProducer`], in its order.
    FenceProducer(Vec<Part<ProducerFence>>),
    /// Answers [`Request::ListProducers`].
    ListProducers {
        /// The producers sorted by name.
        producers: Vec<NamedProducerDescription>,
        /// The name after which the next page begins; none if this page is the last.
        next: Option<ProducerName>,
    },
    /// Answers [`Request::DescribeProducer`].
    DescribeProducer(ProducerDescription),
}

#[cfg(test)]
mod tests;
