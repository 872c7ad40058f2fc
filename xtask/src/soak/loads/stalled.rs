//! Stalled readers: consumers that fetch and never read. The broker closes them after a while, and new ones connect.

use super::stream::BATCHED;
use crate::bench::bench_broker::BenchBroker;
use crate::bench::stalled_reader::StalledTransport;
use crate::soak::tally::Tally;
use crate::stop::Stop;
use grower_client::{Client, StartFrom};
use std::time::Duration;

const CONSUMERS: usize = 5;
/// Longer than the broker waits for a reader.
const STAY: Duration = Duration::from_secs(90);

pub(super) async fn run(broker: &BenchBroker, mut stop: Stop, tally: &Tally) -> anyhow::Result<()> {
    let mut is_running = true;
    while is_running {
        let (stalled_reader, mut consumers) = (StalledTransport::default(), Vec::new());
        for _ in 0..CONSUMERS {
            let builder = Client::builder().transport(stalled_reader.clone()).bootstrap([broker.address.as_str()]);
            let client = builder.connect().await?;
            let builder = client.consumer().assign([(BATCHED, 0)]).from(StartFrom::Beginning);
            consumers.push(builder.build().await?);
        }
        tally.stalled.add(CONSUMERS as u64);
        is_running = stop.sleep(STAY).await;
        drop(consumers);
        stalled_reader.close_all();
    }
    Ok(())
}
