//! Every queued record gets an outcome, even if its topic is deleted meanwhile.
#![expect(clippy::disallowed_methods, reason = "a test measures how long a call takes")]

mod support;
mod world;

use futures_util::{FutureExt, future::join_all, poll};
use grower_client::{Delivery, ErrorCode, Outcome, ProduceError, Producer, ProducerBuilder, Record, TopicSpec};
use grower_protocol::message::Request;
use std::pin::{Pin, pin};
use std::time::{Duration, Instant};
use support::{Act, FakeBroker, TOPIC};
use tokio::time::timeout;
use world::{Gate, LONG, World};

/// The size of a record that fills the memory of a [`narrow`] producer.
fn large() -> Record {
    Record::new(TOPIC).value(vec![b'x'; 4_000])
}

fn narrow(builder: ProducerBuilder) -> ProducerBuilder {
    builder.memory(5_000).delivery_timeout(Duration::from_secs(5))
}

type Sending<'a> = Pin<Box<dyn Future<Output = Result<Delivery, ProduceError>> + 'a>>;

/// Deletes the topic of a sent record while another record waits for its memory. Returns the waiting record, which has
/// the memory now but has not been polled yet.
async fn waiting_while_the_topic_is_deleted<'a>(fake: &FakeBroker, producer: &'a Producer) -> Sending<'a> {
    producer.send(large()).await.unwrap();
    fake.delete_topic();
    let sent = producer.enqueue(large()).await.unwrap();
    let mut waiting: Sending<'a> = Box::pin(producer.enqueue(large()));
    assert!(poll!(&mut waiting).is_pending(), "there is room for one record");
    let lost = timeout(LONG, sent).await.expect("a record of a deleted topic ends").unwrap_err();
    assert_eq!((lost.code(), lost.outcome()), (Some(ErrorCode::UnknownTopic), Outcome::Refused));
    waiting
}

#[tokio::test]
async fn a_record_waiting_for_memory_survives_the_recreation_of_its_topic() {
    let fake = FakeBroker::new(|_| Act::Serve);
    let producer = narrow(fake.client().await.producer()).build().await.unwrap();
    let waiting = waiting_while_the_topic_is_deleted(&fake, &producer).await;
    fake.create_topic(8);
    let delivery = waiting.await.unwrap();
    timeout(LONG, producer.flush()).await.expect("a flush ends").unwrap();
    assert_eq!(fake.values().len(), 1, "the flush waited for it");
    delivery.now_or_never().expect("it is settled").unwrap();
}

#[tokio::test]
async fn deleting_a_topic_fails_records_waiting_for_memory_and_releases_it() {
    let fake = FakeBroker::new(|_| Act::Serve);
    let producer = narrow(fake.client().await.producer()).build().await.unwrap();
    let waiting = waiting_while_the_topic_is_deleted(&fake, &producer).await;
    let error = timeout(LONG, waiting).await.expect("it ends").unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::UnknownTopic));
    fake.create_topic(8);
    timeout(LONG, producer.send(large())).await.expect("there is room").unwrap();
}

#[tokio::test]
async fn a_record_dropped_during_the_topic_lookup_releases_its_memory() {
    let fake = FakeBroker::new(|_| Act::Serve);
    let producer = narrow(fake.client().await.producer()).build().await.unwrap();
    let mut waiting = waiting_while_the_topic_is_deleted(&fake, &producer).await;
    assert!(poll!(&mut waiting).is_pending(), "it asks for the topic");
    drop(waiting);
    fake.create_topic(8);
    timeout(LONG, producer.send(large())).await.expect("there is room").unwrap();
}

/// Returns a key of partition 1 of 2.
async fn key_of_partition_1(producer: &Producer) -> String {
    for number in 0.. {
        let key = number.to_string();
        if producer.send(Record::new(TOPIC).key(key.clone())).await.unwrap().partition.value() == 1 {
            return key;
        }
    }
    unreachable!("half of all keys are there")
}

#[tokio::test]
async fn a_record_for_a_removed_partition_goes_to_an_existing_one() {
    let world = World::in_memory().await;
    world.topic(TOPIC, TopicSpec::partitions(2)).await;
    let producer = narrow(world.client.producer()).build().await.unwrap();
    let key = key_of_partition_1(&producer).await;
    world.client.admin().delete_topic(TOPIC).await.unwrap();
    world.topic(TOPIC, TopicSpec::partitions(1)).await;
    let lost = producer.enqueue(large().key(key.clone())).await.unwrap();
    let mut waiting = pin!(producer.enqueue(large().key(key)));
    assert!(poll!(&mut waiting).is_pending(), "there is room for one record");
    let lost = timeout(LONG, lost).await.expect("it ends").unwrap_err();
    assert_eq!(lost.code(), Some(ErrorCode::UnknownPartition));
    let ack = timeout(LONG, async { waiting.await.unwrap().await }).await.expect("it ends").unwrap();
    assert_eq!(ack.partition.value(), 0);
}

