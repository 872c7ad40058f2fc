//! Records of the groups' internal topic.

use super::input_reader::{InputReader, encode_chunks};
use crate::Target;
use bytes::Bytes;
use grower_broker::group::state::{
    CatalogTopic, GroupLimits, GroupRecord, ShardLoader, StoredGroup, StoredMember, StoredOffset, TopicIdPartition,
};
use grower_protocol::batch::RecordView;
use grower_protocol::ids::{GroupId, MemberEpoch, MemberId, Offset, PartitionId, Timestamp, TopicId, TopicName};
use grower_protocol::message::TopicPartitions;
use grower_protocol::wire::encode;
use std::collections::BTreeMap;

pub(super) const GROUP_RECORDS: Target = Target {
    name: "group-records",
    about: "records of the groups' topic: valid ones are written the same, and a coordinator continues from them",
    run,
    seeds,
    allocates: 32 << 20,
};

const TOPIC: TopicId = TopicId::from_bytes([7; 16]);

fn run(input: &[u8]) {
    let mut input = InputReader(input);
    let mut loader = ShardLoader::default();
    while !input.is_empty() {
        let gone = input.byte() != 0;
        let (key, value) = (input.chunk(), input.chunk());
        let Ok(record) = GroupRecord::from_record(&view(key, (!gone).then_some(value))) else { continue };
        let written = record.to_record(Timestamp::from_millis(1));
        let again = view(written.key.as_deref().unwrap_or_default(), written.value.as_deref());
        assert_eq!(GroupRecord::from_record(&again).ok().as_ref(), Some(&record));
        loader.push(record);
    }
    let mut shard = loader.finish(Timestamp::from_millis(1_000), GroupLimits::default());
    let catalog = BTreeMap::from([(name(), CatalogTopic { topic: TOPIC, partitions: 3 })]);
    for (group, _) in shard.list() {
        shard.describe(&group, Timestamp::MAX).expect("what is listed can be described");
    }
    for group in shard.affected_by_topics(&catalog) {
        let _ = shard.topics_changed(&group, &catalog).settle(&mut shard, |_| Ok::<_, ()>(()));
    }
    for group in shard.due(Timestamp::MAX) {
        let _ = shard.expire(&group, Timestamp::MAX).settle(&mut shard, |_| Ok::<_, ()>(()));
    }
    assert!(shard.repeat_minimum_epoch().records().len() <= 1);
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

fn seeds() -> Vec<Vec<u8>> {
    vec![first_versions(), newest_versions()]
}

/// A group with a member, an offset and the minimum epoch, in the first version of each record.
fn first_versions() -> Vec<u8> {
    let (group, member, partitions) = ("g", "m", vec![PartitionId::new(1)]);
    let timeouts = (10_000u32, 10_000u32);
    let state = (0u32, 3u32, "range");
    let joined_at = (1u64, MemberEpoch::new(3), Some(MemberEpoch::new(2)));
    let owned = (vec!["events"], vec![(TOPIC, partitions)]);
    let records = [
        [encode(&(0u32, group)), encode(&state)],
        [encode(&(1u32, group, member)), encode(&(0u32, joined_at, owned, timeouts, Some("i")))],
        [encode(&(2u32, group, TOPIC, PartitionId::new(1))), encode(&(0u32, Offset::new(5), "x"))],
        [encode(&3u32), encode(&(0u32, 2u32))],
    ];
    records.iter().flat_map(one).collect()
}

/// The same in the present versions, with a detached static member.
fn newest_versions() -> Vec<u8> {
    let group = GroupId::new("g").expect("a sound name");
    let granted = vec![TopicPartitions { topic: TOPIC, partitions: vec![PartitionId::new(1)] }];
    let member = StoredMember {
        join_order: 1,
        epoch: MemberEpoch::new(3),
        previous: Some(MemberEpoch::new(2)),
        topics: vec![name()],
        granted,
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        instance: Some("i".to_owned()),
        since: vec![Timestamp::from_millis(1)],
        detached: true,
    };
    let partition = TopicIdPartition { topic: TOPIC, partition: PartitionId::new(1) };
    let records = [
        GroupRecord::Group {
            group: group.clone(),
            state: Some(StoredGroup { epoch: 3, assignor: "range".to_owned() }),
        },
        GroupRecord::Member {
            group: group.clone(),
            member: MemberId::new("m").expect("a sound name"),
            state: Some(member),
        },
        GroupRecord::Offset {
            group,
            partition,
            state: Some(StoredOffset { offset: Offset::new(5), leader_epoch: None, metadata: "x".to_owned() }),
        },
        GroupRecord::MinimumEpoch { epoch: 2 },
    ];
    let written = records.map(|record| record.to_record(Timestamp::from_millis(1)));
    written
        .iter()
        .flat_map(|record| one(&[record.key.as_deref(), record.value.as_deref()].map(Option::unwrap_or_default)))
        .collect()
}

/// Encodes a record that has a value.
fn one<T: AsRef<[u8]>>(key_and_value: &[T; 2]) -> Vec<u8> {
    [&[0][..], &encode_chunks(key_and_value)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A new kind does not compile until it has a number here; then the seeds need one, too.
    fn kind(record: &GroupRecord) -> usize {
        match record {
            GroupRecord::Group { .. } => 0,
            GroupRecord::Member { .. } => 1,
            GroupRecord::Offset { .. } => 2,
            GroupRecord::MinimumEpoch { .. } => 3,
        }
    }

    #[test]
    fn each_seed_is_one_record_of_each_kind() {
        for seed in seeds() {
            let mut input = InputReader(&seed);
            for wanted in 0..4 {
                input.byte();
                let (key, value) = (input.chunk(), input.chunk());
                let record = GroupRecord::from_record(&view(key, Some(value))).unwrap();
                assert_eq!(kind(&record), wanted, "{record:?}");
            }
            assert!(input.is_empty());
        }
        let written_again = |seed: &[u8]| {
            let mut input = InputReader(seed);
            let mut again = Vec::new();
            while !input.is_empty() {
                input.byte();
                let record = GroupRecord::from_record(&view(input.chunk(), Some(input.chunk()))).unwrap();
                let record = record.to_record(Timestamp::from_millis(1));
                again.extend(one(&[record.key.unwrap(), record.value.unwrap()]));
            }
            again
        };
        assert_eq!(written_again(&newest_versions()), newest_versions());
        assert_ne!(written_again(&first_versions()), first_versions(), "a member is written in the present version");
    }
}
