//! The client against a real broker in the same process.

mod world;

use bytes::Bytes;
use futures_util::StreamExt as _;
use grower_broker::{Broker, BrokerConfig};
use grower_client::ids::{Offset, PartitionId, Timestamp};
use grower_client::{
    Client, Codec, ConsumeError, Durability, ErrorCode, Gap, GapCause, OffsetSpec, OnGap, Outcome, Partitioner,
    ProduceError, Record, StartFrom, TopicSpec, transport,
};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use world::{LONG, World, numbered, read};

#[tokio::test]
async fn a_record_is_read_with_all_its_parts() {
    let world = World::start().await;
    world.topic("events", TopicSpec::partitions(3)).await;
    let producer = world.client.producer().build().await.unwrap();
    let record = Record::new("events").key("k").value("v").header("h", "x").timestamp(Timestamp::from_millis(17));
    let ack = producer.send(record).await.unwrap();
    assert_eq!((ack.offset, ack.durability), (Some(Offset::ZERO), Durability::Fsynced));

    let mut consumer = world.client.consumer().subscribe(["events"]).build().await.unwrap();
    let record = consumer.next().await.unwrap().unwrap();
    assert_eq!((record.partition, record.offset), (ack.partition, Offset::ZERO));
    assert_eq!((record.key, record.value), (Some(Bytes::from("k")), Some(Bytes::from("v"))));
    assert_eq!(record.headers.len(), 1);
    assert_eq!(record.timestamp, Timestamp::from_millis(17));
}

