//! Many topics in one request: they share syncs, each has its own answer, and a crash loses no acknowledged one.

mod support {
    pub(crate) mod raw;
}

use grower_broker::{Broker, BrokerConfig};
use grower_protocol::ids::{TopicId, TopicName};
use grower_protocol::message::*;
use grower_storage::disk::{Call, FaultDisk, Faults, MemDisk};
use std::sync::Arc;
use support::raw::*;
use tokio::io::DuplexStream;

fn wish(name: &str) -> NewTopic {
    let name = TopicName::new(name).unwrap();
    NewTopic { name, partitions: Some(1), replication_factor: None, configs: Vec::new() }
}

fn wishes(count: usize) -> Vec<NewTopic> {
    (0..count).map(|number| wish(&format!("topic-{number}"))).collect()
}

async fn start(disk: &MemDisk) -> (Broker, Raw<DuplexStream>, Faults) {
    let faulty = FaultDisk::new(disk.clone());
    let faults = faulty.faults();
    let broker = Broker::builder(BrokerConfig::at("/grower")).disk(Arc::new(faulty)).start().await.unwrap();
    let client = Raw::open(broker.connect()).await;
    (broker, client, faults)
}

async fn create(client: &mut Raw<DuplexStream>, topics: Vec<NewTopic>) -> Vec<Part<TopicId>> {
    match client.ask(&Request::CreateTopics { topics }).await {
        Response::CreateTopics(created) => created,
        other => panic!("{other:?}"),
    }
}

/// The topics that there are, each of them served.
async fn topics(client: &mut Raw<DuplexStream>) -> Vec<TopicId> {
    let request = Request::DescribeTopics { topics: None, segments: false };
    let Response::DescribeTopics(found) = client.ask(&request).await else { panic!("no description") };
    let found: Vec<TopicDescription> = found.into_iter().map(Result::unwrap).collect();
    assert!(found.iter().all(|topic| topic.partitions.iter().all(|partition| partition.leader.is_some())));
    found.into_iter().map(|topic| topic.id).collect()
}

fn syncs(faults: &Faults) -> u64 {
    faults.calls(Call::Sync) + faults.calls(Call::SyncDir)
}

#[tokio::test]
async fn a_thousand_topics_take_a_few_syncs_and_each_has_its_answer() {
    let disk = MemDisk::default();
    let (_broker, mut client, faults) = start(&disk).await;
    let existing = client.create_topic("there", 1, &[]).await;
    let mut request = wishes(1_000);
    let refused = NewTopic { configs: vec![("segment.bytes".to_owned(), "none".to_owned())], ..wish("bad") };
    request.extend([wish("there"), refused, wish("two.names"), wish("two_names"), wish("twice"), wish("twice")]);
    let before = syncs(&faults);
    let created = create(&mut client, request).await;
    let taken = syncs(&faults) - before;
    assert!(taken <= 20, "{taken} syncs");
    let codes: Vec<_> = created[1_000..].iter().map(|created| created.as_ref().err().map(|error| error.code)).collect();
    let exists = Some(ErrorCode::TopicExists);
    let invalid = Some(ErrorCode::InvalidRequest);
    assert_eq!((codes[0], codes[2], codes[4], codes[5]), (exists, None, invalid, invalid));
    assert!(codes[1].is_some() && codes[3].is_some(), "{codes:?}");
    let mut expected: Vec<TopicId> = created.into_iter().flatten().chain([existing]).collect();
    assert_eq!(expected.len(), 1_002);
    disk.crash(); // The broker forgets nothing, but the disk does.
    let (_broker, mut client, _faults) = start(&disk.clone()).await;
    let mut found = topics(&mut client).await;
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_crash_at_any_step_loses_no_acknowledged_topic() {
    let whole = {
        let disk = MemDisk::default();
        let (_broker, mut client, faults) = start(&disk).await;
        let before = faults.mutations();
        create(&mut client, wishes(30)).await;
        faults.mutations() - before
    };
    assert!(3 < whole, "{whole} changes of the disk");
    let mut outcomes = std::collections::BTreeSet::new();
    for after in 0..=whole {
        let disk = MemDisk::default();
        let (broker, mut client, faults) = start(&disk).await;
        faults.lose_power_after(faults.mutations() + after);
        let request = Request::CreateTopics { topics: wishes(30) };
        client.send(&request, &[]).await;
        let answered: Vec<TopicId> = match client.receive().await {
            Some((_, Response::CreateTopics(created), _)) => created.into_iter().flatten().collect(),
            _ => Vec::new(), // The broker has ended, or says that it does.
        };
        drop((broker, client));
        disk.crash_torn(after);
        let (broker, mut client, _faults) = start(&disk).await;
        let found = topics(&mut client).await;
        assert!(answered.iter().all(|topic| found.contains(topic)), "power lost after {after} changes");
        assert!(found.is_empty() || found.len() == 30, "they share a batch: {} after {after}", found.len());
        outcomes.insert((answered.len(), found.len()));
        create(&mut client, wishes(30)).await;
        assert_eq!(topics(&mut client).await.len(), 30);
        broker.stop().await.unwrap();
    }
    assert!(outcomes.contains(&(0, 0)) && outcomes.contains(&(30, 30)), "{outcomes:?}");
}
