//! A reader that retention overtakes: each offset is either read or reported in a gap, in order.

use crate::bench::bench_broker::BenchBroker;
use crate::soak::tally::Tally;
use crate::stop::Stop;
use anyhow::{Context, ensure};
use futures_util::future::try_join_all;
use grower_client::{Client, ConsumeError, OnGap, Record, StartFrom, TopicSpec};
use std::time::Duration;

const TOPIC: &str = "overtaken";
const BURST: usize = 100;
const VALUE: [u8; 1000] = [7; 1000];

pub(super) async fn run(broker: &BenchBroker, stop: Stop, tally: &Tally) -> anyhow::Result<()> {
    let client = broker.client().await?;
    let spec = TopicSpec::partitions(1).config("retention.bytes", "512KiB").config("segment.bytes", "64KiB");
    client.admin().create_topic(TOPIC, spec).await?;
    tokio::try_join!(write(&client, stop.clone()), read(&client, stop.clone(), tally))?;
    Ok(())
}

async fn write(client: &Client, mut stop: Stop) -> anyhow::Result<()> {
    let producer = client.producer().build().await?;
    while stop.sleep(Duration::from_millis(100)).await {
        let mut in_flight = Vec::new();
        for _ in 0..BURST {
            in_flight.push(producer.enqueue(Record::new(TOPIC).value(&VALUE[..])).await?);
        }
        try_join_all(in_flight).await?;
    }
    Ok(producer.close().await?)
}

/// Reads a tenth of the records.
async fn read(client: &Client, mut stop: Stop, tally: &Tally) -> anyhow::Result<()> {
    let builder = client.consumer().assign([(TOPIC, 0)]).from(StartFrom::Beginning).on_gap(|_| OnGap::Report);
    let mut consumer = builder.max_poll_records(BURST / 10).prefetch_bytes(64 << 10).build().await?;
    let mut next = 0;
    while stop.sleep(Duration::from_millis(100)).await {
        match consumer.poll(Duration::from_millis(50)).await {
            Ok(records) => {
                for record in records {
                    ensure!(
                        record.offset.value() == next,
                        "offset {} arrived instead of {next}",
                        record.offset.value()
                    );
                    next += 1;
                }
            }
            Err(ConsumeError::Gap(gap)) => {
                ensure!(gap.offsets.start.value() == next, "{gap}, and the next offset was {next}");
                next = gap.offsets.end.value();
                tally.gaps.add(1);
            }
            Err(error) => return Err(error).context("the overtaken reader"),
        }
    }
    Ok(consumer.close().await?)
}
