//! Creating, changing and describing topics.

use crate::ids::{LeaderEpoch, NodeId, Offset, PartitionId, Timestamp, TopicId, TopicName};
use serde::{Deserialize, Serialize};

/// Keys and values of a topic's configs, in the text form of config files.
pub type TopicConfigs = Vec<(String, String)>;

/// A topic to create.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewTopic {
    /// The topic's name.
    pub name: TopicName,
    /// The number of partitions; none takes the default, 1.
    pub partitions: Option<u32>,
    /// The number of replicas of each partition; none takes the default, the smaller of 3 and the number of brokers.
    pub replication_factor: Option<u32>,
    /// The configs that differ from their defaults.
    pub configs: TopicConfigs,
}

/// The origin of a config's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConfigSource {
    /// The value is the default.
    Default,
    /// The value was set for the topic.
    Topic,
}

/// One config of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigEntry {
    /// The dotted key.
    pub key: String,
    /// The value in its text form.
    pub value: String,
    /// The origin of the value.
    pub source: ConfigSource,
}

/// Describes a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicDescription {
    /// The topic's name.
    pub name: TopicName,
    /// The topic's id.
    pub id: TopicId,
    /// The number of replicas of each partition.
    pub replication_factor: u32,
    /// Every config, sorted by key.
    pub configs: Vec<ConfigEntry>,
    /// The partitions in order, from 0.
    pub partitions: Vec<PartitionDescription>,
}

/// Describes a partition. `log_start <= high_watermark <= log_end`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionDescription {
    /// The partition.
    pub partition: PartitionId,
    /// The broker that leads the partition.
    pub leader: Option<NodeId>,
    /// The current leader epoch.
    pub leader_epoch: LeaderEpoch,
    /// The brokers that store the partition.
    pub replicas: Vec<NodeId>,
    /// The replicas that are in sync.
    pub in_sync: Vec<NodeId>,
    /// The first offset that the log still holds.
    pub log_start: Offset,
    /// The first offset that is not committed yet.
    pub high_watermark: Offset,
    /// The offset of the next record to append.
    pub log_end: Offset,
    /// Disk space of its segments and indexes in bytes.
    pub bytes: u64,
    /// The ranges `start..end` of offsets with damaged bytes on disk.
    pub damaged: Vec<(Offset, Offset)>,
    /// The segments, oldest first; empty unless requested.
    pub segments: Vec<SegmentDescription>,
}

/// Describes a segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentDescription {
    /// The name of the log file.
    pub log_file: String,
    /// The name of the index file.
    pub index_file: String,
    /// The offset of the first record.
    pub base_offset: Offset,
    /// The offset after the last record.
    pub end_offset: Offset,
    /// The length of the batches in bytes.
    pub log_bytes: u64,
    /// The length of the index in bytes.
    pub index_bytes: u64,
    /// The largest timestamp of the records.
    pub max_timestamp: Option<Timestamp>,
}

/// Damaged records whose loss an operator accepted. Their offsets stay assigned, and readers skip them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedLossDescription {
    /// The partition.
    pub partition: PartitionId,
    /// The offset of the first lost record.
    pub start: Offset,
    /// The offset after the last lost record.
    pub end: Offset,
    /// The time of that decision.
    pub at: Timestamp,
    /// The author of that decision.
    pub by: String,
    /// The damage that was found.
    pub reason: String,
    /// The file with their bytes, under `cut/` in the broker's data directory; empty if there were none.
    pub kept: String,
    /// The length of that file in bytes.
    pub bytes: u64,
}

/// One page of a topic's segments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentPage {
    /// The segments with their partitions, in order.
    pub segments: Vec<(PartitionId, SegmentDescription)>,
    /// The first segment of the next page; none if this page is the last.
    pub next: Option<(PartitionId, Offset)>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::tests::{PARTITION, TOPIC, name, request_rows, rows};
    use crate::message::{Request, Response};

    #[test]
    fn messages_about_topics_keep_their_bytes() {
        let topic = NewTopic {
            name: name(),
            partitions: Some(3),
            replication_factor: None,
            configs: vec![("flush".to_owned(), "os".to_owned())],
        };
        let requests = [
            Request::CreateTopics { topics: vec![topic] },
            Request::DeleteTopic(name()),
            Request::GrowTopic { topic: name(), partitions: 4 },
            Request::AlterTopic { topic: name(), configs: vec![("flush".to_owned(), None)] },
            Request::DescribeTopics { topics: None, segments: true },
            Request::TrimTopic { topic: name(), before: vec![(PARTITION, Offset::new(300))] },
            Request::ListLosses(name()),
            Request::ListSegments { topic: name(), from: Some((PARTITION, Offset::new(300))) },
        ];
        insta::assert_snapshot!(request_rows(&requests), @"
        CreateTopics 0d01066576656e74730103000105666c757368026f73
        DeleteTopic 0e066576656e7473
        GrowTopic 0f066576656e747304
        AlterTopic 10066576656e74730105666c75736800
        DescribeTopics 110001
        TrimTopic 13066576656e74730102fb2c01
        ListLosses 1b066576656e7473
        ListSegments 1d066576656e74730102fb2c01
        ");
        let responses = [
            Response::CreateTopics(vec![Ok(TOPIC)]),
            Response::DescribeTopics(vec![Ok(description())]),
            Response::ListLosses(vec![AcceptedLossDescription {
                partition: PARTITION,
                start: Offset::new(1),
                end: Offset::new(300),
                at: Timestamp::from_millis(1),
                by: "b".to_owned(),
                reason: "w".to_owned(),
                kept: "k".to_owned(),
                bytes: 4,
            }]),
            Response::ListSegments(SegmentPage { segments: Vec::new(), next: Some((PARTITION, Offset::new(300))) }),
        ];
        insta::assert_snapshot!(rows(&responses), @"
        CreateTopics 0c010007070707070707070707070707070707
        DescribeTopics 0d0100066576656e747307070707070707070707070707070707010105666c757368026f730101020004010100000203fb4c0101000101016c01690003fb2c01200102
        ListLosses 12010201fb2c010201620177016b04
        ListSegments 14000102fb2c01
        ");
    }

    fn description() -> TopicDescription {
        let segment = SegmentDescription {
            log_file: "l".to_owned(),
            index_file: "i".to_owned(),
            base_offset: Offset::ZERO,
            end_offset: Offset::new(3),
            log_bytes: 300,
            index_bytes: 32,
            max_timestamp: Some(Timestamp::from_millis(1)),
        };
        let partition = PartitionDescription {
            partition: PARTITION,
            leader: None,
            leader_epoch: LeaderEpoch::new(4),
            replicas: vec![NodeId::new(1)],
            in_sync: Vec::new(),
            log_start: Offset::ZERO,
            high_watermark: Offset::new(2),
            log_end: Offset::new(3),
            bytes: 332,
            damaged: vec![(Offset::ZERO, Offset::new(1))],
            segments: vec![segment],
        };
        TopicDescription {
            name: name(),
            id: TOPIC,
            replication_factor: 1,
            configs: vec![ConfigEntry { key: "flush".to_owned(), value: "os".to_owned(), source: ConfigSource::Topic }],
            partitions: vec![partition],
        }
    }
}
