//! A compacted topic, written all the time and read back at the end.

use crate::bench::bench_broker::BenchBroker;
use crate::soak::tally::Tally;
use crate::stop::Stop;
use anyhow::{Context, ensure};
use futures_util::future::try_join_all;
use grower_client::{Client, Producer, Record, TopicSpec};
use std::collections::BTreeMap;
use std::time::Duration;

const TOPIC: &str = "compacted";
const KEYS: u64 = 500;
/// More rounds than a compacted log keeps.
const ROUNDS_LEFT_MAX: u64 = 100;

pub(super) async fn run(broker: &BenchBroker, mut stop: Stop, tally: &Tally) -> anyhow::Result<()> {
    let client = broker.client().await?;
    let spec = TopicSpec::partitions(1).config("cleanup.policy", "compact");
    let spec = spec.config("segment.bytes", "1MiB").config("min.cleanable.dirty.ratio", "0.1");
    client.admin().create_topic(TOPIC, spec).await?;
    let producer = client.producer().build().await?;
    let mut rounds = 0;
    loop {
        write(&producer, rounds).await?;
        rounds += 1;
        tally.rounds.add(1);
        if !stop.sleep(Duration::from_millis(100)).await {
            break;
        }
    }
    producer.close().await?;
    read_back(&client, rounds).await
}

/// Writes every key once, with the round's number.
async fn write(producer: &Producer, round: u64) -> anyhow::Result<()> {
    let mut in_flight = Vec::new();
    for key in 0..KEYS {
        let record = Record::new(TOPIC).key(key.to_string()).value(format!("{round:0200}"));
        in_flight.push(producer.enqueue(record).await?);
    }
    try_join_all(in_flight).await?;
    Ok(())
}

/// Checks that the last record of each key is the last one written, and that most earlier ones are gone.
async fn read_back(client: &Client, rounds: u64) -> anyhow::Result<()> {
    let partition = client.admin().describe_topic(TOPIC, false).await?.partitions.swap_remove(0);
    let mut consumer = client.consumer().assign([(TOPIC, 0)]).build().await?;
    let (mut newest, mut count, mut next) = (BTreeMap::new(), 0, partition.log_start);
    while next < partition.high_watermark {
        let record = consumer.next().await.context("the consumer was closed")??;
        next = record.offset.saturating_add(1);
        newest.insert(record.key, record.value);
        count += 1;
    }
    let last = format!("{:0200}", rounds - 1);
    let current = newest.values().filter(|value| value.as_deref() == Some(last.as_bytes())).count() as u64;
    ensure!(current == KEYS, "{current} of {KEYS} keys of {TOPIC} have the last value");
    ensure!(count <= ROUNDS_LEFT_MAX * KEYS, "{TOPIC} holds {count} records of {KEYS} keys: it is not compacted");
    Ok(())
}
