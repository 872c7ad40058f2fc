//! A consumer that falls further and further behind.

use super::stream::BATCHED;
use crate::bench::bench_broker::BenchBroker;
use crate::soak::tally::Tally;
use crate::stop::Stop;
use std::time::Duration;

pub(super) async fn run(broker: &BenchBroker, mut stop: Stop, tally: &Tally) -> anyhow::Result<()> {
    let client = broker.client().await?;
    let mut consumer = client.consumer().subscribe([BATCHED]).max_poll_records(10).build().await?;
    while stop.sleep(Duration::from_millis(100)).await {
        tally.consumed.add(consumer.poll(Duration::from_millis(100)).await?.len() as u64);
    }
    Ok(consumer.close().await?)
}
