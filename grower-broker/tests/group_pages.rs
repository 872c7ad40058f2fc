//! Lists of all groups come in pages of bounded size, whatever clients wrote into them.

mod support {
    pub mod raw;
}

use grower_broker::{Broker, BrokerConfig};
use grower_protocol::ids::{GroupId, MemberEpoch, MemberId, Offset, PartitionId, TopicId, TopicName};
use grower_protocol::message::*;
use support::raw::*;
use tokio::io::DuplexStream;

type Client = Raw<DuplexStream>;

/// Makes a new group commit offsets in this many partitions, each with a metadata text.
async fn commit_outside(client: &mut Client, id: &str, topic: TopicId, partitions: u32, text: &str) {
    let offset = |partition| OffsetToCommit {
        topic,
        partition: PartitionId::new(partition),
        offset: Offset::ZERO,
        leader_epoch: None,
        metadata: text.to_owned(),
    };
    for offsets in (0..partitions).map(offset).collect::<Vec<_>>().chunks(500) {
        let group = GroupId::new(id).unwrap();
        let commit =
            OffsetCommit { group, committer: CommitterIdentity::Anonymous, sequence: 0, offsets: offsets.to_vec() };
        let Response::CommitOffsets(parts) = client.ask(&Request::CommitOffsets(commit)).await else { panic!() };
        assert!(parts.iter().all(Result::is_ok));
    }
}

/// All groups, in pages of this size.
async fn list_all(client: &mut Client, most: u32) -> Vec<Vec<GroupDescription>> {
    let (mut pages, mut after) = (Vec::new(), None);
    while pages.is_empty() || after.is_some() {
        let answer = client.ask(&Request::ListGroups { after, most }).await;
        let Response::ListGroups { groups, next } = answer else { panic!("{answer:?}") };
        pages.push(groups);
        after = next;
    }
    pages
}

fn names(pages: &[Vec<GroupDescription>]) -> Vec<String> {
    pages.iter().flatten().map(|seen| seen.group.to_string()).collect()
}

#[tokio::test]
async fn groups_come_in_pages_that_a_client_can_read() {
    let broker = in_memory().start().await.unwrap();
    let mut client = Raw::open(broker.connect()).await;
    let topic = client.create_topic("events", 5_000, &[]).await;
    let all: Vec<String> = (0..1_001).map(|number| format!("{number:04}")).collect();
    for (number, id) in all.iter().enumerate().rev() {
        commit_outside(&mut client, id, topic, if number < 8 { 5_000 } else { 1 }, "").await;
    }
    let pages = list_all(&mut client, u32::MAX).await;
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [5, 996], "180 kB each at first");
    assert!(names(&pages) == all);
    let pages = list_all(&mut client, 500).await;
    let lengths: Vec<usize> = pages.iter().map(Vec::len).collect();
    assert!(lengths == [5, 500, 496] && names(&pages) == all, "{lengths:?}, and no more than was asked for");
    let Response::ListGroups { groups, next } = client.ask(&Request::ListGroups { after: None, most: 0 }).await else {
        panic!()
    };
    assert_eq!((groups.len(), next.unwrap().as_str()), (1, "0000"), "one leads on");
}

#[tokio::test]
async fn pages_are_small_where_memory_is() {
    let config = BrokerConfig { memory: 32 << 20, ..BrokerConfig::at("/grower") };
    let broker = in_memory_with(config).start().await.unwrap();
    let mut client = Raw::open(broker.connect()).await;
    let topic = client.create_topic("events", 4_000, &[]).await;
    for id in ["a", "b", "c", "d"] {
        commit_outside(&mut client, id, topic, 3_900, "").await;
    }
    let pages = list_all(&mut client, u32::MAX).await;
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [3, 1], "140 kB each, and half a MiB for a page");
}

/// A group with this many members, each subscribed to a thousand topics with the longest names.
async fn a_huge_group(client: &mut Client, id: &str, members: usize) {
    let topics: Vec<TopicName> = (0..1_000).map(|number| TopicName::new(&format!("{number:0>249}")).unwrap()).collect();
    for number in 0..members {
        let beat = Heartbeat {
            group: GroupId::new(id).unwrap(),
            member: MemberId::new(&format!("m{number}")).unwrap(),
            epoch: MemberEpoch::new(0),
            topics: topics.clone(),
            owned: Vec::new(),
            session_timeout_ms: 600_000,
            rebalance_timeout_ms: 600_000,
            assignor: None,
            instance: None,
            max_wait_ms: 0,
        };
        let joined = client.ask(&Request::Heartbeat(beat)).await;
        assert!(matches!(joined, Response::Heartbeat(_)), "{joined:?}");
    }
}

#[tokio::test]
async fn a_group_too_large_for_an_answer_hides_no_other() {
    let broker: Broker = in_memory().start().await.unwrap();
    let mut client = Raw::open(broker.connect()).await;
    let topic = client.create_topic("events", 4_500, &[]).await;
    a_huge_group(&mut client, "b", 70).await;
    for id in ["a", "d"] {
        commit_outside(&mut client, id, topic, 1, "").await;
    }
    commit_outside(&mut client, "c", topic, 4_500, &"x".repeat(4096)).await;
    for id in ["b", "c"] {
        let alone = client.ask(&Request::DescribeGroup(GroupId::new(id).unwrap())).await;
        assert!(matches!(&alone, Response::Failed(failure) if failure.code == ErrorCode::LimitReached), "{id}");
    }
    let pages = list_all(&mut client, u32::MAX).await;
    assert_eq!(names(&pages), ["a", "b", "c", "d"]);
    let seen: Vec<_> = pages.iter().flatten().map(|seen| (seen.is_in_brief(), seen.offsets.len())).collect();
    assert_eq!(seen, [(false, 1), (true, 0), (false, 4_500), (false, 1)], "of c the texts are left out");
}
