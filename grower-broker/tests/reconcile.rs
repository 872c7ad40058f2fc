//! Commands, disk and broker come to agree, whatever failed.

mod support {
    pub(crate) mod raw;
}

use grower_broker::{Broker, BrokerConfig};
use grower_protocol::ids::TopicName;
use grower_protocol::message::*;
use grower_storage::disk::{Call, Disk, Fault, FaultDisk, MemDisk};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use support::raw::*;
use tokio::io::DuplexStream;

type FaultyDisk = Arc<FaultDisk<MemDisk>>;

fn name(topic: &str) -> TopicName {
    TopicName::new(topic).unwrap()
}

/// Looks at what is not done yet so often that a test need not wait.
fn busy(config: BrokerConfig) -> BrokerConfig {
    BrokerConfig { retention_check: Duration::from_millis(5), ..config }
}

async fn start_on(disk: &FaultyDisk) -> (Broker, Raw<DuplexStream>) {
    let broker = Broker::builder(busy(BrokerConfig::at("/grower"))).disk(disk.clone()).start().await.unwrap();
    let client = Raw::open(broker.connect()).await;
    (broker, client)
}

async fn start_at(dir: &Path) -> (Broker, Raw<DuplexStream>) {
    let broker = Broker::start(busy(config_at(dir))).await.unwrap();
    let client = Raw::open(broker.connect()).await;
    (broker, client)
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("never: {what}"));
}

fn names(disk: &FaultyDisk, dir: &str) -> Vec<String> {
    let entries = disk.list(Path::new(dir)).unwrap_or_default();
    entries.into_iter().map(|entry| entry.name).collect()
}

#[tokio::test]
async fn a_deletion_with_unmovable_files_is_finished_while_the_broker_runs() {
    let disk: FaultyDisk = Arc::new(FaultDisk::new(MemDisk::default()));
    let faults = disk.faults();
    let (broker, mut client) = start_on(&disk).await;
    let topic = client.create_topic("events", 2, &[]).await;
    client.produce(topic, Acks::All, &batch(&["old"])).await.unwrap();
    // No room for the directory `deleted`, once.
    faults.inject(Fault::full(Call::CreateDir, faults.calls(Call::CreateDir)));
    let deleted = client.ask(&Request::DeleteTopic(name("events"))).await;
    assert!(matches!(deleted, Response::Failed(_)), "{deleted:?}");
    let is_empty = |dir| names(&disk, dir).is_empty();
    until("the files are gone", || is_empty("/grower/topics") && is_empty("/grower/deleted")).await;
    let again = client.create_topic("events", 1, &[]).await;
    client.produce(again, Acks::All, &batch(&["new"])).await.unwrap();
    assert_eq!(client.values(again, 0).await, ["new"]);
    broker.stop().await.unwrap();
    assert_eq!(names(&disk, "/grower/quarantine"), Vec::<String>::new());
}

#[tokio::test]
async fn a_deletion_that_a_start_cannot_finish_does_not_stop_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let (broker, mut client) = start_at(dir.path()).await;
    let topic = client.create_topic("events", 1, &[]).await;
    client.produce(topic, Acks::All, &batch(&["old"])).await.unwrap();
    fs::write(dir.path().join("deleted"), b"in the way").unwrap();
    client.ask(&Request::DeleteTopic(name("events"))).await;
    let Response::CreateTopics(created) = client.ask(&create("events")).await else { panic!("no topic") };
    assert!(created[0].is_err(), "the files of the old topic are in its way");
    drop(client);
    broker.stop().await.unwrap();
    let (broker, mut client) = start_at(dir.path()).await;
    fs::remove_file(dir.path().join("deleted")).unwrap();
    let again = until_served(&mut client, "events").await;
    client.produce(again, Acks::All, &batch(&["new"])).await.unwrap();
    assert_eq!(client.values(again, 0).await, ["new"]);
    broker.stop().await.unwrap();
}

fn create(topic: &str) -> Request {
    let name = name(topic);
    let topics = vec![NewTopic { name, partitions: Some(1), replication_factor: None, configs: Vec::new() }];
    Request::CreateTopics { topics }
}

