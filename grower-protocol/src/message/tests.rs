//! The bytes of every message. A released one never changes: a row that does is a broken protocol.

use super::*;
use crate::ids::{CommitterId, LeaderEpoch, MemberEpoch, NodeId, Offset, ProducerEpoch, ProducerId, Timestamp};
use crate::wire::{decode, encode};
use std::fmt::Debug;

const TOPIC: TopicId = TopicId::from_bytes([7; 16]);
const PARTITION: PartitionId = PartitionId::new(2);

fn name() -> TopicName {
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

fn refused() -> Failure {
    Failure::new(ErrorCode::DiskFull, "full")
}

/// One line a message: its name and its bytes. It must also decode to itself.
fn rows<T: Serialize + serde::de::DeserializeOwned + Debug + PartialEq>(messages: &[T]) -> String {
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
    };
    let commit =
        OffsetToCommit { topic: TOPIC, partition: PARTITION, offset: Offset::new(1), metadata: "x".to_owned() };
    let topic = NewTopic {
        name: name(),
        partitions: Some(3),
        replication_factor: None,
        configs: vec![("flush".to_owned(), "os".to_owned())],
    };
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
        Request::Heartbeat(heartbeat.clone()),
        Request::LeaveGroup { group: group(), member: member() },
        Request::CommitOffsets(OffsetCommit {
            group: group(),
            member: Some((member(), MemberEpoch::new(3))),
            sequence: 5,
            offsets: vec![commit],
        }),
        Request::FetchOffsets { group: group(), partitions: Some(vec![(TOPIC, PARTITION)]) },
        Request::ListGroups,
        Request::DescribeGroup(group()),
        Request::DeleteGroup(group()),
        Request::CreateTopics { topics: vec![topic] },
        Request::DeleteTopic(name()),
        Request::GrowTopic { topic: name(), partitions: 4 },
        Request::AlterTopic { topic: name(), configs: vec![("flush".to_owned(), None)] },
        Request::DescribeTopics { topics: None, segments: true },
        Request::ReportDamage(ReportDamage {
            topic: TOPIC,
            partition: PARTITION,
            start: Offset::new(1),
            end: Offset::new(2),
        }),
        Request::TrimTopic { topic: name(), before: vec![(PARTITION, Offset::new(300))] },
        Request::InspectGroup(group()),
        Request::HoldHeartbeat { beat: heartbeat, max_wait_ms: 9 },
        Request::StepOut { group: group(), member: member() },
        Request::DescribeBroker,
        Request::DescribeSettings,
        Request::AlterSettings { settings: vec![("logging.level".to_owned(), Some("debug".to_owned()))] },
        Request::BeginBackup { dir: "nightly".to_owned(), full: true },
        Request::DescribeBackup,
        Request::CancelBackup,
        Request::ListLosses(name()),
        Request::ListCommits(group()),
        Request::ListSegments { topic: name(), from: Some((PARTITION, Offset::new(300))) },
        Request::PageGroups { after: Some(group()) },
        Request::InspectGroups { after: None, most: 3 },
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
    ];
    insta::assert_snapshot!(rows(&requests), @"
    Hello 0001730131010667726f757073
    Metadata 010101066576656e747301
    InitProducer 02
    Produce 030205010707070707070707070707070707070702fb2c01
    Fetch 04010203010707070707070707070707070707070702fb2c01090104
    ListOffsets 050107070707070707070707070707070707020201
    Heartbeat 060167016d0301066576656e747301070707070707070707070707070707070102fbe803fbd007010572616e676500
    LeaveGroup 070167016d
    CommitOffsets 08016701016d0305010707070707070707070707070707070702010178
    FetchOffsets 09016701010707070707070707070707070707070702
    ListGroups 0a
    DescribeGroup 0b0167
    DeleteGroup 0c0167
    CreateTopics 0d01066576656e74730103000105666c757368026f73
    DeleteTopic 0e066576656e7473
    GrowTopic 0f066576656e747304
    AlterTopic 10066576656e74730105666c75736800
    DescribeTopics 110001
    ReportDamage 1207070707070707070707070707070707020102
    TrimTopic 13066576656e74730102fb2c01
    InspectGroup 140167
    HoldHeartbeat 150167016d0301066576656e747301070707070707070707070707070707070102fbe803fbd007010572616e67650009
    StepOut 160167016d
    DescribeBroker 17
    DescribeSettings 18
    AlterSettings 19010d6c6f6767696e672e6c6576656c01056465627567
    BeginBackup 1a076e696768746c7901
    DescribeBackup 1b
    CancelBackup 1c
    ListLosses 1d066576656e7473
    ListCommits 1e0167
    ListSegments 1f066576656e74730102fb2c01
    PageGroups 20010167
    InspectGroups 210003
    ListOffsets 0501070707070707070707070707070707070204fb2c01
    CommitPositions 22016700016d0305010707070707070707070707070707070702fb2c0101070178
    CommitPositions 22016701016305010707070707070707070707070707070702fb2c0101070178
    FetchAfter 23010203010707070707070707070707070707070702fb2c010901040105
    FetchPositions 24016700
    StartPositions 25016700016d03010707070707070707070707070707070702fb2c0101070178
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
fn older_brokers_get_a_commit_that_they_understand() {
    let outside = Request::CommitPositions(position_commit(CommitterIdentity::Outside(CommitterId::new("c").unwrap())));
    assert_eq!(outside.needs(), Some("position-commits"));
    let Some(Request::CommitOffsets(older)) = outside.for_older_brokers() else { panic!("they know it") };
    assert_eq!((older.member, older.sequence, older.offsets[0].offset), (None, 5, Offset::new(300)));
    let identity = CommitterIdentity::Member(member(), MemberEpoch::new(3));
    let member_commit = Request::CommitPositions(position_commit(identity)).for_older_brokers();
    let Some(Request::CommitOffsets(older)) = member_commit else { panic!("they know it") };
    assert_eq!(older.member, Some((member(), MemberEpoch::new(3))));
}

#[test]
fn responses_keep_their_bytes() {
    let partition = PartitionMetadata {
        partition: PARTITION,
        leader: Some(NodeId::new(1)),
        leader_epoch: LeaderEpoch::new(4),
        replicas: vec![NodeId::new(1)],
        in_sync: vec![NodeId::new(1)],
    };
    let committed =
        CommittedOffset { topic: TOPIC, partition: PARTITION, offset: Offset::new(1), metadata: "x".to_owned() };
    let described = MemberDescription {
        member: member(),
        epoch: MemberEpoch::new(3),
        topics: vec![name()],
        owned: owned(),
        target: owned(),
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
        Response::Produce(vec![
            Ok(Produced { base_offset: Offset::new(300), log_start: Offset::ZERO, durability: Durability::Fsynced }),
            Err(refused()),
        ]),
        Response::Fetch(FetchAnswer {
            partitions: vec![Ok(FetchedPartition {
                length: 300,
                high_watermark: Offset::new(5),
                log_start: Offset::new(1),
                damaged: Some((Offset::new(2), Offset::new(3))),
            })],
        }),
        Response::ListOffsets(vec![Ok(ListedOffset { offset: Some(Offset::new(1)), timestamp: None })]),
        Response::Heartbeat(HeartbeatAnswer { epoch: MemberEpoch::new(3), interval_ms: 200, assignment: owned() }),
        Response::CommitOffsets(vec![Ok(()), Err(refused())]),
        Response::FetchOffsets(vec![committed.clone()]),
        Response::ListGroups(vec![GroupSummary { group: group(), state: GroupState::Stable, members: 1 }]),
        Response::DescribeGroup(GroupDescription {
            group: group(),
            state: GroupState::Reconciling,
            epoch: 3,
            assignor: "range".to_owned(),
            members: vec![described],
            offsets: vec![committed],
        }),
        Response::CreateTopics(vec![Ok(TOPIC)]),
        Response::DescribeTopics(vec![Ok(description())]),
        Response::Done,
        Response::InspectGroup(inspection()),
        Response::DescribeBroker(broker_description()),
        Response::DescribeSettings(vec![setting_entry()]),
        Response::DescribeBackup(None),
        Response::DescribeBackup(Some(backup(BackupState::Running))),
        Response::DescribeBackup(Some(backup(BackupState::Made(BackupMade {
            path: "/b".to_owned(),
            files: 1,
            bytes: 300,
            new_bytes: 2,
            copied_bytes: 3,
        })))),
        Response::DescribeBackup(Some(backup(BackupState::Failed(refused())))),
        Response::ListLosses(vec![LossDescription {
            partition: PARTITION,
            start: Offset::new(1),
            end: Offset::new(300),
            at: Timestamp::from_millis(1),
            by: "b".to_owned(),
            what: "w".to_owned(),
            kept: "k".to_owned(),
            bytes: 4,
        }]),
        Response::ListCommits(vec![CommitTime { topic: TOPIC, partition: PARTITION, at: Timestamp::from_millis(1) }]),
        Response::ListSegments(SegmentPage { segments: Vec::new(), next: Some((PARTITION, Offset::new(300))) }),
        Response::PageGroups { groups: Vec::new(), next: Some(group()) },
        Response::InspectGroups { groups: Vec::new(), next: None },
        Response::FetchAfter(FetchAfterAnswer {
            partitions: vec![
                Ok(FetchedAfter::Records(FetchedPartition {
                    length: 300,
                    high_watermark: Offset::new(5),
                    log_start: Offset::new(1),
                    damaged: Some((Offset::new(2), Offset::new(3))),
                })),
                Ok(FetchedAfter::Diverged(Divergence { epoch: Some(LeaderEpoch::new(7)), end: Offset::new(300) })),
            ],
        }),
        Response::FetchPositions(vec![CommittedPosition {
            topic: TOPIC,
            partition: PARTITION,
            offset: Offset::new(300),
            leader_epoch: Some(LeaderEpoch::new(7)),
            metadata: "x".to_owned(),
            lost_from: Some(Offset::new(5)),
        }]),
    ];
    insta::assert_snapshot!(rows(&responses), @"
    Failed 00180466756c6c
    Hello 0101730131000106717565756573016301fb2c01
    Metadata 02010103613a310200066576656e7473070707070707070707070707070707070102010104010101010107026e6f
    InitProducer 030901
    Produce 040200fb2c01000201180466756c6c
    Fetch 050100fb2c010501010203
    ListOffsets 060100010100
    Heartbeat 0703c801070707070707070707070707070707070102
    CommitOffsets 08020001180466756c6c
    FetchOffsets 09010707070707070707070707070707070702010178
    ListGroups 0a0101670101
    DescribeGroup 0b016702030572616e676501016d0301066576656e74730107070707070707070707070707070707010201070707070707070707070707070707070102010707070707070707070707070707070702010178
    CreateTopics 0c010007070707070707070707070707070707
    DescribeTopics 0d0100066576656e747307070707070707070707070707070707010105666c757368026f730101020004010100000203fb4c0101000101016c01690003fb2c01200102
    Done 0e
    InspectGroup 0f016701030572616e6765000001016d0101690101630103613a31fbe8030501070707070707070707070707070707070202010107070707070707070707070707070707010201016e00
    DescribeBroker 10010176020203040506070801090a0b01010c0107070707070707070707070707070707fb2c01fb2d01fb2e01fb2f010d0e0f1011
    DescribeSettings 1101016b01017601032d2d6b000101610163
    DescribeBackup 1200
    DescribeBackup 120101016402fb2c0100
    DescribeBackup 120101016402fb2c0101022f6201fb2c010203
    DescribeBackup 120101016402fb2c0102180466756c6c
    ListLosses 13010201fb2c010201620177016b04
    ListCommits 1401070707070707070707070707070707070202
    ListSegments 15000102fb2c01
    PageGroups 1600010167
    InspectGroups 170000
    FetchAfter 18020000fb2c01050101020300010107fb2c01
    FetchPositions 19010707070707070707070707070707070702fb2c01010701780105
    ");
}

fn backup(state: BackupState) -> BackupDescription {
    BackupDescription { number: 1, dir: "d".to_owned(), began: Timestamp::from_millis(1), read_bytes: 300, state }
}

fn broker_description() -> BrokerDescription {
    let traffic = |by| Traffic { records_in: by, bytes_in: by + 1, records_out: by + 2, bytes_out: by + 3 };
    BrokerDescription {
        node: NodeId::new(1),
        version: "v".to_owned(),
        now: Timestamp::from_millis(1),
        uptime_ms: 2,
        connections: 3,
        memory_used: 4,
        memory_budget: 5,
        fsync: FsyncDescription { count: 6, p50_micros: 7, p99_micros: 8 },
        disk: Some(DiskDescription {
            total: 9,
            free: 10,
            reserve: 11,
            used_up: Some(UsedUp { bytes: -1, over_ms: 12 }),
        }),
        topics: vec![TopicTraffic { topic: TOPIC, total: traffic(300), recent: traffic(13), recent_ms: 17 }],
    }
}

fn setting_entry() -> SettingEntry {
    SettingEntry {
        key: "k".to_owned(),
        value: Some("v".to_owned()),
        source: SettingSource::Start("--k".to_owned()),
        started_with: None,
        needs_restart: true,
        about: "a".to_owned(),
        accepts: "c".to_owned(),
    }
}

fn inspection() -> GroupInspection {
    let member = MemberInspection {
        member: member(),
        instance: Some("i".to_owned()),
        client: Some("c".to_owned()),
        address: Some("a:1".to_owned()),
        session_timeout_ms: 1_000,
        silent_ms: 5,
        holds: vec![Holding { topic: TOPIC, partition: PARTITION, since: Timestamp::from_millis(1), giving_up: true }],
        awaits: owned(),
        replaced_by: Some(MemberId::new("n").unwrap()),
        away: false,
    };
    let group = GroupDescription {
        group: group(),
        state: GroupState::Stable,
        epoch: 3,
        assignor: "range".to_owned(),
        members: Vec::new(),
        offsets: Vec::new(),
    };
    GroupInspection { group, members: vec![member] }
}

fn description() -> TopicDescription {
    let segment = SegmentDescription {
        log_file: "l".to_owned(),
        index_file: "i".to_owned(),
        base_offset: Offset::ZERO,
        end_offset: Offset::new(3),
        log_bytes: 300,
        index_bytes: 32,
        max_timestamp: Some(Timestamp::from_millis(1)),
    };
    let partition = PartitionDescription {
        partition: PARTITION,
        leader: None,
        leader_epoch: LeaderEpoch::new(4),
        replicas: vec![NodeId::new(1)],
        in_sync: Vec::new(),
        log_start: Offset::ZERO,
        high_watermark: Offset::new(2),
        log_end: Offset::new(3),
        bytes: 332,
        damaged: vec![(Offset::ZERO, Offset::new(1))],
        segments: vec![segment],
    };
    TopicDescription {
        name: name(),
        id: TOPIC,
        replication_factor: 1,
        configs: vec![ConfigEntry { key: "flush".to_owned(), value: "os".to_owned(), source: ConfigSource::Topic }],
        partitions: vec![partition],
    }
}

#[test]
fn error_codes_keep_their_numbers() {
    let numbers = [
        ErrorCode::Internal,
        ErrorCode::UnknownTopic,
        ErrorCode::DiskFull,
        ErrorCode::NotAssigned,
        ErrorCode::TooManyConnections,
        ErrorCode::NotAllowed,
        ErrorCode::BackupFailed,
    ];
    assert_eq!(numbers.map(|code| encode(&code)[0]), [0, 7, 24, 32, 33, 36, 37]);
}

#[test]
fn requests_for_lists_are_told_by_their_first_byte() {
    let group = GroupId::new("g").unwrap();
    let lists = [
        Request::Metadata(Metadata::default()),
        Request::FetchOffsets { group: group.clone(), partitions: None },
        Request::ListGroups,
        Request::DescribeGroup(group.clone()),
        Request::DescribeTopics { topics: None, segments: true },
        Request::InspectGroup(group.clone()),
        Request::ListLosses(name()),
        Request::ListCommits(group.clone()),
        Request::DescribeBroker,
        Request::DescribeSettings,
        Request::ListSegments { topic: name(), from: None },
        Request::PageGroups { after: None },
        Request::InspectGroups { after: None, most: 3 },
        Request::FetchPositions { group: group.clone(), partitions: None },
    ];
    assert!(lists.iter().all(|request| Request::asks_for_list(&encode(request))));
    let others = [Request::InitProducer, Request::DeleteGroup(group), Request::DeleteTopic(name())];
    assert!(!others.iter().any(|request| Request::asks_for_list(&encode(request))));
    assert!(!Request::asks_for_list(&[]));
}
