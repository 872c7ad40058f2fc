//! Records of the internal topic: their keys and values.
//!
//! A key names a group, member or offset. Its newest record counts, and one without a value is a tombstone. Keys and
//! values are positional and versioned: a released variant never changes, a change is a new variant at the end.

use super::TopicIdPartition;
use bytes::Bytes;
use grower_protocol::batch::{Record, RecordView};
use grower_protocol::ids::{
    GroupId, LeaderEpoch, MemberEpoch, MemberId, Offset, PartitionId, Timestamp, TopicId, TopicName,
};
use grower_protocol::message::TopicPartitions;
use grower_protocol::wire::{self, DecodeError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// One fact about a group. A state of `None` is a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupRecord {
    /// A group.
    Group {
        /// Its id.
        group: GroupId,
        /// Its durable state.
        state: Option<StoredGroup>,
    },
    /// A member of a group.
    Member {
        /// The group.
        group: GroupId,
        /// The member.
        member: MemberId,
        /// Its durable state.
        state: Option<StoredMember>,
    },
    /// A committed offset of a group.
    Offset {
        /// The group.
        group: GroupId,
        /// The partition.
        partition: TopicIdPartition,
        /// The offset.
        state: Option<StoredOffset>,
    },
    /// The largest epoch of deleted groups: a group that is created later starts above it.
    MinimumEpoch {
        /// The epoch.
        epoch: u32,
    },
}

/// The durable state of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredGroup {
    /// The newest epoch in any answer.
    pub epoch: u32,
    /// The name of its assignor.
    pub assignor: String,
}

/// The durable state of a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredMember {
    /// Its position in the order of joining.
    pub join_order: u64,
    /// The epoch of its newest answer.
    pub epoch: MemberEpoch,
    /// The epoch before, if its answer may be the last that reached the member.
    pub previous: Option<MemberEpoch>,
    /// Its subscribed topics.
    pub topics: Vec<TopicName>,
    /// Partitions that it may be reading.
    pub granted: Vec<TopicPartitions>,
    /// As sent by the member.
    pub session_timeout_ms: u32,
    /// As sent.
    pub rebalance_timeout_ms: u32,
    /// Its instance name, if it is a static member.
    pub instance: Option<String>,
    /// The time when each partition of `granted` was granted, in that order.
    pub since: Vec<Timestamp>,
    /// Whether it is detached.
    pub detached: bool,
}

/// A committed offset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredOffset {
    /// The next offset to read.
    pub offset: Offset,
    /// The leader epoch of the record before it. None if there was none, or an earlier version wrote this.
    pub leader_epoch: Option<LeaderEpoch>,
    /// The metadata text of the commit.
    pub metadata: String,
}

#[derive(Serialize, Deserialize)]
enum GroupRecordKey {
    Group(GroupId),
    Member(GroupId, MemberId),
    Offset(GroupId, TopicId, PartitionId),
    MinimumEpoch,
}

#[derive(Serialize, Deserialize)]
enum GroupValue {
    V1(StoredGroup),
}

#[derive(Serialize, Deserialize)]
enum MemberValue {
    V1(StoredMemberV1),
    V2(StoredMember),
}

/// [`StoredMember`] before it had `since` and `detached`.
#[derive(Serialize, Deserialize)]
struct StoredMemberV1 {
    join_order: u64,
    epoch: MemberEpoch,
    previous: Option<MemberEpoch>,
    topics: Vec<TopicName>,
    granted: Vec<TopicPartitions>,
    session_timeout_ms: u32,
    rebalance_timeout_ms: u32,
    instance: Option<String>,
}

#[derive(Serialize, Deserialize)]
enum OffsetValue {
    V1(StoredOffsetV1),
    V2(StoredOffset),
}

/// [`StoredOffset`] before it had a leader epoch.
#[derive(Serialize, Deserialize)]
struct StoredOffsetV1 {
    offset: Offset,
    metadata: String,
}

#[derive(Serialize, Deserialize)]
enum MinimumEpochValue {
    V1(u32),
}

/// The reason why a record of the internal topic cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum GroupRecordError {
    /// The record has no key.
    #[error("the record at offset {offset} of the groups' topic has no key")]
    NoKey {
        /// The record's offset.
        offset: Offset,
    },
    /// The record is damaged, or a newer version wrote it.
    #[error(
        "the record at offset {offset} of the groups' topic cannot be read (a newer version may have written it): {source}"
    )]
    Unreadable {
        /// Where.
        offset: Offset,
        /// The decoding error.
        source: DecodeError,
    },
    /// The record is damaged: its epoch is beyond those that groups reach.
    #[error("the record at offset {offset} of the groups' topic has the impossible epoch {epoch}")]
    Epoch {
        /// The record's offset.
        offset: Offset,
        /// The epoch.
        epoch: u32,
    },
}

