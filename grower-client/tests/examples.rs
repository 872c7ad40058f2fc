//! The programs in `examples`, against a broker with a socket.

#![allow(dead_code, unreachable_pub, reason = "the programs have a `main`")]

#[path = "../examples/outbox.rs"]
mod outbox;
#[path = "../examples/replay.rs"]
mod replay;
#[path = "../examples/service.rs"]
mod service;
#[path = "../examples/tail.rs"]
mod tail;
#[path = "../examples/worker.rs"]
mod worker;

use futures_util::future::join_all;
use grower_broker::{Broker, BrokerConfig};
use grower_client::ids::Timestamp;
use grower_client::{Client, ConsumerRecord, Record, StartFrom, TopicPartition, TopicSpec};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

struct World {
    address: String,
    client: Client,
    broker: Broker,
    _dir: TempDir,
}

impl World {
    async fn with_topics(topics: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = BrokerConfig::at(dir.path());
        config.disk_reserve_bytes = Some(1 << 20);
        (config.listen, config.http) = (Some("127.0.0.1:0".parse().unwrap()), None);
        let broker = Broker::start(config).await.unwrap();
        let address = broker.listen_address().unwrap().to_string();
        let client = Client::connect(&address).await.unwrap();
        for topic in topics {
            let spec = TopicSpec::partitions(3).config("retention.ms", "-1");
            client.admin().create_topic(topic, spec).await.unwrap();
        }
        Self { address, client, broker, _dir: dir }
    }

    /// All records of a topic, in the order of their partitions and offsets.
    async fn records(&self, topic: &str) -> Vec<ConsumerRecord> {
        let from = StartFrom::Beginning;
        let mut consumer = self.client.consumer().subscribe([topic]).from(from).build().await.unwrap();
        let (mut all, mut records) = (Vec::new(), consumer.read_to_end().await.unwrap());
        while let Some(record) = records.next().await {
            all.push(record.unwrap());
        }
        all.sort_by_key(|record| (record.partition, record.offset));
        all
    }
}