async fn until_served(client: &mut Raw<DuplexStream>, topic: &str) -> grower_protocol::ids::TopicId {
    let asked = Metadata { topics: Some(vec![name(topic)]), create_missing: false };
    let Response::Metadata(answer) = client.ask(&Request::Metadata(asked)).await else { panic!("no metadata") };
    let id = answer.topics[0].clone().unwrap().id;
    for _ in 0..10_000 {
        if client.list_offset(id, OffsetSpec::End).await.is_ok() {
            return id;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("{topic} is never served");
}

#[tokio::test]
async fn a_topic_that_could_not_be_opened_when_it_was_made_is_served_soon() {
    let disk: FaultyDisk = Arc::new(FaultDisk::new(MemDisk::default()));
    let faults = disk.faults();
    let (broker, mut client) = start_on(&disk).await;
    faults.inject(Fault::io(Call::List, faults.calls(Call::List)).from_then_on());
    let Response::CreateTopics(created) = client.ask(&create("events")).await else { panic!("no topic") };
    assert!(created[0].is_err(), "{created:?}");
    faults.heal();
    let topic = until_served(&mut client, "events").await;
    client.produce(topic, Acks::All, &batch(&["one"])).await.unwrap();
    broker.stop().await.unwrap();
}

#[tokio::test]
async fn records_of_a_deleted_topic_with_a_damaged_identity_stay_out_of_a_later_topic() {
    let dir = tempfile::tempdir().unwrap();
    let (broker, mut client) = start_at(dir.path()).await;
    for damage in ["a bit", "the file"] {
        let topic = client.create_topic("secrets", 1, &[]).await;
        client.produce(topic, Acks::All, &batch(&["to be deleted"])).await.unwrap();
        let meta = dir.path().join("topics/secrets/0/partition.meta");
        let mut bytes = fs::read(&meta).unwrap();
        bytes[20] ^= 1;
        fs::write(&meta, bytes).unwrap();
        if damage == "the file" {
            fs::remove_file(&meta).unwrap();
        }
        assert_eq!(client.ask(&Request::DeleteTopic(name("secrets"))).await, Response::Done);
        let again = client.create_topic("secrets", 1, &[]).await;
        assert_eq!(client.values(again, 0).await, Vec::<String>::new(), "without {damage}");
        client.produce(again, Acks::All, &batch(&["new"])).await.unwrap();
        assert_eq!(client.ask(&Request::DeleteTopic(name("secrets"))).await, Response::Done);
    }
    assert!(dir.path().join("quarantine/secrets-0-0").is_dir() && dir.path().join("quarantine/secrets-0-1").is_dir());
    broker.stop().await.unwrap();
}

#[tokio::test]
async fn records_of_an_unknown_topic_are_moved_away_for_a_new_topic() {
    let dir = tempfile::tempdir().unwrap();
    let (broker, mut client) = start_at(dir.path()).await;
    let other = client.create_topic("other", 1, &[]).await;
    client.produce(other, Acks::All, &batch(&["of another"])).await.unwrap();
    for (topic, with_identity) in [("foreign", true), ("unknown", false)] {
        let place = dir.path().join("topics").join(topic).join("0");
        fs::create_dir_all(&place).unwrap();
        for entry in fs::read_dir(dir.path().join("topics/other/0")).unwrap().map(Result::unwrap) {
            if with_identity || entry.file_name() != "partition.meta" {
                fs::copy(entry.path(), place.join(entry.file_name())).unwrap();
            }
        }
        let id = client.create_topic(topic, 1, &[]).await;
        assert_eq!(client.values(id, 0).await, Vec::<String>::new(), "{topic}");
        client.produce(id, Acks::All, &batch(&["new"])).await.unwrap();
        assert!(dir.path().join("quarantine").join(format!("{topic}-0-0")).is_dir());
    }
    broker.stop().await.unwrap();
}

#[tokio::test]
async fn a_deletion_leaves_no_file_of_a_partition_that_was_moved_and_linked() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (broker, mut client) = start_at(dir.path()).await;
    let topic = client.create_topic("events", 2, &[]).await;
    client.produce(topic, Acks::All, &batch(&["one"])).await.unwrap();
    drop(client);
    broker.stop().await.unwrap();
    let (partition, moved) = (dir.path().join("topics/events/0"), elsewhere.path().join("moved"));
    fs::rename(&partition, &moved).unwrap();
    std::os::unix::fs::symlink(&moved, &partition).unwrap();
    let (broker, mut client) = start_at(dir.path()).await;
    assert_eq!(client.values(topic, 0).await, ["one"]);
    assert_eq!(client.ask(&Request::DeleteTopic(name("events"))).await, Response::Done);
    let is_empty = |dir: &Path| fs::read_dir(dir).unwrap().next().is_none();
    until("all files are gone", || is_empty(&moved) && is_empty(&dir.path().join("deleted"))).await;
    assert!(!dir.path().join("topics/events").exists(), "no empty directory stays");
    broker.stop().await.unwrap();
}

#[tokio::test]
async fn leftovers_of_earlier_deletions_are_removed_and_a_foreign_file_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (broker, _) = start_at(dir.path()).await;
    broker.stop().await.unwrap();
    let deleted = dir.path().join("deleted");
    let left = deleted.join("6d2f8a9c-1b7e-4c55-9f0e-3a1d2b4c5e6f-0");
    fs::create_dir_all(&left).unwrap();
    fs::write(left.join("00000000000000000000.growerlog"), b"deleted").unwrap();
    fs::write(deleted.join("notes.txt"), b"mine").unwrap();
    let (broker, _) = start_at(dir.path()).await;
    until("it is cleared", || fs::read_dir(&deleted).unwrap().next().is_none()).await;
    assert_eq!(fs::read(dir.path().join("quarantine/notes.txt-0")).unwrap(), b"mine");
    broker.stop().await.unwrap();
}

#[tokio::test]
async fn a_lack_of_descriptors_after_a_durable_command_is_temporary() {
    let mut delayed = 0;
    for call in [Call::Open, Call::Read, Call::List] {
        let disk: FaultyDisk = Arc::new(FaultDisk::new(MemDisk::default()));
        let faults = disk.faults();
        let (broker, mut client) = start_on(&disk).await;
        faults.inject(Fault::no_descriptors(call, faults.calls(call)).from_then_on());
        let topic =
            NewTopic { name: name("events"), partitions: Some(1), replication_factor: None, configs: Vec::new() };
        let Response::CreateTopics(created) = client.ask(&Request::CreateTopics { topics: vec![topic] }).await else {
            panic!("no answer about topics")
        };
        if let Err(failure) = &created[0] {
            assert!(failure.code.is_retriable() && failure.code.outcome() == Outcome::Unknown, "{call:?}: {failure:?}");
            delayed += 1;
        }
        faults.heal();
        broker.stop().await.unwrap();
    }
    assert!(0 < delayed, "opening a log asks for none of these");
}
