//! Reading, and finding out where to read.

use super::Part;
use crate::ids::{LeaderEpoch, Offset, PartitionId, Timestamp, TopicId};
use serde::{Deserialize, Serialize};

/// Reads from some partitions. Answered once `min_bytes` are there, one partition has an error, or `max_wait_ms` are over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    /// The longest wait.
    pub max_wait_ms: u32,
    /// How much is worth an answer, summed over the partitions.
    pub min_bytes: u32,
    /// How much the answer may carry. The first batch is sent even if it alone is larger.
    pub max_bytes: u32,
    /// In order of preference.
    pub partitions: Vec<FetchPartition>,
}

/// Reads from one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchPartition {
    /// Of which topic.
    pub topic: TopicId,
    /// Which partition.
    pub partition: PartitionId,
    /// The first offset wanted. The answer begins with the batch that contains it, so its head may have to be dropped.
    pub offset: Offset,
    /// How much of the answer it may take.
    pub max_bytes: u32,
    /// The leadership that the client knows, to be told if it is over.
    pub leader_epoch: Option<LeaderEpoch>,
}

/// Answers a fetch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchAnswer {
    /// In the order of the request; the batches follow each other in the attachment.
    pub partitions: Vec<Part<FetchedPartition>>,
}

/// What one partition gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchedPartition {
    /// How many bytes of the attachment are its batches: whole ones.
    pub length: u32,
    /// The first offset that is not committed yet.
    pub high_watermark: Offset,
    /// The first offset that the log still holds.
    pub log_start: Offset,
    /// The wanted offset lies in a stretch `start..end` whose bytes are damaged on disk: nothing of it is sent. What
    /// comes after it can be read.
    pub damaged: Option<(Offset, Offset)>,
}

/// Reads like [`Fetch`], and checks first that the log still has what the client read before: so a client whose last
/// records were lost learns of it, instead of passing over the records that take their offsets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchAfter {
    /// The longest wait.
    pub max_wait_ms: u32,
    /// How much is worth an answer, summed over the partitions.
    pub min_bytes: u32,
    /// How much the answer may carry. The first batch is sent even if it alone is larger.
    pub max_bytes: u32,
    /// In order of preference.
    pub partitions: Vec<FetchPosition>,
}

/// Reads from one partition after a record that was read before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchPosition {
    /// What is wanted.
    pub partition: FetchPartition,
    /// The leader epoch of the record before the wanted offset; none if the client does not know it. Nothing is checked then.
    pub last_epoch: Option<LeaderEpoch>,
}

/// Answers [`FetchAfter`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchAfterAnswer {
    /// In the order of the request; the batches follow each other in the attachment.
    pub partitions: Vec<Part<FetchedAfter>>,
}

/// What one partition gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FetchedAfter {
    /// The log has what was read before.
    Records(FetchedPartition),
    /// It has not.
    Diverged(Divergence),
}

/// Where a log stops being the one that a client has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Divergence {
    /// The newest epoch that is not newer than the client's; none if the log has none.
    pub epoch: Option<LeaderEpoch>,
    /// Where it ends: the client read records from here on that are lost.
    pub end: Offset,
}

impl From<Fetch> for FetchAfter {
    fn from(fetch: Fetch) -> Self {
        let Fetch { max_wait_ms, min_bytes, max_bytes, partitions } = fetch;
        let partitions =
            partitions.into_iter().map(|partition| FetchPosition { partition, last_epoch: None }).collect();
        Self { max_wait_ms, min_bytes, max_bytes, partitions }
    }
}

impl FetchAfter {
    /// The same for a broker that checks nothing.
    pub(super) fn for_older_brokers(&self) -> Fetch {
        let Self { max_wait_ms, min_bytes, max_bytes, .. } = *self;
        let partitions = self.partitions.iter().map(|position| position.partition).collect();
        Fetch { max_wait_ms, min_bytes, max_bytes, partitions }
    }
}

impl From<FetchAnswer> for FetchAfterAnswer {
    fn from(answer: FetchAnswer) -> Self {
        Self { partitions: answer.partitions.into_iter().map(|part| part.map(FetchedAfter::Records)).collect() }
    }
}

/// Tells the broker that a batch arrived damaged. It checks its file: either the damage was on the way, or fetches
/// from there answer [`FetchedPartition::damaged`] from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportDamage {
    /// Of which topic.
    pub topic: TopicId,
    /// In which partition.
    pub partition: PartitionId,
    /// The first offset of the doubtful stretch.
    pub start: Offset,
    /// The offset after it.
    pub end: Offset,
}

/// Looks up offsets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListOffsets {
    /// Where.
    pub partitions: Vec<ListOffset>,
}

/// Looks up one offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListOffset {
    /// Of which topic.
    pub topic: TopicId,
    /// In which partition.
    pub partition: PartitionId,
    /// Which offset.
    pub spec: OffsetSpec,
}

/// An offset described by what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OffsetSpec {
    /// The log's start.
    Beginning,
    /// The high watermark.
    End,
    /// The first record that is not earlier than this.
    AtOrAfter(Timestamp),
    /// The record with the largest timestamp.
    Latest,
    /// The first committed record that has this offset or a later one, for its timestamp: that of its batch, the largest in
    /// it.
    FirstFrom(Offset),
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedOffset {
    /// The offset; none if no record matches.
    pub offset: Option<Offset>,
    /// The record's timestamp, where the lookup was for a record.
    pub timestamp: Option<Timestamp>,
}
