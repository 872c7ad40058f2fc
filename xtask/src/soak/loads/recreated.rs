//! Topics that are deleted and created again while producers with little memory write to them. Each send ends, and
//! after a flush every send has an outcome.

use crate::bench::bench_broker::BenchBroker;
use crate::soak::tally::Tally;
use crate::stop::Stop;
use anyhow::{Context, ensure};
use futures_util::FutureExt;
use futures_util::future::try_join_all;
use grower_client::{Admin, Producer, Record, TopicSpec};
use std::time::Duration;
use tokio::time::timeout;

const TOPICS: u64 = 3;
const PRODUCERS: u64 = 3;
/// Less than a burst, so that producers wait for memory all the time.
const MEMORY: usize = 64 << 10;
const BURST: u64 = 200;
const VALUE: [u8; 1000] = [7; 1000];
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a send or a flush may take on a busy machine.
const WAIT_MAX: Duration = Duration::from_secs(60);

pub(super) async fn run(broker: &BenchBroker, stop: Stop, tally: &Tally) -> anyhow::Result<()> {
    let admin = broker.client().await?.admin();
    for number in 0..TOPICS {
        create(&admin, number).await?;
    }
    let writers = try_join_all((0..PRODUCERS).map(|number| write(broker, number, stop.clone())));
    tokio::try_join!(recreate(&admin, stop.clone(), tally), writers)?;
    Ok(())
}

fn topic(number: u64) -> String {
    format!("recreated-{}", number % TOPICS)
}

async fn create(admin: &Admin, number: u64) -> anyhow::Result<()> {
    let partitions = 1 + number % 4; // The number changes, so that some partitions vanish for good.
    Ok(admin.create_topic(topic(number), TopicSpec::partitions(partitions as u32)).await.map(drop)?)
}

async fn recreate(admin: &Admin, mut stop: Stop, tally: &Tally) -> anyhow::Result<()> {
    let mut number = 0;
    while stop.sleep(Duration::from_millis(300)).await {
        admin.delete_topic(topic(number)).await?;
        create(admin, number).await?;
        number += 1;
        tally.recreated.add(1);
    }
    Ok(())
}

async fn write(broker: &BenchBroker, number: u64, stop: Stop) -> anyhow::Result<()> {
    let builder = broker.client().await?.producer().memory(MEMORY).delivery_timeout(DELIVERY_TIMEOUT);
    let producer = builder.build().await?;
    let mut burst = number;
    while !stop.is_requested() {
        write_burst(&producer, &topic(burst)).await?;
        burst += 1;
    }
    timeout(WAIT_MAX, producer.close()).await.context("a producer never closed")?.context("close")
}

/// A record may be refused if its topic is gone, but every record must get an outcome.
async fn write_burst(producer: &Producer, topic: &str) -> anyhow::Result<()> {
    let mut sent = Vec::new();
    for number in 0..BURST {
        let record = Record::new(topic).key(number.to_string()).value(&VALUE[..]);
        let accepted = timeout(WAIT_MAX, producer.enqueue(record)).await.context("a send never found room")?;
        sent.extend(accepted.ok());
    }
    // Each record of a failed flush has the error as well.
    let _ = timeout(WAIT_MAX, producer.flush()).await.context("a flush never ended")?.is_ok();
    let (accepted, settled) = (sent.len(), sent.into_iter().filter_map(FutureExt::now_or_never).count());
    ensure!(settled == accepted, "{} of {accepted} records have no outcome after a flush", accepted - settled);
    Ok(())
}
