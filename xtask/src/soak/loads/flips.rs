//! A topic whose `flush` is altered under its producer: an ack after the change back to `fsync` says fsynced.

use super::WrittenTopic;
use crate::bench::bench_broker::BenchBroker;
use crate::bench::values::RecordIdentity;
use crate::soak::tally::Tally;
use crate::stop::Stop;
use anyhow::ensure;
use futures_util::future::try_join_all;
use grower_client::{Durability, Producer, Record, TopicSpec};
use std::time::Duration;

const TOPIC: &str = "flips";
const BURST: u64 = 20;
const SIZE: usize = 200;

pub(super) async fn run(broker: &BenchBroker, mut stop: Stop, tally: &Tally) -> anyhow::Result<WrittenTopic> {
    let client = broker.client().await?;
    let admin = client.admin();
    admin.create_topic(TOPIC, TopicSpec::partitions(1)).await?;
    let producer = client.producer().build().await?;
    let mut count = 0;
    while stop.sleep(Duration::from_millis(200)).await {
        admin.alter_topic(TOPIC, [("flush", Some("os".to_owned()))]).await?;
        send(&producer, &mut count).await?;
        admin.alter_topic(TOPIC, [("flush", Some("fsync".to_owned()))]).await?;
        let acks = send(&producer, &mut count).await?;
        ensure!(acks.into_iter().all(|durability| durability == Durability::Fsynced), "an ack is not durable");
        tally.flips.add(1);
    }
    producer.close().await?;
    Ok(WrittenTopic { topic: TOPIC, partitions: 1, count, size: SIZE })
}

/// Sends the next burst; returns the durability of its acks.
async fn send(producer: &Producer, count: &mut u64) -> anyhow::Result<Vec<Durability>> {
    let mut in_flight = Vec::new();
    for number in *count..*count + BURST {
        let value = RecordIdentity { writer: 0, partition: 0, number }.value(SIZE);
        in_flight.push(producer.enqueue(Record::new(TOPIC).value(value)).await?);
    }
    *count += BURST;
    Ok(try_join_all(in_flight).await?.into_iter().map(|ack| ack.durability).collect())
}
