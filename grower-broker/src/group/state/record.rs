//! How groups are written down: keys and values in the internal topic.
//!
//! A key says what a record is about, and the newest record of a key counts; one without a value says that the thing is gone.
//! Both are positional and versioned: a released variant never changes, a change is a new one at the end.

use super::PartitionKey;
use bytes::Bytes;
use grower_protocol::batch::{Record, RecordView};
use grower_protocol::ids::{
    GroupId, LeaderEpoch, MemberEpoch, MemberId, Offset, PartitionId, Timestamp, TopicId, TopicName,
};
use grower_protocol::message::TopicPartitions;
use grower_protocol::wire::{self, DecodeError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// One fact about a group; `None` for a state says that it is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupRecord {
    /// A group is there.
    Group {
        /// Which.
        group: GroupId,
        /// What must not be forgotten of it.
        state: Option<StoredGroup>,
    },
    /// A group has a member.
    Member {
        /// The group.
        group: GroupId,
        /// The member.
        member: MemberId,
        /// What it was told and may be reading.
        state: Option<StoredMember>,
    },
    /// A group has read so far.
    Offset {
        /// The group.
        group: GroupId,
        /// The partition.
        partition: PartitionKey,
        /// How far.
        state: Option<StoredOffset>,
    },
    /// Epochs of groups that are gone reached this: a group that is made again starts above.
    MinimumEpoch {
        /// The epoch.
        epoch: u32,
    },
}

/// What must not be forgotten of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredGroup {
    /// The newest epoch that anybody was told.
    pub epoch: u32,
    /// How partitions are assigned.
    pub assignor: String,
}

/// What must not be forgotten of a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredMember {
    /// Its place in the order of joining.
    pub join_order: u64,
    /// As last answered.
    pub epoch: MemberEpoch,
    /// The one before, if its answer may be the last that reached the member.
    pub previous: Option<MemberEpoch>,
    /// What it subscribes to.
    pub topics: Vec<TopicName>,
    /// What it may be reading.
    pub granted: Vec<TopicPartitions>,
    /// As sent.
    pub session_timeout_ms: u32,
    /// As sent.
    pub rebalance_timeout_ms: u32,
    /// Its static name.
    pub instance: Option<String>,
    /// Since when it has each partition of `granted`, in that order.
    pub since: Vec<Timestamp>,
    /// It stepped out.
    pub detached: bool,
}

/// A committed offset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredOffset {
    /// The next offset to read.
    pub offset: Offset,
    /// The leader epoch of the record before it; none if there was none, or an earlier version wrote this.
    pub leader_epoch: Option<LeaderEpoch>,
    /// As committed.
    pub metadata: String,
}

#[derive(Serialize, Deserialize)]
enum RecordKey {
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

/// [`StoredMember`] before it said since when.
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

/// Why a record of the internal topic cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum GroupRecordError {
    /// It has no key.
    #[error("a record at offset {offset} of the groups' topic has no key")]
    NoKey {
        /// Where.
        offset: Offset,
    },
    /// Damaged, or written by a newer version.
    #[error(
        "the record at offset {offset} of the groups' topic cannot be read, it may be of a newer version: {source}"
    )]
    Unreadable {
        /// Where.
        offset: Offset,
        /// What is wrong with it.
        source: DecodeError,
    },
}

impl GroupRecord {
    /// The record as it is appended.
    pub fn to_record(&self, at: Timestamp) -> Record {
        let (key, value) = match self.clone() {
            Self::Group { group, state } => {
                (RecordKey::Group(group), state.map(|state| wire::encode(&GroupValue::V1(state))))
            }
            Self::Member { group, member, state } => {
                (RecordKey::Member(group, member), state.map(|state| wire::encode(&MemberValue::V2(state))))
            }
            Self::Offset { group, partition, state } => {
                let key = RecordKey::Offset(group, partition.topic, partition.partition);
                (key, state.map(|state| wire::encode(&OffsetValue::V2(state))))
            }
            Self::MinimumEpoch { epoch } => {
                (RecordKey::MinimumEpoch, Some(wire::encode(&MinimumEpochValue::V1(epoch))))
            }
        };
        let key = Some(Bytes::from(wire::encode(&key)));
        Record { timestamp: at, key, value: value.map(Bytes::from), headers: Vec::new() }
    }

    /// The group it is about, and whether it is about more than its offsets.
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
        Self::decode(key, record.value.as_deref(), record.timestamp)
            .map_err(|source| GroupRecordError::Unreadable { offset, source })
    }

    fn decode(key: &[u8], value: Option<&[u8]>, written: Timestamp) -> Result<Self, DecodeError> {
        Ok(match wire::decode(key)? {
            RecordKey::Group(group) => {
                let state = read(value)?.map(|GroupValue::V1(state)| state);
                Self::Group { group, state }
            }
            RecordKey::Member(group, member) => {
                let state = read(value)?.map(|value: MemberValue| value.newest(written));
                Self::Member { group, member, state }
            }
            RecordKey::Offset(group, topic, partition) => {
                let state = read(value)?.map(OffsetValue::newest);
                Self::Offset { group, partition: PartitionKey { topic, partition }, state }
            }
            RecordKey::MinimumEpoch => {
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
    /// A first version says nothing about when: it had what it had at the latest when that was written.
    fn newest(self, written: Timestamp) -> StoredMember {
        match self {
            Self::V2(state) => state,
            Self::V1(old) => StoredMember {
                since: old.granted.iter().flat_map(|of| &of.partitions).map(|_| written).collect(),
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
