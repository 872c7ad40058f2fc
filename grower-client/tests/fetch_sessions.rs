//! The consumer's fetch sessions: memory, lost connections, evicted sessions, seeks and pauses while records are on
//! their way.

mod support;
mod world;

use grower_client::ids::Offset;
use grower_client::{
    Client, ConsumeError, Consumer, ConsumerBuilder, ErrorCode, Producer, Record, StartFrom, TopicSpec,
};
use grower_protocol::message::{FetchSession, Request, SessionStep};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use support::{Act, FakeBroker, TOPIC};
use world::{LONG, World};

/// The bytes of a value, about a tenth of a batch.
const VALUE_BYTES: usize = 1000;

async fn produce(client: &Client, topic: &str, partition: u32, records: usize) {
    produce_batches(client, topic, partition, records, 10).await;
}

async fn produce_batches(client: &Client, topic: &str, partition: u32, records: usize, batch: u32) {
    let producer: Producer =
        client.producer().batch_records(batch).linger(Duration::from_secs(5)).build().await.unwrap();
    for _ in 0..records {
        let record = Record::new(topic).partition(partition).value(vec![b'x'; VALUE_BYTES]);
        drop(producer.enqueue(record).await.unwrap());
    }
    producer.flush().await.unwrap();
}

/// Reads the next record; returns its partition and offset.
async fn next(consumer: &mut Consumer) -> (u32, u64) {
    let record = tokio::time::timeout(LONG, consumer.next()).await.expect("a record comes").unwrap().unwrap();
    (record.partition.value(), record.offset.value())
}

/// Reads partition 0 up to `end` and checks that each record comes once.
async fn read_to(consumer: &mut Consumer, from: u64, end: u64) {
    for offset in from..end {
        assert_eq!(next(consumer).await, (0, offset));
    }
}

/// Creates a broker that counts the requests that open and that resume a session, and cuts the connection after some.
fn counting(cuts: impl Fn(usize) -> bool + Send + Sync + 'static) -> (FakeBroker, Arc<[AtomicUsize; 2]>) {
    let counts = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let (counted, requests) = (counts.clone(), AtomicUsize::new(0));
    let fake = FakeBroker::new(move |request| {
        let Request::FetchSession(FetchSession { step, .. }) = request else { return Act::Serve };
        match step {
            SessionStep::Open => counted[0].fetch_add(1, Ordering::Relaxed),
            SessionStep::Resume(_) => counted[1].fetch_add(1, Ordering::Relaxed),
            _ => 0,
        };
        let number = requests.fetch_add(1, Ordering::Relaxed);
        if cuts(number) { Act::ServeAndCut } else { Act::Serve }
    });
    (fake, counts)
}

/// Waits until the condition holds.
async fn until(condition: impl Fn() -> bool, what: &str) {
    let holds = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(LONG, holds).await.expect(what);
}

fn reading(client: &Client) -> ConsumerBuilder {
    client.consumer().assign([(TOPIC, 0)]).fetch_max_wait(Duration::from_millis(50))
}

#[tokio::test]
async fn a_lost_connection_is_resumed_and_no_record_is_lost_or_repeated() {
    let (fake, counts) = counting(|number| number % 7 == 5);
    let client = fake.client().await;
    produce(&client, TOPIC, 0, 300).await;
    let mut consumer = reading(&client).prefetch_bytes(40_000).build().await.unwrap();
    read_to(&mut consumer, 0, 300).await;
    let [opened, resumed] = [0, 1].map(|which| counts[which].load(Ordering::Relaxed));
    assert!(opened == 1 && 0 < resumed, "{opened} sessions, resumed {resumed} times");
}

#[tokio::test]
async fn a_reader_does_not_notice_that_its_session_was_evicted() {
    let (fake, counts) = counting(|_| false);
    let client = fake.client().await;
    produce(&client, TOPIC, 0, 200).await;
    let mut consumer = reading(&client).prefetch_bytes(40_000).build().await.unwrap();
    for start in (0..200).step_by(40) {
        read_to(&mut consumer, start, start + 40).await;
        fake.evict_sessions();
    }
    produce(&client, TOPIC, 0, 10).await;
    read_to(&mut consumer, 200, 210).await;
    assert!(1 < counts[0].load(Ordering::Relaxed), "another session was opened");
}

#[tokio::test]
async fn a_partition_is_read_on_from_its_new_leader() {
    let (fake, counts) = counting(|_| false);
    let client = fake.client().await;
    produce(&client, TOPIC, 0, 100).await;
    let mut consumer = reading(&client).prefetch_bytes(40_000).build().await.unwrap();
    read_to(&mut consumer, 0, 20).await;
    fake.move_leader();
    read_to(&mut consumer, 20, 100).await;
    produce(&client, TOPIC, 0, 10).await;
    read_to(&mut consumer, 100, 110).await;
    assert_eq!(counts[0].load(Ordering::Relaxed), 2);
    until(|| fake.sessions() == 1, "the session of the old leader is closed").await;
}

