//! Clients that leave during a long poll: the broker closes their connections.

use crate::bench::bench_broker::BenchBroker;
use crate::soak::tally::Tally;
use crate::stop::Stop;
use anyhow::ensure;
use grower_client::{Admin, Client, TopicSpec};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const TOPIC: &str = "silent";
const CLIENTS: u64 = 10;
/// Long enough that uncancelled polls add up.
const WAIT: Duration = Duration::from_secs(5 * 60);
const WAIT_MAX: Duration = Duration::from_secs(30);
/// Connections of the other loads, with a margin.
const OTHERS_MAX: u64 = 60;

pub(super) async fn run(broker: &BenchBroker, mut stop: Stop, tally: &Tally) -> anyhow::Result<()> {
    let admin = broker.client().await?.admin();
    admin.create_topic(TOPIC, TopicSpec::partitions(1)).await?;
    while stop.sleep(Duration::from_millis(500)).await {
        for _ in 0..CLIENTS {
            leave_in_a_poll(&broker.client().await?).await?;
        }
        tally.polls.add(CLIENTS);
        check_left(&admin).await?;
    }
    Ok(())
}

async fn leave_in_a_poll(client: &Client) -> anyhow::Result<()> {
    let mut consumer = client.consumer().assign([(TOPIC, 0)]).fetch_max_wait(WAIT).build().await?;
    let records = consumer.poll(Duration::from_millis(20)).await?;
    ensure!(records.is_empty(), "{TOPIC} was never written to");
    Ok(()) // Dropped, not closed: its connections end during the poll.
}

async fn check_left(admin: &Admin) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let open = admin.describe_broker().await?.connections;
        if open <= OTHERS_MAX {
            return Ok(());
        }
        ensure!(began.elapsed() < WAIT_MAX, "{open} connections are open after most clients have left");
        sleep(Duration::from_millis(100)).await;
    }
}
