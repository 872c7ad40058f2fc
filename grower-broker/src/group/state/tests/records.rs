//! The bytes of the internal topic.

use super::*;
use grower_protocol::batch::RecordView;
use grower_protocol::ids::LeaderEpoch;
use grower_protocol::message::TopicPartitions;

fn records() -> Vec<GroupRecord> {
    let member = MemberId::new("m").unwrap();
    let granted = vec![TopicPartitions { topic: RAINBOW, partitions: vec![PartitionId::new(2)] }];
    let state = StoredMember {
        join_order: 1,
        epoch: MemberEpoch::new(4),
        previous: Some(MemberEpoch::new(3)),
        topics: vec![name("rainbow")],
        granted,
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        instance: Some("i".to_owned()),
        since: vec![Timestamp::from_millis(7)],
        detached: false,
    };
    let offset =
        StoredOffset { offset: Offset::new(9), leader_epoch: Some(LeaderEpoch::new(7)), metadata: "x".to_owned() };
    vec![
        GroupRecord::Group { group: group(), state: Some(StoredGroup { epoch: 5, assignor: "range".to_owned() }) },
        GroupRecord::Group { group: group(), state: None },
        GroupRecord::Member { group: group(), member, state: Some(state) },
        GroupRecord::Offset { group: group(), partition: topic_id_partition(RAINBOW, 2), state: Some(offset) },
        GroupRecord::MinimumEpoch { epoch: 6 },
    ]
}

fn view(record: &GroupRecord) -> RecordView {
    let record = record.to_record(Timestamp::from_millis(1));
    let (key, value, headers) = (record.key, record.value, record.headers);
    RecordView { offset: Offset::new(3), timestamp: record.timestamp, key, value, headers }
}

#[test]
fn records_keep_their_bytes() {
    let hex = |bytes: Option<bytes::Bytes>| match bytes {
        Some(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
        None => "none".to_owned(),
    };
    let records = records();
    let lines = records.iter().map(view).map(|record| format!("{} -> {}", hex(record.key), hex(record.value)));
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"), @"
    000167 -> 00050572616e6765
    000167 -> none
    010167016d -> 010104010301077261696e626f7701010101010101010101010101010101010102fb1027fb60ea010169010e00
    0201670101010101010101010101010101010102 -> 010901070178
    03 -> 0006
    ");
}

#[test]
fn a_member_record_of_version_1_takes_the_records_time_as_grant_time() {
    let hex = "000104010301077261696e626f7701010101010101010101010101010101010102fb1027fb60ea010169";
    let value: Vec<u8> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    let record = RecordView { value: Some(value.into()), ..view(&records()[2]) };
    let GroupRecord::Member { state: Some(read), .. } = GroupRecord::from_record(&record).unwrap() else { panic!() };
    let GroupRecord::Member { state: Some(newest), .. } = records().remove(2) else { panic!() };
    assert_eq!(read, StoredMember { since: vec![record.timestamp], ..newest });
}

#[test]
fn an_offset_record_of_version_1_has_no_leader_epoch() {
    let record = RecordView { value: Some(bytes::Bytes::from_static(&[0, 9, 1, b'x'])), ..view(&records()[3]) };
    let GroupRecord::Offset { state: Some(read), .. } = GroupRecord::from_record(&record).unwrap() else { panic!() };
    assert_eq!(read, StoredOffset { offset: Offset::new(9), leader_epoch: None, metadata: "x".to_owned() });
}

#[test]
fn records_survive_encoding_and_decoding() {
    for record in records() {
        assert_eq!(GroupRecord::from_record(&view(&record)).unwrap(), record);
    }
}

#[test]
fn an_unreadable_record_is_an_error_that_names_its_offset() {
    let sound = view(&records()[0]);
    let no_key = RecordView { key: None, ..sound.clone() };
    insta::assert_snapshot!(GroupRecord::from_record(&no_key).unwrap_err(), @"the record at offset 3 of the groups' topic has no key");
    let newer = RecordView { value: Some(vec![1].into()), ..sound.clone() };
    insta::assert_snapshot!(GroupRecord::from_record(&newer).unwrap_err(), @r#"the record at offset 3 of the groups' topic cannot be read (a newer version may have written it): malformed message: OtherString("invalid value: integer `1`, expected variant index 0 <= i < 1")"#);
    let group = StoredGroup { epoch: u32::MAX, assignor: "range".to_owned() };
    let forged = view(&GroupRecord::Group { group: GroupId::new("g").unwrap(), state: Some(group) });
    insta::assert_snapshot!(GroupRecord::from_record(&forged).unwrap_err(), @"the record at offset 3 of the groups' topic has the impossible epoch 4294967295");
    let key = sound.key.clone().unwrap();
    for length in 0..key.len() {
        let cut = RecordView { key: Some(key.slice(..length)), ..sound.clone() };
        assert!(GroupRecord::from_record(&cut).is_err());
    }
}

#[test]
fn each_group_stays_in_its_partition() {
    let shards = ["g", "group-1", "billing"].map(|id| shard_of(&GroupId::new(id).unwrap()).value());
    insta::assert_debug_snapshot!(shards, @"
    [
        8,
        10,
        8,
    ]
    ");
}

#[test]
fn the_internal_topics_configs_are_accepted() {
    let topic = internal_topic().unwrap();
    let config = crate::config::topic::TopicConfig::parse(&topic.configs).unwrap();
    assert!(config.cleanup_policy.compacts() && !config.cleanup_policy.deletes());
}
