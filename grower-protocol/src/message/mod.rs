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
pub use metadata::{BrokerAddress, Metadata, MetadataAnswer, PartitionMetadata, TopicMetadata};
pub use produce::{Acks, Durability, Produce, ProducePartition, Produced, ProducerIdentity};

use crate::ids::{GroupId, MemberId, Offset, PartitionId, TopicId, TopicName};
use serde::{Deserialize, Serialize};

/// Outcome of one part of a request; the other parts have their own.
pub type Part<T> = Result<T, Failure>;

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Introduces the client. The first request of a connection.
    Hello(Hello),
    /// Which topics there are and who leads them.
    Metadata(Metadata),
    /// Hands out a producer id, never used before.
    InitProducer,
    /// Appends record batches; they are the attachment.
    Produce(Produce),
    /// Reads record batches.
    Fetch(Fetch),
    /// Offsets by position or time.
    ListOffsets(ListOffsets),
    /// Joins a group, keeps the membership alive, and learns its assignment, at once when that changes.
    Heartbeat(Heartbeat),
    /// Leaves a group.
    LeaveGroup {
        /// The group.
        group: GroupId,
        /// Who leaves.
        member: MemberId,
    },
    /// Remembers how far a group has read.
    CommitOffsets(OffsetCommit),
    /// How far a group has read: of these partitions, or of all it ever committed.
    FetchOffsets {
        /// The group.
        group: GroupId,
        /// Of which partitions.
        partitions: Option<Vec<(TopicId, PartitionId)>>,
    },
    /// All groups, a page at a time.
    ListGroups {
        /// Lists groups whose ids come after this one; none for the first page.
        after: Option<GroupId>,
        /// How many groups are wanted; a page may hold fewer.
        most: u32,
    },
    /// One group with its members and offsets.
    DescribeGroup(GroupId),
    /// Forgets a group that has no members.
    DeleteGroup(GroupId),
    /// Creates topics; each succeeds or fails alone.
    CreateTopics {
        /// The topics.
        topics: Vec<NewTopic>,
    },
    /// Deletes a topic with all its records.
    DeleteTopic(TopicName),
    /// Adds partitions to a topic, up to this many.
    GrowTopic {
        /// The topic.
        topic: TopicName,
        /// How many it shall have.
        partitions: u32,
    },
    /// Changes a topic's configs; none for a value means back to the default.
    AlterTopic {
        /// The topic.
        topic: TopicName,
        /// Keys and new values.
        configs: Vec<(String, Option<String>)>,
    },
    /// Describes topics: these, or all that are not internal.
    DescribeTopics {
        /// Which.
        topics: Option<Vec<TopicName>>,
        /// With the segments of each partition.
        segments: bool,
    },
    /// A batch arrived damaged: the broker shall look at its file.
    ReportDamage(ReportDamage),
    /// Drops the oldest records of a topic: in each partition those before an offset, which is committed.
    TrimTopic {
        /// The topic.
        topic: TopicName,
        /// The log start of each partition from then on, at the earliest.
        before: Vec<(PartitionId, Offset)>,
    },
    /// The member reads nothing any more, and its partitions wait a session timeout for who comes back under its
    /// instance name. Without such a name it leaves.
    StepOut {
        /// The group.
        group: GroupId,
        /// Who steps out.
        member: MemberId,
    },
    /// How this broker is doing.
    DescribeBroker,
    /// Every setting of this broker.
    DescribeSettings,
    /// Changes settings of this broker while it runs, for good; none for a value means back to what the start said.
    AlterSettings {
        /// Keys and new values; all are taken, or none.
        settings: Vec<(String, Option<String>)>,
    },
    /// Begins a backup of this broker, which makes it on its own machine while it goes on. Answered at once.
    BeginBackup {
        /// The directory of backups: a path below the one that the broker's settings name.
        dir: String,
        /// It shares nothing with the backups before.
        full: bool,
    },
    /// How the latest backup of this broker is getting on.
    DescribeBackup,
    /// Ends the backup that is being made. What was made of it is removed.
    CancelBackup,
    /// The records of a topic that somebody gave up as lost.
    ListLosses(TopicName),
    /// When a group last committed, partition by partition.
    ListCommits(GroupId),
    /// The segments of a topic, a page at a time.
    ListSegments {
        /// The topic.
        topic: TopicName,
        /// The first that is wanted: of which partition, and from which offset on; none for the topic's first.
        from: Option<(PartitionId, Offset)>,
    },
    /// Remembers how far a group has read, in the order in which the committer numbered its commits. Answered by
    /// [`Response::CommitOffsets`].
    CommitPositions(PositionCommit),
    /// Reads record batches, if the log still has what was read before.
    FetchAfter(FetchAfter),
    /// The positions of a group: in these partitions, or all that it ever committed.
    FetchPositions {
        /// The group.
        group: GroupId,
        /// Which; none means all.
        partitions: Option<Vec<(TopicId, PartitionId)>>,
    },
    /// Decides where a group begins, and answers the positions that it has then, of the partitions named:
    /// [`Response::FetchPositions`].
    StartPositions(StartPositions),
    /// What the broker's groups take of memory, and which were refused more of late.
    DescribeGroupMemory,
}

impl Request {
    /// The [feature](Feature) of brokers that know this request, if not all do.
    pub fn needs(&self) -> Option<&'static str> {
        match self {
            Self::CommitPositions(_) | Self::FetchAfter(_) | Self::FetchPositions { .. } | Self::StartPositions(_) => {
                Some(Feature::POSITION_COMMITS)
            }
            Self::DescribeGroupMemory => Some(Feature::GROUP_MEMORY),
            _ => None,
        }
    }

    /// What to ask a broker that lacks the feature that this request [needs](Self::needs), if anything comes close.
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

    /// Whether an encoded request asks for a list whose length has nothing to do with the request's own. Its first byte
    /// says so: a broker makes room for the answer before it decodes the request.
    pub fn asks_for_list(encoded: &[u8]) -> bool {
        const METADATA: u8 = 1;
        const FETCH_OFFSETS: u8 = 9;
        const LIST_GROUPS: u8 = 10;
        const DESCRIBE_GROUP: u8 = 11;
        const DESCRIBE_TOPICS: u8 = 17;
        const DESCRIBE_BROKER: u8 = 21;
        const DESCRIBE_SETTINGS: u8 = 22;
        const LIST_LOSSES: u8 = 27;
        const LIST_COMMITS: u8 = 28;
        const LIST_SEGMENTS: u8 = 29;
        const FETCH_POSITIONS: u8 = 32;
        const DESCRIBE_GROUP_MEMORY: u8 = 34;
        let kind = encoded.first().copied().unwrap_or_default();
        matches!(
            kind,
            METADATA
                | FETCH_OFFSETS
                | LIST_GROUPS
                | DESCRIBE_GROUP
                | DESCRIBE_TOPICS
                | LIST_LOSSES
                | LIST_COMMITS
                | DESCRIBE_BROKER
                | DESCRIBE_SETTINGS
                | LIST_SEGMENTS
                | FETCH_POSITIONS
                | DESCRIBE_GROUP_MEMORY
        )
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
