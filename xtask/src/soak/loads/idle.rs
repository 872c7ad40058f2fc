//! Idle clients: one request every few minutes, because a broker closes connections without requests.

use super::stream::BATCHED;
use crate::bench::bench_broker::BenchBroker;
use crate::stop::Stop;
use std::time::Duration;

const CLIENTS: usize = 100;
/// Less than the idle timeout of a broker.
const SILENCE: Duration = Duration::from_secs(5 * 60);

pub(super) async fn run(broker: &BenchBroker, mut stop: Stop) -> anyhow::Result<()> {
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(broker.client().await?);
    }
    while stop.sleep(SILENCE).await {
        for client in &clients {
            client.admin().describe_topic(BATCHED, false).await?;
        }
    }
    Ok(())
}
