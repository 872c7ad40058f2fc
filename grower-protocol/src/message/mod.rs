//! What native clients and brokers say to each other. Plain data: the transport is [`crate::wire`].
//!
//! Every [`Request`] is answered by the [`Response`] of its name, or by [`Response::Failed`]. The encoding is positional:
//! a released variant or field never changes, a change is a new variant at the end.

mod admin;
mod backup;
mod broker;
mod failure;
mod fetch;
mod group;
mod hello;
mod kind;
mod metadata;
mod produce;

pub use admin::{
    ConfigEntry, ConfigSource, LossDescription, NewTopic, PartitionDescription, SegmentDescription, SegmentPage,
    TopicConfigs, TopicDescription,
};
pub use backup::{BackupDescription, BackupMade, BackupState};
pub use broker::{
    BrokerDescription, DiskDescription, FsyncDescription, SettingEntry, SettingSource, TopicTraffic, Traffic, UsedUp,
};
pub use failure::{ErrorCode, Failure, Outcome};
pub use fetch::{
    Divergence, Fetch, FetchAfter, FetchAfterAnswer, FetchAnswer, FetchPartition, FetchPosition, FetchedAfter,
    FetchedPartition, ListOffset, ListOffsets, ListedOffset, OffsetSpec, ReportDamage,
};
pub use group::{
    CommitTime, CommittedOffset, CommittedPosition, CommitterIdentity, GroupDescription, GroupMemory, GroupState,
    Heartbeat, HeartbeatAnswer, Holding, MemberDescription, OffsetCommit, OffsetToCommit, PositionCommit,
    PositionToCommit, RefusedGrowth, SESSION_MAX, SESSION_MIN, StartPositions, TopicPartitions, heartbeat_interval,
    instance_lease,
};
pub use hello::{Feature, Hello, HelloAnswer};
pub use kind::{MemoryUse, RequestKind};
pub use metadata::{BrokerAddress, Metadata, MetadataAnswer, PartitionMetadata, TopicMetadata};
pub use produce::{Acks, Durability, Produce, ProducePartition, Produced, ProducerIdentity};

use crate::ids::{GroupId, MemberId, Offset, PartitionId, TopicId, TopicName};
use kind::{RequestParts, requests};
use serde::{Deserialize, Serialize};

/// Outcome of one part of a request; the other parts have their own.
pub type Part<T> = Result<T, Failure>;