#[tokio::test]
async fn every_codec_round_trips_all_records_in_order() {
    let world = World::start().await;
    for codec in Codec::ALL {
        let topic = format!("events-{codec}");
        world.topic(&topic, TopicSpec::partitions(1)).await;
        let producer = world.client.producer().compression(codec).batch_bytes(5_000).build().await.unwrap();
        for value in numbered(0..2_000) {
            drop(producer.enqueue(Record::new(topic.as_str()).value(value)).await.unwrap());
        }
        producer.close().await.unwrap();
        let mut consumer = world.client.consumer().assign([(topic.as_str(), 0)]).build().await.unwrap();
        assert_eq!(read(&mut consumer, 2_000).await, numbered(0..2_000).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn records_that_wait_for_an_answer_share_a_batch() {
    let world = World::start().await;
    world.topic("events", TopicSpec::partitions(1).config("segment.messages", "1")).await;
    world.produce("events", numbered(0..1_000)).await;
    let described = world.client.admin().describe_topic("events", true).await.unwrap();
    let batches = described.partitions[0].segments.len(); // Each segment holds exactly one batch.
    assert!(batches < 100, "{batches} batches");
}

#[tokio::test]
async fn a_topic_with_many_segments_is_described_completely() {
    let world = World::in_memory().await;
    world.topic("events", TopicSpec::partitions(2).config("segment.messages", "1")).await;
    let producer = world.client.producer().batch_records(1).build().await.unwrap();
    for number in 0..5_100 {
        // The answer comes in several pages; the first partition ends in the middle of one.
        let record = Record::new("events").partition(u32::from(number < 3_300)).value("x");
        drop(producer.enqueue(record).await.unwrap());
    }
    producer.close().await.unwrap();
    let described = world.client.admin().describe_topics(None, true).await.unwrap().remove(0).unwrap();
    for (partition, records) in described.partitions.iter().zip([1_800, 3_300]) {
        assert_eq!(partition.segments.len(), records);
        assert_eq!(partition.log_end.value(), records as u64);
        let ends = partition.segments.iter().map(|segment| segment.end_offset);
        let starts = partition.segments.iter().map(|segment| segment.base_offset);
        assert!(starts.skip(1).eq(ends.take(records - 1)), "each begins where the one before it ends");
    }
    assert!(world.client.admin().describe_topic("events", true).await.unwrap() == described);
}

#[tokio::test]
async fn a_consumer_starts_where_it_is_told() {
    let world = World::start().await;
    world.topic("events", TopicSpec::partitions(1)).await;
    let producer = world.client.producer().build().await.unwrap();
    for number in 0..10 {
        let record = Record::new("events").value(format!("record {number}"));
        producer.send(record.timestamp(Timestamp::from_millis(1_000 * number))).await.unwrap();
    }
    let first = async |from| {
        let mut consumer = world.client.consumer().subscribe(["events"]).from(from).build().await.unwrap();
        read(&mut consumer, 1).await.remove(0)
    };
    assert_eq!(first(StartFrom::Beginning).await, "record 0");
    assert_eq!(first(StartFrom::Offset(Offset::new(4))).await, "record 4");
    assert_eq!(first(StartFrom::Time(Timestamp::from_millis(6_500))).await, "record 7");
    let mut at_end = world.client.consumer().subscribe(["events"]).from(StartFrom::End).build().await.unwrap();
    producer.send(Record::new("events").value("new")).await.unwrap();
    assert_eq!(read(&mut at_end, 1).await, ["new"]);
}

#[tokio::test]
async fn a_consumer_can_seek_and_pause() {
    let world = World::start().await;
    world.topic("events", TopicSpec::partitions(1)).await;
    world.produce("events", numbered(0..100)).await;
    let mut consumer = world.client.consumer().subscribe(["events"]).max_poll_records(3).build().await.unwrap();
    assert_eq!(consumer.poll(LONG).await.unwrap().len(), 3);
    assert_eq!(consumer.position("events", 0), Some(Offset::new(3)));
    assert_eq!(consumer.high_watermark("events", 0), Some(Offset::new(100)));
    assert_eq!(consumer.lag("events", 0), Some(97));

    consumer.seek("events", 0, Offset::new(50)).unwrap();
    assert_eq!(read(&mut consumer, 2).await, ["record 50", "record 51"]);
    consumer.pause("events", 0).unwrap();
    assert!(consumer.poll(Duration::from_millis(20)).await.unwrap().is_empty());
    consumer.resume("events", 0).unwrap();
    assert_eq!(read(&mut consumer, 1).await, ["record 52"]);
    consumer.seek_to_time(Timestamp::MIN).await.unwrap();
    assert_eq!(read(&mut consumer, 1).await, ["record 0"]);
    assert!(matches!(consumer.seek("events", 7, Offset::ZERO), Err(ConsumeError::NotAssigned { .. })));
}

#[tokio::test]
async fn a_missing_topic_is_a_typed_error() {
    let world = World::start().await;
    let producer = world.client.producer().build().await.unwrap();
    let error = producer.send(Record::new("nowhere")).await.unwrap_err();
    assert_eq!((error.code(), error.outcome()), (Some(ErrorCode::UnknownTopic), Outcome::Refused));
    assert!(matches!(producer.send(Record::new("no/where")).await, Err(ProduceError::Name(_))));
    let error = world.client.consumer().subscribe(["nowhere"]).build().await.map(drop).unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::UnknownTopic));
    world.topic("small", TopicSpec::partitions(1)).await;
    let error = producer.send(Record::new("small").partition(4)).await.unwrap_err();
    assert!(matches!(error, ProduceError::UnknownPartition { partitions: 1, .. }), "{error}");
}

#[tokio::test]
async fn a_too_large_record_fails_alone() {
    let world = World::start().await;
    world.topic("events", TopicSpec::partitions(1).config("max.message.bytes", "2000")).await;
    let producer = world.client.producer().build().await.unwrap();
    let mut deliveries = Vec::new();
    for number in 0..200 {
        let length = if number == 77 { 5_000 } else { 100 };
        let value = format!("{number:0length$}");
        deliveries.push(producer.enqueue(Record::new("events").value(value)).await.unwrap());
    }
    let mut offsets = Vec::new();
    for (number, delivery) in deliveries.into_iter().enumerate() {
        match delivery.await {
            Ok(ack) => offsets.push(ack.offset.unwrap().value()),
            Err(error) => {
                assert_eq!(number, 77, "{error}");
                assert_eq!((error.code(), error.outcome()), (Some(ErrorCode::TooLarge), Outcome::Refused));
            }
        }
    }
    assert_eq!(offsets, (0..199).collect::<Vec<u64>>());
}

#[tokio::test]
async fn records_over_the_decompressed_limit_are_written_in_smaller_batches() {
    let world = World::start().await;
    world.topic("events", TopicSpec::partitions(1).config("max.message.bytes", "2KiB")).await;
    for (codec, first) in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd].into_iter().zip((0..).step_by(300)) {
        let producer = world.client.producer().compression(codec).linger(LONG).build().await.unwrap();
        let mut deliveries = Vec::new();
        for number in 0..300 {
            // Compressed they are far below the limit of sent bytes; decompressed, a broker accepts 32 KiB.
            let value = format!("{number:01000}");
            deliveries.push(producer.enqueue(Record::new("events").value(value)).await.unwrap());
        }
        producer.flush().await.unwrap();
        for (delivery, offset) in deliveries.into_iter().zip(first..) {
            assert_eq!(delivery.await.unwrap().offset.unwrap().value(), offset, "{codec}");
        }
    }
}

#[tokio::test]
async fn end_lingers_sends_open_batches_at_once() {
    let world = World::in_memory().await;
    world.topic("events", TopicSpec::partitions(4)).await;
    let builder = world.client.producer().partitioner(Partitioner::RoundRobin).linger(Duration::from_secs(3600));
    let producer = builder.build().await.unwrap();
    let mut deliveries = Vec::new();
    for number in 0..40 {
        deliveries.push(producer.enqueue(Record::new("events").value(number.to_string())).await.unwrap());
    }
    producer.end_lingers();
    let acks = tokio::time::timeout(LONG, futures_util::future::join_all(deliveries)).await.expect("nothing lingers");
    assert!(acks.iter().all(Result::is_ok));
}