#[tokio::test]
async fn a_record_without_memory_fails_after_the_delivery_timeout() {
    let fake =
        FakeBroker::new(|request| if matches!(request, Request::Produce(_)) { Act::Silence } else { Act::Serve });
    let client = fake.client_with_patience(LONG).await.unwrap();
    let producer = client.producer().memory(5_000).delivery_timeout(Duration::from_millis(300)).build().await.unwrap();
    let began = Instant::now();
    let ended = join_all((0..40).map(|_| producer.send(large()))).await;
    assert!(ended.iter().all(|result| matches!(result, Err(ProduceError::TimedOut { .. }))), "{ended:?}");
    let refused = ended.iter().flat_map(|result| result.as_ref().err()).filter(|e| e.outcome() == Outcome::Refused);
    assert!(36 < refused.count(), "those that found no room were surely not written");
    assert!(began.elapsed() < Duration::from_secs(5), "they waited for each other: {:?}", began.elapsed());
}

#[tokio::test]
async fn a_flush_reports_every_record_of_a_split_batch() {
    let world = World::in_memory().await;
    world.topic(TOPIC, TopicSpec::partitions(1).config("max.message.bytes", "2KiB")).await;
    let producer = world.client.producer().linger(LONG).build().await.unwrap();
    drop(producer.enqueue(large()).await.unwrap());
    drop(producer.enqueue(Record::new(TOPIC).value("small")).await.unwrap());
    assert_eq!(producer.flush().await.unwrap_err().first.code(), Some(ErrorCode::TooLarge));
}

#[tokio::test]
async fn a_flush_reports_earlier_unobserved_failures() {
    let world = World::in_memory().await;
    world.topic(TOPIC, TopicSpec::partitions(1).config("max.message.bytes", "2KiB")).await;
    let producer = world.client.producer().build().await.unwrap();
    let unseen = producer.enqueue(large()).await.unwrap();
    producer.send(large()).await.unwrap_err();
    producer.flush().await.unwrap();
    drop(unseen);
    assert_eq!(producer.flush().await.unwrap_err().first.code(), Some(ErrorCode::TooLarge));
    producer.flush().await.unwrap();
    drop(producer.enqueue(large()).await.unwrap());
    producer.send(Record::new(TOPIC).value("small")).await.unwrap();
    assert_eq!(producer.close().await.unwrap_err().first.code(), Some(ErrorCode::TooLarge));
}

#[tokio::test]
async fn a_failing_topic_lookup_ends_at_the_delivery_timeout() {
    let fake =
        FakeBroker::new(|request| if matches!(request, Request::Metadata(_)) { Act::Silence } else { Act::Serve });
    let client = fake.client_with_patience(Duration::from_secs(60)).await.unwrap();
    let producer = client.producer().delivery_timeout(Duration::from_millis(300)).build().await.unwrap();
    let error = timeout(LONG, producer.send(large())).await.expect("it ends").unwrap_err();
    assert_eq!(error.to_string(), "cannot look up topic events: no answer within 300ms");
    assert_eq!((error.outcome(), error.is_retriable()), (Outcome::Refused, true));
}

#[tokio::test]
async fn callers_of_an_unreachable_broker_share_one_error() {
    let world = World::in_memory().await;
    let gate = Gate::open();
    let client = gate.client(&world).await;
    gate.close();
    let began = Instant::now();
    let admin = client.admin();
    let ended = join_all((0..100).map(|_| admin.create_topic("other", TopicSpec::partitions(1)))).await;
    assert!(ended.iter().all(Result::is_err));
    assert!(began.elapsed() < Duration::from_secs(10), "they waited for each other: {:?}", began.elapsed());
}

#[tokio::test]
async fn a_thread_outside_the_runtime_may_end_the_lingers() {
    let world = World::in_memory().await;
    world.topic(TOPIC, TopicSpec::partitions(1)).await;
    let gate = Gate::open();
    let producer = gate.client(&world).await.producer().linger(Duration::from_secs(3600)).build().await.unwrap();
    let first = producer.enqueue(Record::new(TOPIC).value("first")).await.unwrap();
    producer.end_lingers();
    first.await.unwrap();
    let second = producer.enqueue(Record::new(TOPIC).value("second")).await.unwrap();
    gate.close();
    for _ in 0..100 {
        tokio::task::yield_now().await; // The connection's task sees that it is closed.
    }
    gate.reopen();
    let outside = producer.clone();
    std::thread::spawn(move || outside.end_lingers()).join().expect("no runtime is needed");
    timeout(LONG, second).await.expect("it is sent").unwrap();
}