requests! {
    /// Introduces the client. The first request of a connection.
    0 => Hello(Hello);
    /// Which topics there are and who leads them.
    1 => Metadata(Metadata), memory: List, parts: (metadata) => Topics(metadata.topics.as_ref().map_or(0, Vec::len));
    /// Hands out a producer id, never used before.
    2 => InitProducer;
    /// Appends record batches; they are the attachment.
    3 => Produce(Produce), memory: Records, parts: (produce) => Partitions(produce.partitions.len());
    /// Reads record batches.
    4 => Fetch(Fetch), memory: Records, parts: (fetch) => Partitions(fetch.partitions.len());
    /// Offsets by position or time.
    5 => ListOffsets(ListOffsets), parts: (list) => Partitions(list.partitions.len());
    /// Joins a group, keeps the membership alive, and learns its assignment, at once when that changes.
    6 => Heartbeat(Heartbeat);
    /// Leaves a group.
    7 => LeaveGroup {
        /// The group.
        group: GroupId,
        /// The member that leaves.
        member: MemberId,
    };
    /// Remembers how far a group has read.
    8 => CommitOffsets(OffsetCommit), parts: (commit) => Partitions(commit.offsets.len());
    /// How far a group has read: of these partitions, or of all it ever committed.
    9 => FetchOffsets {
        /// The group.
        group: GroupId,
        /// Of which partitions.
        partitions: Option<Vec<(TopicId, PartitionId)>>,
    }, memory: List, parts: { partitions, .. } => Partitions(partitions.as_ref().map_or(0, Vec::len));
    /// All groups, a page at a time.
    10 => ListGroups {
        /// Lists groups whose ids come after this one; none for the first page.
        after: Option<GroupId>,
        /// How many groups are wanted; a page may hold fewer.
        most: u32,
    }, memory: List;
    /// One group with its members and offsets.
    11 => DescribeGroup(GroupId), memory: List;
    /// Forgets a group that has no members.
    12 => DeleteGroup(GroupId);
    /// Creates topics; each succeeds or fails alone.
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
        /// How many partitions it has afterwards.
        partitions: u32,
    };
    /// Changes a topic's configs; none for a value means back to the default.
    16 => AlterTopic {
        /// The topic.
        topic: TopicName,
        /// Keys and new values.
        configs: Vec<(String, Option<String>)>,
    };
    /// Describes topics: these, or all that are not internal.
    17 => DescribeTopics {
        /// Which.
        topics: Option<Vec<TopicName>>,
        /// With the segments of each partition.
        segments: bool,
    }, memory: List, parts: { topics, .. } => Topics(topics.as_ref().map_or(0, Vec::len));
    /// A batch arrived damaged: the broker checks its file.
    18 => ReportDamage(ReportDamage);
    /// Drops the oldest records of a topic: in each partition those before an offset, which is committed.
    19 => TrimTopic {
        /// The topic.
        topic: TopicName,
        /// The log start of each partition from then on, at the earliest.
        before: Vec<(PartitionId, Offset)>,
    };
    /// The member reads nothing any more, and its partitions wait a session timeout for a member that joins under its
    /// instance name. Without such a name it leaves.
    20 => StepOut {
        /// The group.
        group: GroupId,
        /// The member that is detached.
        member: MemberId,
    };
    /// How this broker is doing.
    21 => DescribeBroker, memory: List;
    /// Every setting of this broker.
    22 => DescribeSettings, memory: List;
    /// Changes settings of this broker while it runs, for good; none for a value means back to what the start said.
    23 => AlterSettings {
        /// Keys and new values; all are taken, or none.
        settings: Vec<(String, Option<String>)>,
    };
    /// Begins a backup of this broker, which makes it on its own machine while it serves. Answered at once.
    24 => BeginBackup {
        /// The directory of backups: a path below the one that the broker's settings name.
        dir: String,
        /// It shares nothing with the backups before.
        full: bool,
    };
    /// The progress of the latest backup of this broker.
    25 => DescribeBackup;
    /// Ends the backup that is being made. What was made of it is removed.
    26 => CancelBackup;
    /// The records of a topic that an operator gave up as lost.
    27 => ListLosses(TopicName), memory: List;
    /// When a group last committed, partition by partition.
    28 => ListCommits(GroupId), memory: List;
    /// The segments of a topic, a page at a time.
    29 => ListSegments {
        /// The topic.
        topic: TopicName,
        /// The first segment wanted, by partition and offset; none for the topic's first.
        from: Option<(PartitionId, Offset)>,
    }, memory: List;
    /// Remembers how far a group has read, in the order in which the committer numbered its commits. Answered by
    /// [`Response::CommitOffsets`].
    30 => CommitPositions(PositionCommit), feature: Feature::POSITION_COMMITS,
        parts: (commit) => Partitions(commit.positions.len());
    /// Reads record batches, if the log still has what was read before.
    31 => FetchAfter(FetchAfter), feature: Feature::POSITION_COMMITS, memory: Records,
        parts: (fetch) => Partitions(fetch.partitions.len());
    /// The positions of a group: in these partitions, or all that it ever committed.
    32 => FetchPositions {
        /// The group.
        group: GroupId,
        /// Which; none means all.
        partitions: Option<Vec<(TopicId, PartitionId)>>,
    }, feature: Feature::POSITION_COMMITS, memory: List,
        parts: { partitions, .. } => Partitions(partitions.as_ref().map_or(0, Vec::len));
    /// Decides where a group begins, and answers the positions that it has then, of the partitions named:
    /// [`Response::FetchPositions`].
    33 => StartPositions(StartPositions), feature: Feature::POSITION_COMMITS,
        parts: (start) => Partitions(start.starts.len());
    /// What the broker's groups take of memory, and which were lately refused more.
    34 => DescribeGroupMemory, feature: Feature::GROUP_MEMORY, memory: List;
}