#[tokio::test]
async fn round_robin_takes_partitions_in_turn() {
    let world = World::start().await;
    world.topic("rainbow", TopicSpec::partitions(3)).await;
    let producer = world.client.producer().partitioner(Partitioner::RoundRobin).batch_records(1).build().await.unwrap();
    let mut topic_partitions = Vec::new();
    for _ in 0..6 {
        let ack = producer.send(Record::new("rainbow").value("Hello, Kitty")).await.unwrap();
        topic_partitions.push((ack.partition.value(), ack.offset.unwrap().value()));
    }
    assert_eq!(topic_partitions, [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1)]);
}

#[tokio::test]
async fn a_recreated_topic_is_another_topic_to_all_clients() {
    let world = World::start().await;
    world.topic("events", TopicSpec::partitions(1)).await;
    let producer = world.client.producer().build().await.unwrap();
    let mut consumer = world.client.consumer().subscribe(["events"]).build().await.unwrap();
    producer.send(Record::new("events").value("old")).await.unwrap();
    assert_eq!(read(&mut consumer, 1).await, ["old"]);

    world.client.admin().delete_topic("events").await.unwrap();
    world.topic("events", TopicSpec::partitions(1)).await;
    let ack = producer.send(Record::new("events").value("new")).await.unwrap();
    assert_eq!(ack.offset, Some(Offset::ZERO));
    let first = loop {
        match consumer.next().await.unwrap() {
            Ok(record) => break record,
            // The topic did not exist at that moment.
            Err(error) => assert_eq!(error.code(), Some(ErrorCode::UnknownTopic)),
        }
    };
    assert_eq!((first.offset, first.value), (Offset::ZERO, Some(Bytes::from("new"))));
}

#[tokio::test]
async fn new_partitions_are_written_to_and_read_from_their_beginning() {
    let world = World::start().await;
    world.topic("sandbox", TopicSpec::partitions(1)).await;
    let consumer = world.client.consumer().subscribe(["sandbox"]).from(StartFrom::End);
    let mut consumer = consumer.metadata_max_age(Duration::from_millis(20)).build().await.unwrap();
    let producer = world.client.producer().build().await.unwrap();
    producer.send(Record::new("sandbox").value("a").partition(0)).await.unwrap();
    world.client.admin().grow_topic("sandbox", 2).await.unwrap();
    producer.send(Record::new("sandbox").value("b").partition(1)).await.unwrap();
    let mut values = read(&mut consumer, 2).await;
    values.sort();
    assert_eq!(values, ["a", "b"]);
}

