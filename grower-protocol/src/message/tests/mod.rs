//! The bytes of every message. A row that changes breaks the protocol with released versions.

mod requests;
mod responses;

use super::*;
use crate::ids::{CommitterId, LeaderEpoch, MemberEpoch, NodeId, Offset, ProducerEpoch, ProducerId, Timestamp};
use crate::wire::{decode, encode};
use std::fmt::Debug;

pub(super) const TOPIC: TopicId = TopicId::from_bytes([7; 16]);
pub(super) const PARTITION: PartitionId = PartitionId::new(2);

pub(super) fn name() -> TopicName {
    TopicName::new("events").unwrap()
}

fn group() -> GroupId {
    GroupId::new("g").unwrap()
}

fn member() -> MemberId {
    MemberId::new("m").unwrap()
}

fn owned() -> Vec<TopicPartitions> {
    vec![TopicPartitions { topic: TOPIC, partitions: vec![PARTITION] }]
}

pub(super) fn refused() -> Failure {
    Failure::new(ErrorCode::DiskFull, "full")
}

/// Returns one line for each message, with its name and bytes, and checks that it decodes to itself.
pub(super) fn rows<T: Serialize + serde::de::DeserializeOwned + Debug + PartialEq>(messages: &[T]) -> String {
    let row = |message: &T| {
        let bytes = encode(message);
        assert_eq!(decode::<T>(&bytes).unwrap(), *message);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let debug = format!("{message:?}");
        let name = debug.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned();
        format!("{name} {hex}")
    };
    messages.iter().map(row).collect::<Vec<_>>().join("\n")
}

/// The rows of requests. Each must also be of the kind that its first byte and its name say.
pub(super) fn request_rows(requests: &[Request]) -> String {
    for request in requests {
        assert_eq!(RequestKind::of_encoded(&encode(request)), Some(request.kind()));
        assert!(format!("{request:?}").starts_with(request.kind().name));
    }
    rows(requests)
}