impl Request {
    /// What to ask a broker that lacks the [feature](RequestKind::feature) that this request needs, if anything comes close.
    pub fn for_older_brokers(&self) -> Option<Self> {
        match self {
            Self::CommitPositions(commit) => Some(Self::CommitOffsets(commit.for_older_brokers())),
            Self::FetchAfter(fetch) => Some(Self::Fetch(fetch.for_older_brokers())),
            Self::FetchPositions { group, partitions } => {
                Some(Self::FetchOffsets { group: group.clone(), partitions: partitions.clone() })
            }
            _ => None,
        }
    }
}

/// What a broker answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// The request as a whole failed.
    Failed(Failure),
    /// To [`Request::Hello`].
    Hello(HelloAnswer),
    /// To [`Request::Metadata`].
    Metadata(MetadataAnswer),
    /// To [`Request::InitProducer`].
    InitProducer(ProducerIdentity),
    /// To [`Request::Produce`], in its order. Acks `none` has no answer.
    Produce(Vec<Part<Produced>>),
    /// To [`Request::Fetch`]; the batches are the attachment.
    Fetch(FetchAnswer),
    /// To [`Request::ListOffsets`], in its order.
    ListOffsets(Vec<Part<ListedOffset>>),
    /// To [`Request::Heartbeat`].
    Heartbeat(HeartbeatAnswer),
    /// To [`Request::CommitOffsets`] and [`Request::CommitPositions`], in its order.
    CommitOffsets(Vec<Part<()>>),
    /// To [`Request::FetchOffsets`]: those that were ever committed.
    FetchOffsets(Vec<CommittedOffset>),
    /// To [`Request::ListGroups`].
    ListGroups {
        /// Sorted by id, without the metadata of offsets. A group that no answer could hold comes [in
        /// brief](GroupDescription::is_in_brief).
        groups: Vec<GroupDescription>,
        /// The next page begins after this group; none if this page is the last.
        next: Option<GroupId>,
    },
    /// To [`Request::DescribeGroup`].
    DescribeGroup(GroupDescription),
    /// To [`Request::CreateTopics`], in its order.
    CreateTopics(Vec<Part<TopicId>>),
    /// To [`Request::DescribeTopics`]: as asked, or sorted by name.
    DescribeTopics(Vec<Part<TopicDescription>>),
    /// It is done and durable: to leaving a group, to deleting, growing, altering and trimming, to a report, and to
    /// [`Request::CancelBackup`].
    Done,
    /// To [`Request::DescribeBroker`].
    DescribeBroker(BrokerDescription),
    /// To [`Request::DescribeSettings`], in the order of the config file.
    DescribeSettings(Vec<SettingEntry>),
    /// To [`Request::BeginBackup`] and [`Request::DescribeBackup`]; none if this broker made none since its start.
    DescribeBackup(Option<BackupDescription>),
    /// To [`Request::ListLosses`]: by partition, of each the oldest loss first.
    ListLosses(Vec<LossDescription>),
    /// To [`Request::ListCommits`], sorted by topic and partition.
    ListCommits(Vec<CommitTime>),
    /// To [`Request::ListSegments`].
    ListSegments(SegmentPage),
    /// To [`Request::FetchAfter`]; the batches are the attachment.
    FetchAfter(FetchAfterAnswer),
    /// To [`Request::FetchPositions`] and [`Request::StartPositions`], sorted by topic and partition.
    FetchPositions(Vec<CommittedPosition>),
    /// To [`Request::DescribeGroupMemory`].
    DescribeGroupMemory(GroupMemory),
}

#[cfg(test)]
mod tests;