#[tokio::test]
async fn acks_none_reports_no_durability() {
    let world = World::start().await;
    world.topic("events", TopicSpec::partitions(1)).await;
    let producer = world.client.producer().acks(grower_client::Acks::None).build().await.unwrap();
    for value in numbered(0..100) {
        let ack = producer.send(Record::new("events").value(value)).await.unwrap();
        assert_eq!((ack.offset, ack.durability), (None, Durability::None));
    }
    let mut consumer = world.client.consumer().subscribe(["events"]).build().await.unwrap();
    assert_eq!(read(&mut consumer, 100).await, numbered(0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_small_memory_slows_a_producer_and_loses_nothing() {
    let world = World::start().await;
    world.topic("events", TopicSpec::partitions(1)).await;
    let producer = world.client.producer().memory(2_000).build().await.unwrap();
    for value in numbered(0..1_000) {
        drop(producer.enqueue(Record::new("events").value(value)).await.unwrap());
    }
    producer.close().await.unwrap();
    let error = producer.send(Record::new("events")).await.unwrap_err();
    assert!(matches!(error, ProduceError::Closed));
    let mut consumer = world.client.consumer().subscribe(["events"]).prefetch_bytes(1).build().await.unwrap();
    assert_eq!(read(&mut consumer, 1_000).await, numbered(0..1_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_full_memory_ends_the_linger() {
    let world = World::start().await;
    world.topic("events", TopicSpec::partitions(1)).await;
    let producer = world.client.producer().memory(2_000).linger(Duration::from_secs(3600)).build().await.unwrap();
    // Two records of 800 bytes fit at a time.
    let enqueue = |_| producer.enqueue(Record::new("events").value(vec![0; 800]));
    futures_util::future::join_all((0..100).map(enqueue))
        .await
        .into_iter()
        .for_each(|delivery| drop(delivery.unwrap()));
    producer.flush().await.unwrap();
    let consumer = world.client.consumer().subscribe(["events"]).build().await.unwrap();
    let offsets: Vec<u64> = consumer.take(100).map(|record| record.unwrap().offset.value()).collect().await;
    assert_eq!(offsets, (0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn retention_moves_a_reader_forward_and_never_to_the_end() {
    let world = World::start().await;
    let spec = TopicSpec::partitions(1).config("segment.messages", "1");
    world.topic("events", spec.config("retention.messages", "3")).await;
    let producer = world.client.producer().batch_records(1).build().await.unwrap();
    for value in numbered(0..10) {
        producer.send(Record::new("events").value(value)).await.unwrap();
    }
    let start = async || {
        let lookup = [("events", 0, OffsetSpec::Beginning)];
        let mut found = world.client.admin().list_offsets(lookup).await.unwrap();
        found.remove(0).unwrap().offset.unwrap()
    };
    while start().await == Offset::ZERO {
        tokio::task::yield_now().await;
    }
    let from = StartFrom::Offset(Offset::new(1));
    let mut consumer = world.client.consumer().assign([("events", 0)]).from(from).build().await.unwrap();
    let first = consumer.next().await.unwrap().unwrap();
    assert!(Offset::new(1) < first.offset && first.offset <= start().await, "{}", first.offset);

    consumer.seek("events", 0, Offset::new(99)).unwrap();
    let error = consumer.next().await.unwrap().unwrap_err();
    let ConsumeError::OffsetOutOfRange { requested, high_watermark, .. } = error else { panic!("{error}") };
    assert_eq!((requested, high_watermark), (Offset::new(99), Offset::new(10)));
}

#[tokio::test]
async fn a_reader_behind_a_trim_learns_the_exact_gap() {
    let world = World::start().await;
    world.topic("events", TopicSpec::partitions(1).config("segment.messages", "10")).await;
    let producer = world.client.producer().batch_records(10).build().await.unwrap();
    for _ in 0..400 {
        drop(producer.enqueue(Record::new("events").value(vec![b'x'; 1_000])).await.unwrap());
    }
    producer.flush().await.unwrap();
    let gaps = Arc::new(Mutex::new(Vec::new()));
    let told = gaps.clone();
    let reading = world.client.consumer().assign([("events", 0)]).from(StartFrom::Beginning).prefetch_bytes(1);
    let rule = move |gap: &Gap| {
        told.lock().unwrap().push(gap.clone());
        OnGap::Continue
    };
    let mut consumer = reading.on_gap(rule).build().await.unwrap();
    let mut expected = consumer.next().await.unwrap().unwrap().offset.value() + 1;
    world.client.admin().trim_topic("events", [(0, Offset::new(350))]).await.unwrap();
    while expected < 400 {
        let offset = consumer.next().await.unwrap().unwrap().offset;
        if let Some(gap) = gaps.lock().unwrap().pop() {
            assert_eq!((gap.offsets, gap.cause), (Offset::new(expected)..offset, GapCause::Retention));
            assert_eq!((offset.value(), gap.resumes_at), (350, offset));
            expected = 350;
        }
        assert_eq!(offset.value(), expected, "what is passed over is told");
        expected += 1;
    }
}

#[tokio::test]
async fn both_transports_keep_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = BrokerConfig::at(dir.path());
    config.disk_reserve_bytes = Some(1 << 20);
    (config.listen, config.http) = (Some("127.0.0.1:0".parse().unwrap()), None);
    let broker = Broker::start(config).await.unwrap();
    let address = broker.listen_address().unwrap().to_string();
    transport::contract::check(&transport::Tcp, &address).await;
    transport::contract::check(&transport::in_process(broker.connector()), "anywhere").await;
}

#[tokio::test]
async fn a_client_survives_a_broker_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = BrokerConfig::at(dir.path());
    config.disk_reserve_bytes = Some(1 << 20);
    (config.listen, config.http) = (Some("127.0.0.1:0".parse().unwrap()), None);
    let broker = Broker::start(config.clone()).await.unwrap();
    let address = broker.listen_address().unwrap();
    let client = Client::connect(address.to_string()).await.unwrap();
    client.admin().create_topic("events", TopicSpec::partitions(1)).await.unwrap();
    let producer = client.producer().build().await.unwrap();
    producer.send(Record::new("events").value("before")).await.unwrap();
    let mut consumer = client.consumer().subscribe(["events"]).build().await.unwrap();
    assert_eq!(read(&mut consumer, 1).await, ["before"]);
    broker.stop().await.unwrap();

    let waiting = producer.enqueue(Record::new("events").value("meanwhile")).await.unwrap();
    config.listen = Some(address);
    let _broker = Broker::start(config).await.unwrap();
    assert_eq!(waiting.await.unwrap().partition, PartitionId::new(0));
    assert_eq!(read(&mut consumer, 1).await, ["meanwhile"]);
}
