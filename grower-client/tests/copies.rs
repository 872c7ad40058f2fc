//! Records that are copied from one topic to another.

mod world;

use bytes::Bytes;
use grower_client::ids::{Offset, Timestamp};
use grower_client::{ConsumerRecord, Header, Record, TopicSpec};
use world::{World, topic_partition};

#[tokio::test]
async fn a_copied_record_keeps_its_parts() {
    let world = World::in_memory().await;
    for topic in ["events", "archive"] {
        world.topic(topic, TopicSpec::partitions(2)).await;
    }
    let producer = world.client.producer().build().await.unwrap();
    let whole = Record::new("events").key("k").value("").header("h", "1").header_without_value("h").header("", "");
    let whole = whole.headers([Header { name: Bytes::from("last"), value: None }]);
    let records = [whole, Record::new("events").value("no key"), Record::new("events").key("no value")];
    for record in records {
        producer.send(record.timestamp(Timestamp::from_millis(17)).partition(1)).await.unwrap();
    }
    let reader = async |topic| world.client.consumer().assign([(topic, 1)]).build().await.unwrap();
    let (mut events, mut archive) = (reader("events").await, reader("archive").await);
    for _ in 0..3 {
        let record = events.next().await.unwrap().unwrap();
        producer.send(record.to_record("archive").partition(record.partition)).await.unwrap();
        let copy = archive.next().await.unwrap().unwrap();
        assert_eq!(copy.topic_partition(), topic_partition("archive", 1));
        let parts = |record: &ConsumerRecord| {
            (record.key.clone(), record.value.clone(), record.headers.clone(), record.timestamp)
        };
        assert_eq!(parts(&copy), parts(&record));
        if record.offset == Offset::ZERO {
            let value = |name| copy.header(name).map(|header| header.value.as_deref());
            assert_eq!([value("h"), value("last"), value("")], [Some(None), Some(None), Some(Some(&b""[..]))]);
            assert_eq!(value("absent"), None);
        }
    }
}
