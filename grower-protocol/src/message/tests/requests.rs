//! Bytes of requests, and requests for older brokers.

use super::*;

#[test]
fn requests_keep_their_bytes() {
    let fetch = FetchPartition {
        topic: TOPIC,
        partition: PARTITION,
        offset: Offset::new(300),
        max_bytes: 9,
        leader_epoch: Some(LeaderEpoch::new(4)),
    };
    let heartbeat = Heartbeat {
        group: group(),
        member: member(),
        epoch: MemberEpoch::new(3),
        topics: vec![name()],
        owned: owned(),
        session_timeout_ms: 1_000,
        rebalance_timeout_ms: 2_000,
        assignor: Some("range".to_owned()),
        instance: None,
        max_wait_ms: 9,
    };
    let commit =
        OffsetToCommit { topic: TOPIC, partition: PARTITION, offset: Offset::new(1), metadata: "x".to_owned() };
    let requests = [
        Request::Hello(Hello {
            software: "s".to_owned(),
            version: "1".to_owned(),
            features: vec![Feature("groups".to_owned())],
        }),
        Request::Metadata(Metadata { topics: Some(vec![name()]), create_missing: true }),
        Request::InitProducer,
        Request::Produce(Produce {
            acks: Acks::All,
            timeout_ms: 5,
            partitions: vec![ProducePartition { topic: TOPIC, partition: PARTITION, length: 300 }],
        }),
        Request::Fetch(Fetch { max_wait_ms: 1, min_bytes: 2, max_bytes: 3, partitions: vec![fetch] }),
        Request::ListOffsets(ListOffsets {
            partitions: vec![ListOffset {
                topic: TOPIC,
                partition: PARTITION,
                spec: OffsetSpec::AtOrAfter(Timestamp::from_millis(-1)),
            }],
        }),
        Request::Heartbeat(heartbeat),
        Request::LeaveGroup { group: group(), member: member() },
        Request::CommitOffsets(OffsetCommit {
            group: group(),
            member: Some((member(), MemberEpoch::new(3))),
            sequence: 5,
            offsets: vec![commit],
        }),
        Request::FetchOffsets { group: group(), partitions: Some(vec![(TOPIC, PARTITION)]) },
        Request::ListGroups { after: Some(group()), most: 3 },
        Request::DescribeGroup(group()),
        Request::DeleteGroup(group()),
        Request::ReportDamage(ReportDamage {
            topic: TOPIC,
            partition: PARTITION,
            start: Offset::new(1),
            end: Offset::new(2),
        }),
        Request::DetachMember { group: group(), member: member() },
        Request::ListCommits(group()),
        Request::ListOffsets(ListOffsets {
            partitions: vec![ListOffset {
                topic: TOPIC,
                partition: PARTITION,
                spec: OffsetSpec::FirstFrom(Offset::new(300)),
            }],
        }),
        Request::CommitPositions(position_commit(CommitterIdentity::Member(member(), MemberEpoch::new(3)))),
        Request::CommitPositions(position_commit(CommitterIdentity::Outside(CommitterId::new("c").unwrap()))),
        Request::FetchAfter(FetchAfter {
            max_wait_ms: 1,
            min_bytes: 2,
            max_bytes: 3,
            partitions: vec![FetchPosition { partition: fetch, last_epoch: Some(LeaderEpoch::new(5)) }],
        }),
        Request::FetchPositions { group: group(), partitions: None },
        Request::StartPositions(StartPositions {
            group: group(),
            committer: CommitterIdentity::Member(member(), MemberEpoch::new(3)),
            starts: vec![position_to_commit()],
        }),
        Request::DescribeGroupMemory,
    ];
    insta::assert_snapshot!(request_rows(&requests), @"
    Hello 0001730131010667726f757073
    Metadata 010101066576656e747301
    InitProducer 02
    Produce 030205010707070707070707070707070707070702fb2c01
    Fetch 04010203010707070707070707070707070707070702fb2c01090104
    ListOffsets 050107070707070707070707070707070707020201
    Heartbeat 060167016d0301066576656e747301070707070707070707070707070707070102fbe803fbd007010572616e67650009
    LeaveGroup 070167016d
    CommitOffsets 08016701016d0305010707070707070707070707070707070702010178
    FetchOffsets 09016701010707070707070707070707070707070702
    ListGroups 0a01016703
    DescribeGroup 0b0167
    DeleteGroup 0c0167
    ReportDamage 1207070707070707070707070707070707020102
    DetachMember 140167016d
    ListCommits 1c0167
    ListOffsets 0501070707070707070707070707070707070204fb2c01
    CommitPositions 1e016700016d0305010707070707070707070707070707070702fb2c0101070178
    CommitPositions 1e016701016305010707070707070707070707070707070702fb2c0101070178
    FetchAfter 1f010203010707070707070707070707070707070702fb2c010901040105
    FetchPositions 20016700
    StartPositions 21016700016d03010707070707070707070707070707070702fb2c0101070178
    DescribeGroupMemory 22
    ");
}

fn position_commit(committer: CommitterIdentity) -> PositionCommit {
    PositionCommit { group: group(), committer, sequence: 5, positions: vec![position_to_commit()] }
}

fn position_to_commit() -> PositionToCommit {
    let leader_epoch = Some(LeaderEpoch::new(7));
    PositionToCommit {
        topic: TOPIC,
        partition: PARTITION,
        offset: Offset::new(300),
        leader_epoch,
        metadata: "x".to_owned(),
    }
}

#[test]
fn a_commit_falls_back_to_the_older_request() {
    let outside = Request::CommitPositions(position_commit(CommitterIdentity::Outside(CommitterId::new("c").unwrap())));
    assert_eq!(outside.kind().feature, Some("position-commits"));
    let Some(Request::CommitOffsets(older)) = outside.for_older_brokers() else { panic!("they know it") };
    assert_eq!((older.member, older.sequence, older.offsets[0].offset), (None, 5, Offset::new(300)));
    let identity = CommitterIdentity::Member(member(), MemberEpoch::new(3));
    let member_commit = Request::CommitPositions(position_commit(identity)).for_older_brokers();
    let Some(Request::CommitOffsets(older)) = member_commit else { panic!("they know it") };
    assert_eq!(older.member, Some((member(), MemberEpoch::new(3))));
}

#[test]
fn unknown_bytes_have_no_request_kind() {
    assert_eq!(RequestKind::of_encoded(&[]), None);
    assert_eq!(RequestKind::of_encoded(&[u8::MAX]), None);
}

#[test]
fn a_request_with_more_parts_than_a_cluster_can_have_is_refused() {
    let asked = |topics| Request::Metadata(Metadata { topics: Some(vec![name(); topics]), create_missing: false });
    assert_eq!(asked(20_000).check_parts(), Ok(()));
    insta::assert_snapshot!(asked(20_001).check_parts().unwrap_err(), @"a request may name 20000 topics, this one names 20001: ask in parts");
    assert_eq!(Request::Metadata(Metadata::default()).check_parts(), Ok(()));
}