/// The largest epoch in a record: a hundred changes a second take more than a year to get there. A forged record leaves
/// room for the epochs after it.
const EPOCH_MAX: u32 = u32::MAX - (1 << 24);

impl GroupRecord {
    /// The record to append.
    pub fn to_record(&self, at: Timestamp) -> Record {
        let (key, value) = match self.clone() {
            Self::Group { group, state } => {
                (GroupRecordKey::Group(group), state.map(|state| wire::encode(&GroupValue::V1(state))))
            }
            Self::Member { group, member, state } => {
                (GroupRecordKey::Member(group, member), state.map(|state| wire::encode(&MemberValue::V2(state))))
            }
            Self::Offset { group, partition, state } => {
                let key = GroupRecordKey::Offset(group, partition.topic, partition.partition);
                (key, state.map(|state| wire::encode(&OffsetValue::V2(state))))
            }
            Self::MinimumEpoch { epoch } => {
                (GroupRecordKey::MinimumEpoch, Some(wire::encode(&MinimumEpochValue::V1(epoch))))
            }
        };
        let key = Some(Bytes::from(wire::encode(&key)));
        Record { timestamp: at, key, value: value.map(Bytes::from), headers: Vec::new() }
    }

    /// The group of the record, and whether the record concerns more than offsets.
    pub(super) fn concerns(&self) -> Option<(&GroupId, bool)> {
        match self {
            Self::Group { group, .. } | Self::Member { group, .. } => Some((group, true)),
            Self::Offset { group, .. } => Some((group, false)),
            Self::MinimumEpoch { .. } => None,
        }
    }

    /// Reads a record of the internal topic.
    pub fn from_record(record: &RecordView) -> Result<Self, GroupRecordError> {
        let offset = record.offset;
        let key = record.key.as_deref().ok_or(GroupRecordError::NoKey { offset })?;
        let decoded = Self::decode(key, record.value.as_deref(), record.timestamp)
            .map_err(|source| GroupRecordError::Unreadable { offset, source })?;
        match decoded.epoch() {
            epoch if EPOCH_MAX < epoch => Err(GroupRecordError::Epoch { offset, epoch }),
            _ => Ok(decoded),
        }
    }

    /// The largest epoch in the record; 0 if it has none.
    fn epoch(&self) -> u32 {
        match self {
            Self::Group { state: Some(state), .. } => state.epoch,
            Self::Member { state: Some(state), .. } => {
                state.previous.map_or(state.epoch, |p| p.max(state.epoch)).value()
            }
            Self::MinimumEpoch { epoch } => *epoch,
            Self::Group { state: None, .. } | Self::Member { state: None, .. } | Self::Offset { .. } => 0,
        }
    }

    fn decode(key: &[u8], value: Option<&[u8]>, appended: Timestamp) -> Result<Self, DecodeError> {
        Ok(match wire::decode(key)? {
            GroupRecordKey::Group(group) => {
                let state = read(value)?.map(|GroupValue::V1(state)| state);
                Self::Group { group, state }
            }
            GroupRecordKey::Member(group, member) => {
                let state = read(value)?.map(|value: MemberValue| value.newest(appended));
                Self::Member { group, member, state }
            }
            GroupRecordKey::Offset(group, topic, partition) => {
                let state = read(value)?.map(OffsetValue::newest);
                Self::Offset { group, partition: TopicIdPartition { topic, partition }, state }
            }
            GroupRecordKey::MinimumEpoch => {
                let epoch = read(value)?.map_or(0, |MinimumEpochValue::V1(epoch)| epoch);
                Self::MinimumEpoch { epoch }
            }
        })
    }
}

impl OffsetValue {
    fn newest(self) -> StoredOffset {
        match self {
            Self::V2(state) => state,
            Self::V1(StoredOffsetV1 { offset, metadata }) => StoredOffset { offset, leader_epoch: None, metadata },
        }
    }
}

impl MemberValue {
    /// The first version has no grant times: the time of the record is the latest possible one.
    fn newest(self, appended: Timestamp) -> StoredMember {
        match self {
            Self::V2(state) => state,
            Self::V1(old) => StoredMember {
                since: old.granted.iter().flat_map(|of| &of.partitions).map(|_| appended).collect(),
                join_order: old.join_order,
                epoch: old.epoch,
                previous: old.previous,
                topics: old.topics,
                granted: old.granted,
                session_timeout_ms: old.session_timeout_ms,
                rebalance_timeout_ms: old.rebalance_timeout_ms,
                instance: old.instance,
                detached: false,
            },
        }
    }
}

fn read<T: DeserializeOwned>(value: Option<&[u8]>) -> Result<Option<T>, DecodeError> {
    value.map(wire::decode).transpose()
}