#[tokio::test]
async fn what_a_reader_holds_and_permits_stays_within_its_memory() {
    const PREFETCH: usize = 100_000;
    let (fake, _) = counting(|_| false);
    let client = fake.client().await;
    produce(&client, TOPIC, 0, 1000).await;
    let mut consumer = reading(&client).prefetch_bytes(PREFETCH).build().await.unwrap();
    read_to(&mut consumer, 0, 1).await;
    let is_full = async {
        while fake.session_bytes().sent < PREFETCH / 2 {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await; // The other records that it fetches have arrived.
    };
    tokio::time::timeout(LONG, is_full).await.expect("the reader prefetches");
    let peak = fake.session_bytes().peak;
    assert!(peak <= PREFETCH + 2 * 10 * (VALUE_BYTES + 20), "{peak} bytes were sent or permitted");
    read_to(&mut consumer, 1, 1000).await;
}

#[tokio::test]
async fn a_seek_throws_away_what_is_on_its_way_and_nothing_else() {
    const RECORDS: u64 = 1000;
    let world = World::in_memory().await;
    world.topic("events", TopicSpec::partitions(1)).await;
    produce(&world.client, "events", 0, RECORDS as usize).await;
    let reading = world.client.consumer().assign([("events", 0)]).prefetch_bytes(200_000);
    let mut consumer = reading.build().await.unwrap();
    let mut position = 0;
    for round in 0..150u64 {
        let end = (position + round * 7 % 40).min(RECORDS);
        read_to(&mut consumer, position, end).await;
        position = round * 389 % RECORDS;
        consumer.seek("events", 0, Offset::new(position)).unwrap();
        if round % 3 == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(consumer.position("events", 0), Some(Offset::new(position)));
    }
}

#[tokio::test]
async fn a_paused_partition_starves_no_other_and_continues_where_it_was() {
    const RECORDS: u64 = 500;
    let world = World::in_memory().await;
    world.topic("events", TopicSpec::partitions(2)).await;
    for partition in 0..2 {
        produce(&world.client, "events", partition, RECORDS as usize).await;
    }
    let reading = world.client.consumer().assign([("events", 0), ("events", 1)]).prefetch_bytes(64 << 10);
    let mut consumer = reading.build().await.unwrap();
    let mut positions = BTreeMap::from([(0, 0), (1, 0)]);
    let mut read = async |consumer: &mut Consumer| {
        let (partition, offset) = next(consumer).await;
        let position = positions.get_mut(&partition).unwrap();
        assert_eq!(offset, std::mem::replace(position, offset + 1), "in partition {partition}");
        (partition, offset + 1)
    };
    let paused = read(&mut consumer).await.0;
    consumer.pause("events", paused).unwrap();
    while read(&mut consumer).await != (1 - paused, RECORDS) {}
    consumer.resume("events", paused).unwrap();
    while read(&mut consumer).await != (paused, RECORDS) {}
}

#[tokio::test]
async fn a_reader_of_two_thousand_partitions_gets_each_record_once() {
    const PARTITIONS: u32 = 2000;
    let world = World::in_memory().await;
    world.topic("events", TopicSpec::partitions(PARTITIONS)).await;
    let mut consumer = world.client.consumer().subscribe(["events"]).build().await.unwrap();
    let producer = world.client.producer().build().await.unwrap();
    for round in 0..2 {
        let partitions: Vec<u32> = (0..PARTITIONS).step_by(17).collect();
        for partition in &partitions {
            drop(producer.enqueue(Record::new("events").partition(*partition).value("v")).await.unwrap());
        }
        producer.flush().await.unwrap();
        let mut read = Vec::new();
        for _ in &partitions {
            read.push(next(&mut consumer).await);
        }
        read.sort_unstable();
        assert_eq!(read, partitions.iter().map(|partition| (*partition, round)).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn an_answer_that_contradicts_itself_loses_no_partition() {
    let (fake, _) = counting(|_| false);
    let client = fake.client().await;
    produce(&client, TOPIC, 0, 20).await;
    let mut consumer = reading(&client).build().await.unwrap();
    read_to(&mut consumer, 0, 20).await;
    fake.contradict_itself().await;
    produce(&client, TOPIC, 0, 20).await;
    let reported = tokio::time::timeout(LONG, consumer.next()).await.expect("the reader is told");
    assert!(matches!(reported, Some(Err(ConsumeError::Failed { .. }))), "{reported:?}");
    read_to(&mut consumer, 20, 40).await;
}

#[tokio::test]
async fn a_reader_that_pauses_again_and_again_keeps_its_session() {
    let (fake, counts) = counting(|_| false);
    let client = fake.client().await;
    produce(&client, TOPIC, 0, 20).await;
    let mut consumer = reading(&client).build().await.unwrap();
    read_to(&mut consumer, 0, 20).await;
    for round in 0..100 {
        consumer.pause(TOPIC, 0).unwrap();
        for _ in 0..round % 5 {
            tokio::task::yield_now().await;
        }
        consumer.resume(TOPIC, 0).unwrap();
        for _ in 0..round % 7 {
            tokio::task::yield_now().await;
        }
    }
    produce(&client, TOPIC, 0, 20).await;
    read_to(&mut consumer, 20, 40).await;
    assert_eq!(counts[0].load(Ordering::Relaxed), 1, "it opens no other session");
    consumer.pause(TOPIC, 0).unwrap();
    until(|| fake.sessions() == 0, "a session that is not used for a while is closed").await;
}

#[tokio::test]
async fn a_reader_that_is_dropped_early_leaves_no_session_behind() {
    let (fake, counts) = counting(|_| false);
    let client = fake.client().await;
    for yields in 0..40 {
        let consumer = reading(&client).build().await.unwrap();
        for _ in 0..yields {
            tokio::task::yield_now().await;
        }
        drop(consumer);
    }
    until(|| fake.sessions() == 0, "all are closed").await;
    assert!(0 < counts[0].load(Ordering::Relaxed), "some were opened");
}

#[tokio::test]
async fn a_broker_without_memory_for_a_partition_does_not_end_the_session_of_the_others() {
    let (opened, refusals) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counted = (opened.clone(), refusals.clone());
    let fake = FakeBroker::new(move |request| {
        let Request::FetchSession(FetchSession { step, add, .. }) = request else { return Act::Serve };
        match step {
            SessionStep::Open => drop(counted.0.fetch_add(1, Ordering::Relaxed)),
            _ if !add.is_empty() && counted.1.fetch_add(1, Ordering::Relaxed) < 3 => {
                return Act::Refuse(ErrorCode::MemoryFull);
            }
            _ => {}
        }
        Act::Serve
    });
    let client = fake.client().await;
    produce(&client, TOPIC, 0, 20).await;
    let mut consumer = reading(&client).build().await.unwrap();
    read_to(&mut consumer, 0, 20).await;
    consumer.seek(TOPIC, 0, Offset::new(5)).unwrap();
    read_to(&mut consumer, 5, 20).await;
    assert_eq!((opened.load(Ordering::Relaxed), refusals.load(Ordering::Relaxed)), (1, 4));
}

#[tokio::test]
async fn a_reader_of_large_batches_holds_at_most_one_beyond_its_memory() {
    const PREFETCH: usize = 40_000;
    const BATCH: usize = 100 * (VALUE_BYTES + 20);
    let (fake, _) = counting(|_| false);
    let client = fake.client().await;
    produce_batches(&client, TOPIC, 0, 800, 100).await;
    let mut consumer = reading(&client).prefetch_bytes(PREFETCH).build().await.unwrap();
    for batch in 0..5 {
        read_to(&mut consumer, batch * 100, batch * 100 + 100).await;
        tokio::time::sleep(Duration::from_millis(20)).await; // The other records that it fetches have arrived.
        let held = fake.session_bytes().sent - (batch as usize + 1) * 100 * VALUE_BYTES;
        assert!(held <= PREFETCH + BATCH + BATCH / 4, "{held} bytes are held");
    }
}

#[tokio::test]
async fn a_session_whose_answers_break_the_connection_is_resumed_ever_more_slowly() {
    let is_broken = Arc::new(AtomicBool::new(false));
    let breaks = is_broken.clone();
    let resumed = Arc::new(AtomicUsize::new(0));
    let counted = resumed.clone();
    let fake = FakeBroker::new(move |request| match request {
        Request::FetchSession(FetchSession { step: SessionStep::Resume(_), .. }) => {
            counted.fetch_add(1, Ordering::Relaxed);
            if breaks.load(Ordering::Relaxed) { Act::ServeAndCut } else { Act::Serve }
        }
        Request::FetchSession(_) if breaks.load(Ordering::Relaxed) => Act::ServeAndCut,
        _ => Act::Serve,
    });
    let client = fake.client().await;
    produce(&client, TOPIC, 0, 20).await;
    let mut consumer = reading(&client).build().await.unwrap();
    read_to(&mut consumer, 0, 20).await;
    is_broken.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(700)).await;
    let attempts = resumed.load(Ordering::Relaxed);
    assert!((2..12).contains(&attempts), "{attempts} attempts in 0.7 s");
    is_broken.store(false, Ordering::Relaxed);
    produce(&client, TOPIC, 0, 20).await;
    read_to(&mut consumer, 20, 40).await;
}

#[tokio::test]
async fn a_reader_leaves_a_leader_that_was_cut_off_when_the_metadata_shows_another_one() {
    let (fake, counts) = counting(|_| false);
    let client = fake.client().await;
    produce(&client, TOPIC, 0, 20).await;
    let reading = client.consumer().subscribe([TOPIC]).from(StartFrom::Beginning);
    let reading = reading.fetch_max_wait(Duration::from_millis(50)).metadata_max_age(Duration::from_millis(10));
    let mut consumer = reading.build().await.unwrap();
    read_to(&mut consumer, 0, 20).await;
    fake.cut_leader_off();
    until(|| counts[0].load(Ordering::Relaxed) == 2, "a session at the new leader is opened").await;
    until(|| fake.sessions() == 1, "the other one is closed").await;
    produce(&client, TOPIC, 0, 20).await;
    read_to(&mut consumer, 20, 40).await;
}
