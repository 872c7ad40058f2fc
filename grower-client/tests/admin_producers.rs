//! Named producers through the admin client.

mod world;

use grower_client::{ErrorCode, Record, TopicSpec};
use world::World;

#[tokio::test]
async fn named_producers_are_listed_described_and_deleted() {
    let world = World::in_memory().await;
    world.topic("events", TopicSpec::partitions(2)).await;
    let (client, admin) = (&world.client, world.client.admin());
    assert!(admin.list_producers(10).await.unwrap().is_empty());
    let producer = client.producer().identity("shipper").build().await.unwrap();
    let other = client.producer().identity("importer").build().await.unwrap();
    let ack = producer.send(Record::new("events").partition(1).value("x")).await.unwrap();

    let listed = admin.list_producers(10).await.unwrap();
    let names: Vec<&str> = listed.iter().map(|producer| producer.name.as_str()).collect();
    assert_eq!(names, ["importer", "shipper"]);
    assert_eq!(admin.list_producers(1).await.unwrap(), listed[..1]);
    let described = admin.describe_producer("shipper").await.unwrap();
    assert_eq!(described.producer, listed[1]);
    let [(_, partition, last)] = described.written[..] else { panic!("{described:?}") };
    assert_eq!((partition, Some(last.offset), last.producer), (ack.partition, ack.offset, listed[1].identity));

    admin.delete_producer("shipper").await.unwrap();
    assert_eq!(admin.list_producers(10).await.unwrap(), listed[..1]);
    let fenced = producer.send(Record::new("events").partition(1).value("y")).await.unwrap_err();
    assert_eq!(fenced.code(), Some(ErrorCode::FencedProducer), "{fenced}");
    for missing in [admin.describe_producer("shipper").await.map(drop), admin.delete_producer("shipper").await] {
        assert_eq!(missing.unwrap_err().code(), Some(ErrorCode::UnknownProducer));
    }
    assert!(admin.describe_producer("n".repeat(64 << 10)).await.is_err());
    other.send(Record::new("events").value("z")).await.unwrap();
}
