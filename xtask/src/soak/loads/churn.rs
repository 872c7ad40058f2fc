//! Topics that are created, written to, read and deleted, one after the other.

use crate::bench::bench_broker::BenchBroker;
use crate::soak::tally::Tally;
use crate::stop::Stop;
use anyhow::{Context, ensure};
use grower_client::{Client, Record, TopicSpec};
use std::time::Duration;

const RECORDS: u64 = 30;

pub(super) async fn run(broker: &BenchBroker, mut stop: Stop, tally: &Tally) -> anyhow::Result<()> {
    let client = broker.client().await?;
    for number in 0_u64.. {
        // Names are reused, to check that a topic created again starts empty.
        one_life(&client, &format!("brief-{}", number % 10)).await?;
        tally.topics.add(1);
        if !stop.sleep(Duration::from_millis(500)).await {
            break;
        }
    }
    Ok(())
}

async fn one_life(client: &Client, topic: &str) -> anyhow::Result<()> {
    client.admin().create_topic(topic, TopicSpec::partitions(3)).await?;
    let producer = client.producer().build().await?;
    for number in 0..RECORDS {
        producer.send(Record::new(topic).key(number.to_string()).value("brief")).await?;
    }
    producer.close().await?;
    let mut consumer = client.consumer().subscribe([topic]).build().await?;
    for _ in 0..RECORDS {
        consumer.next().await.context("the consumer was closed")??;
    }
    consumer.close().await?;
    let description = client.admin().describe_topic(topic, false).await?;
    let held: u64 = description.partitions.iter().map(|partition| partition.log_end.value()).sum();
    ensure!(held == RECORDS, "{topic} holds {held} records, and {RECORDS} were written");
    Ok(client.admin().delete_topic(topic).await?)
}
