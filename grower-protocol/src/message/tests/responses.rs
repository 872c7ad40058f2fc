//! Bytes of responses.

use super::*;

#[test]
fn responses_keep_their_bytes() {
    let partition = PartitionMetadata {
        partition: PARTITION,
        leader: Some(NodeId::new(1)),
        leader_epoch: LeaderEpoch::new(4),
        replicas: vec![NodeId::new(1)],
        in_sync: vec![NodeId::new(1)],
    };
    let committed = CommittedOffset {
        topic: TOPIC,
        partition: PARTITION,
        offset: Offset::new(300),
        leader_epoch: Some(LeaderEpoch::new(7)),
        metadata: "x".to_owned(),
        lost_from: Some(Offset::new(5)),
    };
    let responses = [
        Response::Failed(refused()),
        Response::Hello(HelloAnswer {
            software: "s".to_owned(),
            version: "1".to_owned(),
            features: Vec::new(),
            unknown_features: vec![Feature("queues".to_owned())],
            cluster_id: "c".to_owned(),
            node: NodeId::new(1),
            frame_bytes_max: 300,
        }),
        Response::Metadata(MetadataAnswer {
            brokers: vec![BrokerAddress { node: NodeId::new(1), address: "a:1".to_owned() }],
            topics: vec![
                Ok(TopicMetadata { name: name(), id: TOPIC, partitions: vec![partition] }),
                Err(Failure::new(ErrorCode::UnknownTopic, "no")),
            ],
        }),
        Response::InitProducer(ProducerIdentity { id: ProducerId::new(9), epoch: ProducerEpoch::new(1) }),
        Response::FenceProducer(vec![
            Ok(ProducerFence { last: Some(last_written()) }),
            Ok(ProducerFence { last: None }),
        ]),
        Response::ListProducers { producers: vec![named_producer()], next: Some(producer()) },
        Response::DescribeProducer(ProducerDescription {
            producer: named_producer(),
            written: vec![(TOPIC, PARTITION, last_written())],
        }),
        Response::Failed(refused().with_context(FailureContext::LogEnd(Offset::new(300)))),
        Response::Failed(refused().with_context(FailureContext::Records(vec![RecordRange { first: 300, count: 2 }]))),
        Response::Produce(vec![
            Ok(Produced { base_offset: Offset::new(300), log_start: Offset::ZERO, durability: Durability::Fsynced }),
            Err(refused()),
        ]),
        Response::Fetch(FetchAnswer {
            partitions: vec![
                Ok(FetchedPartition::Records(FetchedRecords {
                    length: 300,
                    high_watermark: Offset::new(5),
                    log_start: Offset::new(1),
                    damaged: Some((Offset::new(2), Offset::new(3))),
                })),
                Ok(FetchedPartition::Diverged(Divergence { epoch: Some(LeaderEpoch::new(7)), end: Offset::new(300) })),
            ],
        }),
        Response::FetchSession(FetchSessionAnswer {
            session: FetchSessionId(300),
            number: 301,
            parts: vec![SlotPart { slot: FetchSlot(6), offset: Offset::new(300), fetched: Err(refused()) }],
        }),
        Response::ListOffsets(vec![Ok(ListedOffset { offset: Some(Offset::new(1)), timestamp: None })]),
        Response::Heartbeat(HeartbeatAnswer { epoch: MemberEpoch::new(3), interval_ms: 200, assignment: owned() }),
        Response::CommitOffsets(vec![Ok(()), Err(refused())]),
        Response::FetchOffsets(vec![committed.clone()]),
        Response::ListGroups { groups: Vec::new(), next: Some(group()) },
        Response::DescribeGroup(GroupDescription {
            group: group(),
            state: GroupState::Reconciling,
            epoch: 3,
            assignor: "range".to_owned(),
            members: vec![member_description()],
            offsets: vec![committed],
        }),
        Response::Done,
        Response::ListCommits(vec![CommitTime { topic: TOPIC, partition: PARTITION, at: Timestamp::from_millis(1) }]),
        Response::DescribeGroupMemory(GroupMemory {
            used: 300,
            max: 400,
            refused: vec![RefusedGrowth { group: group(), ago_ms: 5, reason: "full".to_owned() }],
        }),
    ];
    insta::assert_snapshot!(rows(&responses), @"
    Failed 00180466756c6c00
    Hello 0101730131000106717565756573016301fb2c01
    Metadata 02010103613a310200066576656e7473070707070707070707070707070707070102010104010101010107026e6f00
    InitProducer 030901
    FenceProducer 170200010901fb5802fb2d010000
    ListProducers 1801017009010a010170
    DescribeProducer 19017009010a0107070707070707070707070707070707020901fb5802fb2d01
    Failed 00180466756c6c0101fb2c01
    Failed 00180466756c6c010001fb2c0102
    Produce 040200fb2c01000201180466756c6c00
    Fetch 05020000fb2c01050101020300010107fb2c01
    FetchSession 16fb2c01fb2d010106fb2c0101180466756c6c00
    ListOffsets 060100010100
    Heartbeat 0703c801070707070707070707070707070707070102
    CommitOffsets 08020001180466756c6c00
    FetchOffsets 09010707070707070707070707070707070702fb2c01010701780105
    ListGroups 0a00010167
    DescribeGroup 0b016702030572616e676501016d0301066576656e747301070707070707070707070707070707070102010707070707070707070707070707070701020101690101630103613a31fbe8030501070707070707070707070707070707070202010107070707070707070707070707070707010201016e00010707070707070707070707070707070702fb2c01010701780105
    Done 0e
    ListCommits 1301070707070707070707070707070707070202
    DescribeGroupMemory 15fb2c01fb9001010167050466756c6c
    ");
}

fn member_description() -> MemberDescription {
    MemberDescription {
        member: member(),
        epoch: MemberEpoch::new(3),
        topics: vec![name()],
        owned: owned(),
        target: owned(),
        instance: Some("i".to_owned()),
        client: Some("c".to_owned()),
        address: Some("a:1".to_owned()),
        session_timeout_ms: 1_000,
        silent_ms: 5,
        holds: vec![Holding {
            topic: TOPIC,
            partition: PARTITION,
            since: Timestamp::from_millis(1),
            pending_revocation: true,
        }],
        awaits: owned(),
        replaced_by: Some(MemberId::new("n").unwrap()),
        detached: false,
    }
}
