//! What consumer groups remember in their internal topic.

use super::pieces::{Pieces, joined};
use crate::Target;
use bytes::Bytes;
use grower_broker::group::{
    GroupLimits, GroupRecord, GroupState, MemberState, OffsetState, ShardLoader, Slot, Subscribed,
};
use grower_protocol::batch::RecordView;
use grower_protocol::ids::{GroupId, MemberEpoch, MemberId, Offset, PartitionId, Timestamp, TopicId, TopicName};
use grower_protocol::message::{Heartbeat, TopicPartitions};
use std::collections::BTreeMap;

pub(super) const GROUP_RECORDS: Target = Target {
    name: "group-records",
    about: "records of the groups' topic: what is understood is written the same, and a coordinator goes on from it",
    run,
    seeds,
    allocates: 32 << 20,
};

const TOPIC: TopicId = TopicId::from_bytes([7; 16]);

fn run(input: &[u8]) {
    let mut pieces = Pieces(input);
    let mut loader = ShardLoader::default();
    while !pieces.is_empty() {
        let gone = pieces.byte() != 0;
        let (key, value) = (pieces.piece(), pieces.piece());
        let Ok(record) = GroupRecord::from_record(&view(key, (!gone).then_some(value))) else { continue };
        let written = record.to_record(Timestamp::from_millis(1));
        let again = view(written.key.as_deref().unwrap_or_default(), written.value.as_deref());
        assert_eq!(GroupRecord::from_record(&again).ok().as_ref(), Some(&record));
        loader.push(record);
    }
    let mut shard = loader.finish(Timestamp::from_millis(1_000), GroupLimits::default());
    let catalog = BTreeMap::from([(name(), Subscribed { topic: TOPIC, partitions: 3 })]);
    let step = shard.heartbeat(&heartbeat(), Timestamp::from_millis(2_000), &catalog);
    let _ = step.settle(&mut shard, |_| Ok::<_, ()>(()));
    let _ = shard.topics_changed(&catalog).settle(&mut shard, |_| Ok::<_, ()>(()));
    let _ = shard.expire(Timestamp::MAX).settle(&mut shard, |_| Ok::<_, ()>(()));
    assert_eq!(shard.snapshot().len(), shard.facts());
}

fn view(key: &[u8], value: Option<&[u8]>) -> RecordView {
    RecordView {
        offset: Offset::ZERO,
        timestamp: Timestamp::from_millis(1),
        key: Some(Bytes::copy_from_slice(key)),
        value: value.map(Bytes::copy_from_slice),
        headers: Vec::new(),
    }
}

fn name() -> TopicName {
    TopicName::new("events").expect("a sound name")
}

fn group() -> GroupId {
    GroupId::new("g").expect("a sound id")
}

fn heartbeat() -> Heartbeat {
    Heartbeat {
        group: group(),
        member: MemberId::new("new").expect("a sound id"),
        epoch: MemberEpoch::new(0),
        topics: vec![name()],
        owned: Vec::new(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        assignor: None,
        instance: None,
    }
}

/// A group with a member, an offset and the floor of epochs.
fn seeds() -> Vec<Vec<u8>> {
    let partition = PartitionId::new(1);
    let member = MemberState {
        seat: 1,
        epoch: MemberEpoch::new(3),
        previous: Some(MemberEpoch::new(2)),
        topics: vec![name()],
        granted: vec![TopicPartitions { topic: TOPIC, partitions: vec![partition] }],
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        instance: Some("i".to_owned()),
    };
    let records = [
        GroupRecord::Group { group: group(), state: Some(GroupState { epoch: 3, assignor: "range".to_owned() }) },
        GroupRecord::Member { group: group(), member: MemberId::new("m").expect("a sound id"), state: Some(member) },
        GroupRecord::Offset {
            group: group(),
            slot: Slot { topic: TOPIC, partition },
            state: Some(OffsetState { offset: Offset::new(5), metadata: "x".to_owned() }),
        },
        GroupRecord::Floor { epoch: 2 },
    ];
    let one = |record: &GroupRecord| {
        let record = record.to_record(Timestamp::from_millis(1));
        let pair = [record.key.unwrap_or_default(), record.value.unwrap_or_default()];
        [&[0][..], &joined(&pair)].concat()
    };
    vec![records.iter().flat_map(one).collect()]
}
