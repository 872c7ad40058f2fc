//! Consumer groups as a broker serves them: assignment, takeover, and offsets that survive.

mod support {
    pub mod raw;
}

use grower_broker::{Broker, BrokerConfig};
use grower_protocol::ids::{GroupId, MemberEpoch, MemberId, Offset, PartitionId, TopicId, TopicName};
use grower_protocol::message::*;
use std::time::Duration;
use support::raw::*;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};

/// A member that does what the protocol asks of it: owns what the last answer listed.
struct Member {
    id: MemberId,
    epoch: MemberEpoch,
    owned: Vec<TopicPartitions>,
}

impl Member {
    fn new(id: &str) -> Self {
        Self { id: MemberId::new(id).unwrap(), epoch: MemberEpoch::new(0), owned: Vec::new() }
    }

    async fn beat<S: AsyncRead + AsyncWrite + Unpin>(&mut self, client: &mut Raw<S>) -> Vec<u32> {
        let response = client.ask(&Request::Heartbeat(self.says())).await;
        self.hears(response)
    }

    fn says(&self) -> Heartbeat {
        Heartbeat {
            group: group(),
            member: self.id.clone(),
            epoch: self.epoch,
            topics: vec![TopicName::new("events").unwrap()],
            owned: self.owned.clone(),
            session_timeout_ms: 1_000,
            rebalance_timeout_ms: 1_000,
            assignor: None,
            instance: None,
            max_wait_ms: 0,
        }
    }

    fn hears(&mut self, response: Response) -> Vec<u32> {
        match response {
            Response::Heartbeat(answer) => {
                self.epoch = answer.epoch;
                self.owned = answer.assignment;
            }
            other => panic!("{other:?}"),
        }
        self.owned.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.value()).collect()
    }

    async fn commit(&self, client: &mut Raw<DuplexStream>, topic: TopicId, partition: u32, offset: u64) -> Response {
        let offset = OffsetToCommit {
            topic,
            partition: PartitionId::new(partition),
            offset: Offset::new(offset),
            leader_epoch: None,
            metadata: "as far as here".to_owned(),
        };
        let committer = CommitterIdentity::Member(self.id.clone(), self.epoch);
        client
            .ask(&Request::CommitOffsets(OffsetCommit {
                group: group(),
                committer,
                sequence: 0,
                offsets: vec![offset],
            }))
            .await
    }
}

fn group() -> GroupId {
    GroupId::new("readers").unwrap()
}

