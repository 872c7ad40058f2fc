//! Reading records, and looking up offsets.

use super::Part;
use crate::ids::{LeaderEpoch, Offset, PartitionId, Timestamp, TopicId};
use serde::{Deserialize, Serialize};

/// Reads from partitions. The broker answers once `min_bytes` are available, a partition has an error, or `max_wait_ms`
/// have passed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    /// The longest time to wait for `min_bytes`.
    pub max_wait_ms: u32,
    /// The number of bytes, summed over the partitions, to answer at once.
    pub min_bytes: u32,
    /// The most bytes of batches in the answer. The first batch is sent even if it is larger.
    pub max_bytes: u32,
    /// The partitions, in order of preference.
    pub partitions: Vec<FetchPartition>,
}

/// Reads from one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchPartition {
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: PartitionId,
    /// The first offset to read. The answer begins with the batch that contains it; the client skips earlier records of
    /// it.
    pub offset: Offset,
    /// The most bytes of batches from this partition.
    pub max_bytes: u32,
    /// The leader epoch that the client knows. The broker refuses an older or unknown one.
    pub leader_epoch: Option<LeaderEpoch>,
    /// The leader epoch of the record before `offset`, if the client has read it. The broker then checks that the log
    /// still has that record: otherwise other records may have taken its offset, and the client would skip them.
    pub last_epoch: Option<LeaderEpoch>,
}

/// Answers [`Fetch`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchAnswer {
    /// The partitions in the order of the request. The attachment holds their batches in the same order.
    pub partitions: Vec<Part<FetchedPartition>>,
}

/// The result for one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FetchedPartition {
    /// The records, if the log still has the record before them or no check was requested.
    Records(FetchedRecords),
    /// The log has lost the record before the requested offset.
    Diverged(Divergence),
}

/// The records of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchedRecords {
    /// The length in bytes of the batches in the attachment. All of them are whole.
    pub length: u32,
    /// The first offset that is not committed yet.
    pub high_watermark: Offset,
    /// The first offset that the log still holds.
    pub log_start: Offset,
    /// The range `start..end` around the requested offset with damaged bytes on disk. No record of it is sent; a fetch
    /// from `end` may succeed.
    pub damaged: Option<(Offset, Offset)>,
}

/// The point from which a log differs from the one that the client has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Divergence {
    /// The newest epoch of the log that is not newer than the client's, if any.
    pub epoch: Option<LeaderEpoch>,
    /// The end of that epoch. The records that the client read from this offset on are lost.
    pub end: Offset,
}

/// Reports that a batch arrived damaged. The broker checks its file. If the file is damaged too, later fetches of these
/// offsets return [`FetchedRecords::damaged`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportDamage {
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: PartitionId,
    /// The first offset of the damaged batch.
    pub start: Offset,
    /// The offset after the damaged batch.
    pub end: Offset,
}

/// Looks up one offset in each of some partitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListOffsets {
    /// The lookups, one for each partition.
    pub partitions: Vec<ListOffset>,
}

/// Looks up one offset in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListOffset {
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: PartitionId,
    /// The offset to find.
    pub spec: OffsetSpec,
}

/// Describes the offset to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OffsetSpec {
    /// The log start offset.
    Beginning,
    /// The high watermark.
    End,
    /// The first record with this timestamp or a later one.
    AtOrAfter(Timestamp),
    /// The record with the largest timestamp.
    Latest,
    /// The first committed record with this offset or a later one. The timestamp in the answer is the largest of its
    /// batch.
    FirstFrom(Offset),
}

/// The result of a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedOffset {
    /// The offset found; none if no record matches.
    pub offset: Option<Offset>,
    /// The timestamp of the record found; none for a lookup of the beginning or the end.
    pub timestamp: Option<Timestamp>,
}
