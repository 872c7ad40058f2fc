//! What consumer groups remember in their internal topic.

use super::pieces::{Pieces, joined};
use crate::Target;
use bytes::Bytes;
use grower_broker::group::{GroupLimits, GroupRecord, ShardLoader, Subscribed};
use grower_protocol::batch::RecordView;
use grower_protocol::ids::{MemberEpoch, Offset, PartitionId, Timestamp, TopicId, TopicName};
use grower_protocol::wire::encode;
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
    for group in shard.list() {
        shard.describe(&group.group).expect("what is listed can be described");
    }
    let _ = shard.topics_changed(&catalog).settle(&mut shard, |_| Ok::<_, ()>(()));
    let _ = shard.expire(Timestamp::MAX).settle(&mut shard, |_| Ok::<_, ()>(()));
    assert!(shard.repeat_floor().records().len() <= 1);
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

/// A group with a member, an offset and the floor of epochs, laid out as the first version of each record is.
fn seeds() -> Vec<Vec<u8>> {
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
    let one = |record: &[Vec<u8>; 2]| [&[0][..], &joined(record)].concat();
    vec![records.iter().flat_map(one).collect()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_is_one_record_of_each_kind() {
        let seed = seeds().swap_remove(0);
        let mut pieces = Pieces(&seed);
        for kind in ["Group", "Member", "Offset", "Floor"] {
            pieces.byte();
            let (key, value) = (pieces.piece(), pieces.piece());
            let record = GroupRecord::from_record(&view(key, Some(value))).unwrap();
            assert!(format!("{record:?}").starts_with(kind), "{record:?}");
        }
        assert!(pieces.is_empty());
    }
}
