//! Bytes of requests.

use super::*;

#[test]
fn requests_keep_their_bytes() {
    let fetch = FetchPartition {
        topic: TOPIC,
        partition: PARTITION,
        offset: Offset::new(300),
        max_bytes: 9,
        leader_epoch: Some(LeaderEpoch::new(4)),
        last_epoch: Some(LeaderEpoch::new(5)),
    };
    let added = AddedSlot { slot: FetchSlot(6), partition: fetch };
    let place = SessionSequence { session: FetchSessionId(300), number: 301, received_below: 299 };
    let session_fetch =
        |step, add| FetchSession { step, max_wait_ms: 1, min_bytes: 2, max_bytes: 3, drop: vec![FetchSlot(5)], add };
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
    let requests = [
        Request::Hello(Hello {
            software: "s".to_owned(),
            version: "1".to_owned(),
            features: vec![Feature("groups".to_owned())],
        }),
        Request::Metadata(Metadata { topics: Some(vec![name()]), create_missing: true }),
        Request::InitProducer(InitProducer::default()),
        Request::InitProducer(InitProducer {
            name: Some(producer()),
            holder: ProducerHolder::new(5),
            current: Some(IDENTITY),
        }),
        Request::FenceProducer(FenceProducer { producer: IDENTITY, partitions: vec![(TOPIC, PARTITION)] }),
        Request::ListProducers { after: Some(producer()), most: 300 },
        Request::DescribeProducer(producer()),
        Request::DeleteProducer(producer()),
        Request::Produce(Produce {
            acks: Acks::All,
            timeout_ms: 5,
            partitions: vec![ProducePartition {
                topic: TOPIC,
                partition: PARTITION,
                length: 300,
                expected_end: Some(Offset::new(300)),
            }],
        }),
        Request::Fetch(Fetch { max_wait_ms: 1, min_bytes: 2, max_bytes: 3, partitions: vec![fetch] }),
        Request::FetchSession(session_fetch(SessionStep::Open, vec![added])),
        Request::FetchSession(session_fetch(SessionStep::Continue(place), Vec::new())),
        Request::FetchSession(session_fetch(SessionStep::Resume(place), Vec::new())),
        Request::FetchSession(session_fetch(SessionStep::Close(place.session), Vec::new())),
        Request::ListOffsets(ListOffsets {
            partitions: vec![ListOffset {
                topic: TOPIC,
                partition: PARTITION,
                spec: OffsetSpec::AtOrAfter(Timestamp::from_millis(-1)),
            }],
        }),
        Request::Heartbeat(heartbeat),
        Request::LeaveGroup { group: group(), member: member() },
        Request::CommitOffsets(commit(CommitterIdentity::Member(member(), MemberEpoch::new(3)))),
        Request::CommitOffsets(commit(CommitterIdentity::Outside(CommitterId::new("c").unwrap()))),
        Request::CommitOffsets(commit(CommitterIdentity::Anonymous)),
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
        Request::StartOffsets(StartOffsets {
            group: group(),
            committer: CommitterIdentity::Member(member(), MemberEpoch::new(3)),
            starts: vec![offset_to_commit()],
        }),
        Request::DescribeGroupMemory,
    ];
    insta::assert_snapshot!(request_rows(&requests), @"
    Hello 0001730131010667726f757073
    Metadata 010101066576656e747301
    InitProducer 02000000
    InitProducer 0201017005010901
    FenceProducer 210901010707070707070707070707070707070702
    ListProducers 22010170fb2c01
    DescribeProducer 230170
    DeleteProducer 240170
    Produce 030205010707070707070707070707070707070702fb2c0101fb2c01
    Fetch 04010203010707070707070707070707070707070702fb2c010901040105
    FetchSession 2000010203010501060707070707070707070707070707070702fb2c010901040105
    FetchSession 2001fb2c01fb2d01fb2b01010203010500
    FetchSession 2002fb2c01fb2d01fb2b01010203010500
    FetchSession 2003fb2c01010203010500
    ListOffsets 050107070707070707070707070707070707020201
    Heartbeat 060167016d0301066576656e747301070707070707070707070707070707070102fbe803fbd007010572616e67650009
    LeaveGroup 070167016d
    CommitOffsets 08016700016d0305010707070707070707070707070707070702fb2c0101070178
    CommitOffsets 08016701016305010707070707070707070707070707070702fb2c0101070178
    CommitOffsets 0801670205010707070707070707070707070707070702fb2c0101070178
    FetchOffsets 09016701010707070707070707070707070707070702
    ListGroups 0a01016703
    DescribeGroup 0b0167
    DeleteGroup 0c0167
    ReportDamage 1207070707070707070707070707070707020102
    DetachMember 140167016d
    ListCommits 1c0167
    ListOffsets 0501070707070707070707070707070707070204fb2c01
    StartOffsets 1e016700016d03010707070707070707070707070707070702fb2c0101070178
    DescribeGroupMemory 1f
    ");
}

fn commit(committer: CommitterIdentity) -> OffsetCommit {
    OffsetCommit { group: group(), committer, sequence: 5, offsets: vec![offset_to_commit()] }
}

fn offset_to_commit() -> OffsetToCommit {
    let leader_epoch = Some(LeaderEpoch::new(7));
    OffsetToCommit {
        topic: TOPIC,
        partition: PARTITION,
        offset: Offset::new(300),
        leader_epoch,
        metadata: "x".to_owned(),
    }
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
