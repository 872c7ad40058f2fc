//! A reader that retention overtakes: its offsets rise, also across what was dropped before it came there.

use crate::bench::site::Site;
use crate::soak::stop::Stop;
use crate::soak::tally::Tally;
use anyhow::{Context, ensure};
use futures_util::future::try_join_all;
use grower_client::{Client, Record, StartFrom, TopicSpec};
use std::time::Duration;

const TOPIC: &str = "overtaken";
const BURST: usize = 100;
const VALUE: [u8; 1000] = [7; 1000];

pub(super) async fn run(site: &Site, stop: Stop, tally: &Tally) -> anyhow::Result<()> {
    let client = site.client().await?;
    let spec = TopicSpec::partitions(1).config("retention.bytes", "512KiB").config("segment.bytes", "64KiB");
    client.admin().create_topic(TOPIC, spec).await?;
    tokio::try_join!(write(&client, stop.clone()), read(&client, stop.clone(), tally))?;
    Ok(())
}

async fn write(client: &Client, mut stop: Stop) -> anyhow::Result<()> {
    let producer = client.producer().build().await?;
    while stop.sleep(Duration::from_millis(100)).await {
        let mut under_way = Vec::new();
        for _ in 0..BURST {
            under_way.push(producer.enqueue(Record::new(TOPIC).value(&VALUE[..])).await?);
        }
        try_join_all(under_way).await?;
    }
    Ok(producer.close().await?)
}

/// Reads a tenth of what is written.
async fn read(client: &Client, mut stop: Stop, tally: &Tally) -> anyhow::Result<()> {
    let builder = client.consumer().assign([(TOPIC, 0)]).from(StartFrom::Beginning);
    let mut consumer = builder.max_poll_records(BURST / 10).prefetch_bytes(64 << 10).build().await?;
    let mut next = 0;
    while stop.sleep(Duration::from_millis(100)).await {
        for record in consumer.poll(Duration::from_millis(50)).await.context("the overtaken reader")? {
            let offset = record.offset.value();
            ensure!(next <= offset, "offset {offset} came after {next}");
            if next < offset {
                tally.gaps.add(1);
            }
            next = offset + 1;
        }
    }
    Ok(consumer.close().await?)
}
