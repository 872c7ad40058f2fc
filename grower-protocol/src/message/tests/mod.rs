//! The bytes of every message. A row that changes breaks the protocol with released versions.

mod requests;
mod responses;

use super::*;
use crate::ids::{
    CommitterId, LeaderEpoch, MemberEpoch, NodeId, Offset, ProducerEpoch, ProducerHolder, ProducerId, Sequence,
    Timestamp,
};
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

const IDENTITY: ProducerIdentity = ProducerIdentity { id: ProducerId::new(9), epoch: ProducerEpoch::new(1) };

fn producer() -> ProducerName {
    ProducerName::new("p").unwrap()
}

fn named_producer() -> NamedProducerDescription {
    NamedProducerDescription { name: producer(), identity: IDENTITY, claimed: Timestamp::from_millis(5) }
}

fn last_written() -> LastWritten {
    LastWritten { producer: IDENTITY, sequence: Sequence::ZERO.wrapping_add(300), offset: Offset::new(301) }
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

#[test]
fn the_bytes_of_every_kind_of_request_are_pinned() {
    let pinned = [
        include_str!("../admin.rs"),
        include_str!("../backup.rs"),
        include_str!("../broker.rs"),
        include_str!("requests.rs"),
    ];
    let is_pinned = |kind: &RequestKind| {
        let row = format!("{} {:02x}", kind.name, kind.number);
        pinned.iter().flat_map(|file| file.lines()).any(|line| line.trim().starts_with(&row))
    };
    let missing: Vec<_> = RequestKind::ALL.iter().filter(|kind| !is_pinned(kind)).map(|kind| kind.name).collect();
    assert!(missing.is_empty(), "no snapshot has the bytes of {missing:?}");
}
