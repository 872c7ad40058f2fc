//! A partition whose files are gone, and come back.

use super::client::*;
use super::raw::*;
use grower_broker::{Broker, BrokerConfig, Clock};
use grower_protocol::ids::{Offset, PartitionId, Timestamp, TopicId, TopicName};
use grower_protocol::message::*;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::DuplexStream;

/// The wall clock, and seconds that pass as the test says.
#[derive(Default)]
struct Seconds(AtomicU64);

impl Clock for Seconds {
    fn wall(&self) -> Timestamp {
        now()
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::SeqCst))
    }
}

/// A broker with one record in partition 0 of `events`, in a full segment.
async fn with_a_full_segment(dir: &Path, clock: &Arc<Seconds>) -> (Broker, Raw<DuplexStream>, TopicId) {
    let config = BrokerConfig { retention_check: Duration::from_millis(10), ..config_at(dir) };
    let broker = Broker::start(config.clone()).await.unwrap();
    let mut producer = Raw::open(broker.connect()).await;
    let events = producer.create_topic("events", 1, &[("segment.messages", "1")]).await;
    producer.produce(events, Acks::All, &batch(&["one"])).await.unwrap();
    broker.stop().await.unwrap();
    let broker = Broker::builder(config).clock(clock.clone()).start().await.unwrap();
    let producer = Raw::open(broker.connect()).await;
    (broker, producer, events)
}

#[tokio::test]
async fn a_waiting_slot_survives_an_offline_partition() {
    for trims in [true, false] {
        let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::<Seconds>::default());
        let (broker, mut producer, events) = with_a_full_segment(dir.path(), &clock).await;
        let mut client = SessionClient::open(&broker, vec![slot(0, events, 0)]).await;
        assert_eq!(client.ask(poll()).await, [read(0, 0, &["one"])]);
        let mut silent = SessionClient::open(&broker, vec![slot(0, events, 0)]).await;
        assert_eq!(silent.ask(poll()).await, [read(0, 0, &["one"])]);
        client.send(poll()).await;
        let (home, away) = (dir.path().join("topics/events/0"), dir.path().join("away"));
        fs::rename(&home, &away).unwrap();
        if trims {
            let before = vec![(PartitionId::new(0), Offset::new(1))];
            producer.ask(&Request::TrimTopic { topic: TopicName::new("events").unwrap(), before }).await;
        } else {
            producer.produce(events, Acks::All, &batch(&["lost"])).await.unwrap_err(); // It rolls.
        }
        assert_eq!(client.receive().await, (2, vec![(0, 1, Err(ErrorCode::PartitionOffline))]), "{trims}");
        fs::rename(&away, &home).unwrap();
        while producer.fetch(fetch_from(events, 1)).await.0[0].is_err() {
            clock.0.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        producer.produce(events, Acks::All, &batch(&["two"])).await.unwrap();
        assert_eq!(silent.ask(poll()).await, [read(0, 1, &["two"])]);
        broker.stop().await.unwrap();
    }
}