async fn committed(client: &mut Raw<DuplexStream>) -> Vec<(u32, u64)> {
    match client.ask(&Request::FetchOffsets { group: group(), partitions: None }).await {
        Response::FetchOffsets(offsets) => {
            offsets.iter().map(|committed| (committed.partition.value(), committed.offset.value())).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn two_members_share_and_the_survivor_takes_over() {
    let broker = in_memory().start().await.unwrap();
    let mut client = Raw::open(broker.connect()).await;
    client.create_topic("events", 3, &[]).await;
    let (mut first, mut second) = (Member::new("first"), Member::new("second"));
    assert_eq!(first.beat(&mut client).await, [0, 1, 2]);
    assert_eq!(second.beat(&mut client).await, [0; 0], "nothing is free before it is given up");
    assert_eq!(first.beat(&mut client).await, [0, 1]);
    first.beat(&mut client).await; // Confirms that 2 is no longer read.
    assert_eq!(second.beat(&mut client).await, [2]);
    // The first falls silent: after its session the second owns everything.
    let takeover = async {
        while second.beat(&mut client).await != [0, 1, 2] {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), takeover).await.unwrap();
}

#[tokio::test]
async fn a_member_commits_only_existing_offsets_of_its_partitions() {
    let broker = in_memory().start().await.unwrap();
    let mut client = Raw::open(broker.connect()).await;
    let topic = client.create_topic("events", 1, &[]).await;
    client.produce(topic, Acks::All, &batch(&["one", "two"])).await.unwrap();
    let mut member = Member::new("first");
    member.beat(&mut client).await;
    let code = |response| match response {
        Response::CommitOffsets(parts) => parts[0].clone().err().map(|failure: Failure| failure.code),
        Response::Failed(failure) => Some(failure.code),
        other => panic!("{other:?}"),
    };
    assert_eq!(code(member.commit(&mut client, topic, 0, 2).await), None);
    assert_eq!(code(member.commit(&mut client, topic, 0, 3).await), Some(ErrorCode::OffsetOutOfRange));
    let stranger = Member::new("stranger");
    assert_eq!(code(stranger.commit(&mut client, topic, 0, 1).await), Some(ErrorCode::UnknownMember));
    assert_eq!(committed(&mut client).await, [(0, 2)]);
}

#[tokio::test]
async fn committed_offsets_and_members_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut member = Member::new("first");
    let topic;
    {
        let broker = Broker::start(config_at(dir.path())).await.unwrap();
        let mut client = Raw::open(broker.connect()).await;
        topic = client.create_topic("events", 2, &[]).await;
        client.produce(topic, Acks::All, &batch(&["one", "two"])).await.unwrap();
        member.beat(&mut client).await;
        member.commit(&mut client, topic, 0, 2).await;
        broker.stop().await.unwrap();
    }
    let broker = Broker::start(config_at(dir.path())).await.unwrap();
    let mut client = Raw::open(broker.connect()).await;
    assert_eq!(committed(&mut client).await, [(0, 2)]);
    assert_eq!(member.beat(&mut client).await, [0, 1], "its epoch still counts");
    assert_eq!(client.values(topic, 0).await, ["one", "two"]);
}

#[tokio::test]
async fn a_description_names_the_program_and_address_of_a_member() {
    let mut config = BrokerConfig::at("/grower");
    config.listen = Some("127.0.0.1:0".parse().unwrap());
    config.http = None;
    let broker = in_memory_with(config).start().await.unwrap();
    let stream = tokio::net::TcpStream::connect(broker.listen_address().unwrap()).await.unwrap();
    let address = stream.local_addr().unwrap().to_string();
    let mut client = Raw::open(stream).await;
    let hello = Hello { software: "an app".to_owned(), version: "1".to_owned(), features: Vec::new() };
    client.ask(&Request::Hello(hello)).await;
    client.create_topic("events", 1, &[]).await;
    Member::new("first").beat(&mut client).await;
    let Response::DescribeGroup(seen) = client.ask(&Request::DescribeGroup(group())).await else { panic!() };
    let [member] = &seen.members[..] else { panic!("{seen:?}") };
    assert_eq!((member.client.as_deref(), member.address.as_deref()), (Some("an app"), Some(address.as_str())));
    assert_eq!(member.holds.len(), 1);
}

#[tokio::test]
async fn an_assignment_change_is_sent_with_the_waiting_answer() {
    for _ in 0..10 {
        if news_came_in_time().await {
            return;
        }
    }
    panic!("no answer was held back until there was news");
}

/// Whether both of two answers, each held back for a second at most, brought what was decided after they were asked
/// for.
async fn news_came_in_time() -> bool {
    let broker = in_memory().start().await.unwrap();
    let (mut one, mut other) = (Raw::open(broker.connect()).await, Raw::open(broker.connect()).await);
    one.create_topic("events", 2, &[]).await;
    let (mut first, mut second) = (Member::new("first"), Member::new("second"));
    first.beat(&mut one).await;
    second.beat(&mut other).await;
    let hold = |member: &Member| {
        Request::Heartbeat(Heartbeat { session_timeout_ms: 600_000, max_wait_ms: u32::MAX, ..member.says() })
    };
    other.send(&hold(&second), &[]).await;
    first.beat(&mut one).await;
    first.beat(&mut one).await; // Confirms that 1 is no longer read.
    let may_begin = second.hears(other.receive().await.unwrap().1);
    one.send(&hold(&first), &[]).await;
    other.ask(&Request::LeaveGroup { group: group(), member: second.id.clone() }).await;
    let has_all = first.hears(one.receive().await.unwrap().1);
    (may_begin, has_all) == (vec![1], vec![0, 1])
}

#[tokio::test]
async fn a_waiting_heartbeat_is_answered_at_its_timeout() {
    let broker = in_memory().start().await.unwrap();
    let mut client = Raw::open(broker.connect()).await;
    client.create_topic("events", 2, &[]).await;
    let mut member = Member::new("first");
    member.beat(&mut client).await;
    let epoch = member.epoch;
    let held = Heartbeat { max_wait_ms: u32::MAX, ..member.says() };
    let response = client.ask(&Request::Heartbeat(held)).await;
    assert_eq!((member.hears(response), member.epoch), (vec![0, 1], epoch));
}

#[tokio::test]
async fn a_group_picks_up_partitions_that_are_added() {
    let broker = in_memory().start().await.unwrap();
    let mut client = Raw::open(broker.connect()).await;
    client.create_topic("events", 2, &[]).await;
    let mut member = Member::new("first");
    assert_eq!(member.beat(&mut client).await, [0, 1]);
    let topic = TopicName::new("events").unwrap();
    assert_eq!(client.ask(&Request::GrowTopic { topic, partitions: 4 }).await, Response::Done);
    let picked_up = async { while member.beat(&mut client).await != [0, 1, 2, 3] {} };
    tokio::time::timeout(Duration::from_secs(20), picked_up).await.unwrap();
}

#[tokio::test]
async fn offsets_of_a_deleted_topic_are_deleted() {
    let broker = in_memory().start().await.unwrap();
    let mut client = Raw::open(broker.connect()).await;
    let topic = client.create_topic("events", 1, &[]).await;
    client.produce(topic, Acks::All, &batch(&["one"])).await.unwrap();
    let mut member = Member::new("first");
    member.beat(&mut client).await;
    member.commit(&mut client, topic, 0, 1).await;
    client.ask(&Request::DeleteTopic(TopicName::new("events").unwrap())).await;
    assert_eq!(committed(&mut client).await, []);
}

#[tokio::test] // Hostile input 40.
async fn endless_joins_meet_the_limit_before_memory_ends() {
    let broker = in_memory().start().await.unwrap();
    let mut client = Raw::open(broker.connect()).await;
    client.create_topic("events", 1, &[]).await;
    let mut refused = 0;
    for number in 0..1_100 {
        let mut beat = Member::new(&format!("member-{number}"));
        let request = Request::Heartbeat(Heartbeat {
            group: group(),
            member: beat.id.clone(),
            epoch: std::mem::take(&mut beat.epoch),
            topics: vec![TopicName::new("events").unwrap()],
            owned: Vec::new(),
            session_timeout_ms: 600_000,
            rebalance_timeout_ms: 1_000,
            assignor: None,
            instance: None,
            max_wait_ms: 0,
        });
        if let Response::Failed(failure) = client.ask(&request).await {
            assert_eq!(failure.code, ErrorCode::LimitReached);
            refused += 1;
        }
    }
    assert_eq!(refused, 100);
}

#[tokio::test]
async fn hundreds_of_waiting_heartbeats_on_one_connection_block_no_request() {
    let broker = in_memory().start().await.unwrap();
    let mut client = Raw::open(broker.connect()).await;
    client.create_topic("events", 1, &[]).await;
    let mut members: Vec<Member> = (0..500).map(|number| Member::new(&format!("m{number}"))).collect();
    let says = |member: &Member| Heartbeat { session_timeout_ms: 60_000, ..member.says() };
    for member in &mut members {
        let response = client.ask(&Request::Heartbeat(says(member))).await;
        member.hears(response);
    }
    for member in &members {
        client.send(&Request::Heartbeat(Heartbeat { max_wait_ms: 60_000, ..says(member) }), &[]).await;
    }
    let asked = client.send(&Request::InitProducer(InitProducer::default()), &[]).await;
    let mut answered_before = 0;
    while client.receive().await.expect("every request is answered").0 != asked {
        answered_before += 1;
    }
    // If each took a place among 256, at least 245 had to be answered first, each after a second.
    assert!(answered_before < 200, "{answered_before} answers came first");
    for _ in answered_before..members.len() {
        let (_, response, _) = client.receive().await.expect("every request is answered");
        assert!(matches!(response, Response::Heartbeat(_)), "{response:?}");
    }
    drop(client);
    broker.stop().await.unwrap();
}

#[tokio::test]
async fn a_topic_does_not_grow_beyond_the_memory_of_its_groups() {
    let broker =
        in_memory_with(BrokerConfig { memory: 16 << 20, ..BrokerConfig::at("/grower") }).start().await.unwrap();
    let mut client = Raw::open(broker.connect()).await;
    client.create_topic("events", 1, &[]).await;
    for number in 0..30 {
        let group = GroupId::new(&format!("g{number}")).unwrap();
        let beat = Heartbeat { group, session_timeout_ms: 600_000, ..Member::new("m").says() };
        let joined = client.ask(&Request::Heartbeat(beat)).await;
        assert!(matches!(joined, Response::Heartbeat(_)), "{joined:?}");
    }
    let grow = |partitions| Request::GrowTopic { topic: TopicName::new("events").unwrap(), partitions };
    let Response::Failed(failure) = client.ask(&grow(200)).await else { panic!() };
    assert_eq!(failure.code, ErrorCode::MemoryFull, "{failure}");
    assert_eq!(client.ask(&grow(20)).await, Response::Done);
}