#[tokio::test]
async fn outbox_ships_each_row_once_although_it_is_cut_short() {
    let world = World::with_topics(&["orders"]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("outbox");
    let rows = |count: u32| (0..count).map(|row| format!("order {row}\n")).collect::<String>();
    let long = Duration::from_secs(20);
    for (number, count) in (1..=10).map(|number| (number, 700 * number)) {
        std::fs::write(&file, rows(count) + "half a r").unwrap();
        // Cut short after a while that differs: before the claim, between two chunks, or after the end.
        let cut = tokio::time::sleep(Duration::from_millis(u64::from(number * 7 % 5) * 8));
        tokio::select! {
            shipped = outbox::ship(&world.client, "orders", &file, long) => assert_eq!(shipped.unwrap(), count as usize),
            () = cut => {}
        }
    }
    assert_eq!(outbox::ship(&world.client, "orders", &file, long).await.unwrap(), 7_000);
    let written = world.records("orders").await.into_iter().map(|record| record.value.unwrap());
    let written: String = written.map(|value| format!("{}\n", str::from_utf8(&value).unwrap())).collect();
    assert_eq!(written, rows(7_000));
    world.broker.stop().await.unwrap();
}

#[tokio::test]
async fn outbox_stops_at_a_row_that_is_refused_and_continues_there() {
    let world = World::with_topics(&["orders"]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("outbox");
    let ship = async |row: &str| {
        std::fs::write(&file, format!("0\n1\n{row}\n3\n")).unwrap();
        outbox::ship(&world.client, "orders", &file, Duration::from_secs(20)).await
    };
    for (bytes, limit) in [(2 << 20, "max.message.bytes"), (70 << 20, "the producer's limit")] {
        let error = ship(&"x".repeat(bytes)).await.unwrap_err();
        assert!(error.to_string().contains(limit), "{error}");
        assert_eq!(world.records("orders").await.len(), 2, "the row behind it waits");
    }
    assert_eq!(ship("2").await.unwrap(), 4);
    let written = world.records("orders").await.into_iter().map(|record| record.value.unwrap());
    assert_eq!(written.collect::<Vec<_>>(), ["0", "1", "2", "3"]);
    world.broker.stop().await.unwrap();
}

#[tokio::test]
async fn replay_copies_exactly_the_time_range_in_order() {
    let world = World::with_topics(&["orders", "again"]).await;
    let producer = world.client.producer().build().await.unwrap();
    let record = |n: i64| {
        let record = Record::new("orders").key(format!("{}", n % 7)).value(format!("{n}"));
        record.header("n", n.to_string()).timestamp(Timestamp::from_millis(1_000 * n))
    };
    producer.send_all((0..100).map(record)).await.unwrap();
    let times = Timestamp::from_millis(20_000)..Timestamp::from_millis(60_000);
    assert_eq!(replay::replay(&world.address, "orders", "again", times.clone()).await.unwrap(), 40);
    let parts = |record: ConsumerRecord| (record.partition, record.key, record.value, record.headers, record.timestamp);
    let expected = world.records("orders").await.into_iter().filter(|record| times.contains(&record.timestamp));
    let copies = world.records("again").await.into_iter();
    assert_eq!(copies.map(parts).collect::<Vec<_>>(), expected.map(parts).collect::<Vec<_>>());
    world.broker.stop().await.unwrap();
}

#[tokio::test]
async fn tail_is_warm_before_it_follows() {
    let world = World::with_topics(&["prices"]).await;
    let producer = world.client.producer().build().await.unwrap();
    for price in 0..100 {
        producer.send(Record::new("prices").key(format!("{}", price % 10)).value(format!("{price}"))).await.unwrap();
    }
    producer.send(Record::new("prices").key("3")).await.unwrap();
    let mut out = Vec::new();
    let following = tail::tail(&world.address, "prices", 1, &mut out);
    let changing = async {
        loop {
            // Sent again until it comes after the warm-up.
            producer.send(Record::new("prices").key("4").value("new")).await.unwrap();
        }
    };
    let cache = tokio::select! {
        cache = following => cache.unwrap(),
        () = changing => unreachable!("it never stops"),
    };
    assert_eq!(cache.len(), 9);
    assert_eq!(cache[&b"4"[..]], "new");
    assert_eq!(cache[&b"5"[..]], "95");
    let out = String::from_utf8(out).unwrap();
    assert!(out.starts_with("warm with 9 keys") && out.ends_with("Some(b\"4\") = Some(b\"new\")\n"), "{out}");
    world.broker.stop().await.unwrap();
}

#[tokio::test]
async fn service_answers_two_hundred_requests_at_once() {
    let world = World::with_topics(&["orders"]).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let request = async |client: usize| {
        let mut answers = Vec::new();
        let (read, mut write) = TcpStream::connect(address).await.unwrap().into_split();
        let mut lines = BufReader::new(read).lines();
        for order in 0..5 {
            write.write_all(format!("order {client}/{order}\n").as_bytes()).await.unwrap();
            answers.push((format!("order {client}/{order}"), lines.next_line().await.unwrap().unwrap()));
        }
        answers
    };
    let answers = tokio::select! {
        answers = join_all((0..200).map(request)) => answers.concat(),
        ended = service::serve(&world.address, "orders", listener) => panic!("{ended:?}"),
    };
    let written = world.records("orders").await.into_iter().map(|record| {
        let order = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
        (order, format!("ok {} {}", record.partition, record.offset))
    });
    assert_eq!(written.collect::<BTreeSet<_>>(), answers.into_iter().collect::<BTreeSet<_>>());
    world.broker.stop().await.unwrap();
}

#[tokio::test]
async fn workers_count_each_record_once_although_partitions_move() {
    let world = World::with_topics(&["orders"]).await;
    let folder = tempfile::tempdir().unwrap();
    let member = || {
        let member = world.client.consumer().group("counters").subscribe(["orders"]).max_poll_records(10);
        worker::work(member.session_timeout(Duration::from_millis(600)), folder.path())
    };
    let counted = || {
        let mut all: BTreeMap<String, u64> = BTreeMap::new();
        for partition in 0..3 {
            let name = TopicPartition::new("orders", partition).unwrap();
            for (key, count) in worker::Counts::load(folder.path(), &name).unwrap().by_key {
                *all.entry(key).or_default() += count;
            }
        }
        all
    };
    let producer = world.client.producer().build().await.unwrap();
    let produce = async |records: std::ops::Range<u32>| {
        for n in records {
            drop(producer.enqueue(Record::new("orders").key(format!("{}", n % 20))).await.unwrap());
        }
        producer.flush().await.unwrap();
    };
    let until = async |records: u64| {
        while counted().values().sum::<u64>() < records {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let counting = async {
        produce(0..1_000).await;
        tokio::select! {
            ended = member() => panic!("{ended:?}"),
            () = until(500) => {} // Then the first one is gone without a word.
        }
        produce(1_000..2_000).await;
        tokio::select! {
            ended = member() => panic!("{ended:?}"),
            ended = member() => panic!("{ended:?}"),
            () = until(2_000) => {}
        }
    };
    tokio::time::timeout(Duration::from_secs(20), counting).await.expect("all are counted");
    let expected: BTreeMap<String, u64> = (0..20).map(|key| (key.to_string(), 100)).collect();
    assert_eq!(counted(), expected);
    world.broker.stop().await.unwrap();
}
