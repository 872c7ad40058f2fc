//! A data directory that is moved away or replaced while a broker serves it: the broker notices and stops, and touches
//! nothing at the old path.

mod support {
    pub(crate) mod raw;
}

use grower_broker::Broker;
use grower_protocol::message::*;
use std::fs;
use std::time::Duration;
use support::raw::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_with_a_moved_directory_stops_and_writes_nothing_at_the_old_path() {
    for replaced in [false, true] {
        let root = tempfile::tempdir().unwrap();
        let (data, moved) = (root.path().join("data"), root.path().join("moved"));
        let broker = Broker::start(config_at(&data)).await.unwrap();
        let mut client = Raw::open(broker.connect()).await;
        let topic = client.create_topic("events", 2, &[]).await;
        client.produce(topic, Acks::All, &batch(&["before"])).await.unwrap();
        fs::rename(&data, &moved).unwrap();
        if replaced {
            fs::create_dir(&data).unwrap();
        }
        let answer = client.ask(&Request::CreateTopics { topics: vec![new_topic("later")] }).await;
        let failed = tokio::time::timeout(Duration::from_secs(60), broker.failed()).await;
        let reason = failed.unwrap_or_else(|_| panic!("it still runs: {answer:?}"));
        assert!(reason.contains("moved away or replaced"), "{reason}");
        assert!(broker.stop().await.is_err());
        assert!(fs::read_dir(&data).map_or(0, Iterator::count) == 0, "nothing is written to the old place");

        let broker = Broker::start(config_at(&moved)).await.unwrap();
        let mut client = Raw::open(broker.connect()).await;
        assert_eq!(client.values(topic, 0).await, ["before"]);
        broker.stop().await.unwrap();
    }
}

fn new_topic(name: &str) -> NewTopic {
    let name = grower_protocol::ids::TopicName::new(name).unwrap();
    NewTopic { name, partitions: Some(1), replication_factor: None, configs: Vec::new() }
}
