//! A record that the broker refuses fails alone, with the broker's reason.
#![expect(clippy::disallowed_methods, reason = "a test reads the clock")]

mod world;

use grower_client::ids::Timestamp;
use grower_client::{Codec, ErrorCode, Outcome, ProduceError, Producer, Record, TopicSpec};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::timeout;
use world::{LONG, World};

const DAY: Duration = Duration::from_secs(86_400);

fn in_a_day() -> Timestamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_millis(i64::try_from((now + DAY).as_millis()).unwrap())
}

/// A producer that collects a batch until the test ends its linger.
async fn producer(world: &World) -> Producer {
    world.client.producer().linger(LONG).build().await.unwrap()
}

async fn send(producer: &Producer, records: impl IntoIterator<Item = Record>) -> Vec<Result<u64, ProduceError>> {
    let mut deliveries = Vec::new();
    for record in records {
        deliveries.push(producer.enqueue(record).await.unwrap());
    }
    producer.end_lingers();
    let mut outcomes = Vec::new();
    for delivery in deliveries {
        let outcome = timeout(LONG, delivery).await.expect("each record has an outcome");
        outcomes.push(outcome.map(|ack| ack.offset.unwrap().value()));
    }
    outcomes
}

#[tokio::test]
async fn a_refused_record_does_not_fail_its_neighbours() {
    let world = World::in_memory().await;
    world.topic("t", TopicSpec::partitions(1).config("max.message.bytes", "2KiB")).await;
    world.topic("compacted", TopicSpec::partitions(1).config("cleanup.policy", "compact")).await;
    let producer = producer(&world).await;
    let good = |topic: &str| Record::new(topic).key("k").value("v");
    for (topic, refused, code) in [
        ("t", good("t").timestamp(in_a_day()), ErrorCode::InvalidTimestamp),
        ("t", good("t").value(vec![0; 5_000]), ErrorCode::TooLarge),
        ("compacted", Record::new("compacted").value("v"), ErrorCode::InvalidRecord),
    ] {
        let before = send(&producer, [good(topic)]).await[0].clone().unwrap();
        let records = (0..10).map(|number| if number == 5 { refused.clone() } else { good(topic) });
        let outcomes = send(&producer, records).await;
        let error = outcomes[5].as_ref().unwrap_err();
        assert_eq!((error.code(), error.outcome()), (Some(code), Outcome::Refused), "{error}");
        let offsets: Vec<u64> = outcomes.iter().flatten().copied().collect();
        assert_eq!(offsets, (before + 1..before + 10).collect::<Vec<_>>(), "{code:?}");
    }
}

#[tokio::test]
async fn exactly_the_refused_ones_of_thousands_of_records_fail() {
    let world = World::in_memory().await;
    world.topic("compacted", TopicSpec::partitions(1).config("cleanup.policy", "compact")).await;
    let producer = world.client.producer().linger(LONG).compression(Codec::Lz4).build().await.unwrap();
    for (divisor, expected) in [(1, 2_000), (2, 1_000), (97, 21)] {
        let records = (0..2_000).map(|number| {
            let record = Record::new("compacted").value("v");
            if number % divisor == 0 { record } else { record.key(number.to_string()) }
        });
        let sending = producer.enqueue_all(records).await;
        producer.end_lingers();
        let outcome = timeout(LONG, sending).await.expect("it ends").unwrap_err();
        assert!(outcome.failures().map(|(index, _)| index).eq((0..2_000).step_by(divisor)));
        assert_eq!((outcome.failures().count(), outcome.acks().len()), (expected, 2_000 - expected));
    }
}
