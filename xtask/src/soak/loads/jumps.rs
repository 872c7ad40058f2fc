//! A wall clock that jumps and returns: no records, producers or commits expire by it.

use super::WrittenTopic;
use crate::bench::values::RecordIdentity;
use crate::soak::SoakTarget;
use crate::soak::tally::Tally;
use crate::stop::Stop;
use anyhow::{Context, ensure};
use futures_util::future::try_join_all;
use grower_client::{Admin, Client, Producer, Record, TopicSpec};
use std::time::Duration;

const TOPIC: &str = "kept";
const GROUP: &str = "keepers";
const BURST: u64 = 50;
const SIZE: usize = 200;

const MINUTE: i64 = 60;
const DAY: i64 = 24 * 60 * MINUTE;
/// The shifts of the clock, and their durations in seconds.
const JUMPS: [(i64, u64); 4] = [(30 * DAY, 3), (-30 * MINUTE, 5), (DAY + 1, 10), (40 * MINUTE, 2)];
/// Time between jumps.
const PAUSE: Duration = Duration::from_secs(10);

pub(super) async fn run(target: &SoakTarget, mut stop: Stop, tally: &Tally) -> anyhow::Result<WrittenTopic> {
    let clock = target.clock.as_ref().context("the daemon's clock cannot be set")?;
    let client = target.broker.client().await?;
    // Retention is shorter than each jump ahead, and there are segments to drop.
    let spec = TopicSpec::partitions(1).config("retention.ms", "30m").config("segment.messages", "20");
    client.admin().create_topic(TOPIC, spec).await?;
    let producer = client.producer().build().await?;
    let mut count = 0;
    send(&producer, &mut count).await?;
    commit(&client).await?;
    for (shift, seconds) in JUMPS.into_iter().cycle() {
        clock.set(shift)?;
        send(&producer, &mut count).await?;
        stop.sleep(Duration::from_secs(seconds)).await;
        clock.set(0)?;
        send(&producer, &mut count).await?;
        check(&client.admin()).await.with_context(|| format!("after a jump of {shift} s"))?;
        tally.jumps.add(1);
        if !stop.sleep(PAUSE).await {
            break;
        }
    }
    producer.close().await?;
    Ok(WrittenTopic { topic: TOPIC, partitions: 1, count, size: SIZE })
}

async fn send(producer: &Producer, count: &mut u64) -> anyhow::Result<()> {
    let mut in_flight = Vec::new();
    for number in *count..*count + BURST {
        let value = RecordIdentity { writer: 0, partition: 0, number }.value(SIZE);
        in_flight.push(producer.enqueue(Record::new(TOPIC).value(value)).await?);
    }
    *count += BURST;
    try_join_all(in_flight).await?;
    Ok(())
}

/// A group that reads all records so far, commits and leaves.
async fn commit(client: &Client) -> anyhow::Result<()> {
    let mut member = client.consumer().group(GROUP).subscribe([TOPIC]).auto_commit(None).build().await?;
    for _ in 0..BURST {
        member.next().await.context("the member was closed")??;
    }
    member.commit().await?;
    Ok(member.close().await?)
}

async fn check(admin: &Admin) -> anyhow::Result<()> {
    let log_start = admin.describe_topic(TOPIC, false).await?.partitions[0].log_start;
    ensure!(log_start.value() == 0, "{TOPIC} lost its records up to {}", log_start.value());
    let commits = admin.list_commits(GROUP).await?;
    ensure!(commits.len() == 1, "{GROUP} lost its commit");
    Ok(())
}
