//! A group with steady members, and others that leave or are killed.

use super::WrittenTopic;
use super::stream::SHARED;
use crate::bench::bench_broker::BenchBroker;
use crate::soak::tally::Tally;
use crate::stop::Stop;
use anyhow::{Context, ensure};
use grower_client::{Client, Consumer};
use std::time::Duration;
use tokio::time::Instant;

const GROUP: &str = "readers";
/// How long a temporary member stays.
const STAY: Duration = Duration::from_secs(5);
/// How long the group may take for the remaining records.
const CATCH_UP_MAX: Duration = Duration::from_secs(120);

/// Runs a member that stays to the end.
pub(super) async fn stay(broker: &BenchBroker, stop: Stop, tally: &Tally) -> anyhow::Result<()> {
    let client = broker.client().await?;
    let mut member = join(&client, tally).await?;
    while !stop.is_requested() {
        read(&mut member, tally).await?;
    }
    Ok(member.close().await?)
}

/// Runs temporary members. Every other one is dropped without leaving the group, and its partitions wait for its
/// session timeout.
pub(super) async fn come_and_go(broker: &BenchBroker, stop: Stop, tally: &Tally) -> anyhow::Result<()> {
    let client = broker.client().await?;
    let mut leaves_group = true;
    while !stop.is_requested() {
        let mut member = join(&client, tally).await?;
        let began = Instant::now();
        while began.elapsed() < STAY && !stop.is_requested() {
            read(&mut member, tally).await?;
        }
        if leaves_group || stop.is_requested() {
            member.close().await?;
        }
        leaves_group = !leaves_group;
    }
    Ok(())
}

/// Lets the group read the remaining records, and fails if it does not reach the end.
pub(in crate::soak) async fn finish(
    broker: &BenchBroker,
    written: &[WrittenTopic],
    tally: &Tally,
) -> anyhow::Result<()> {
    let written =
        written.iter().find(|written| written.topic == SHARED).context("nothing was written for the group")?;
    let client = broker.client().await?;
    let mut member = join(&client, tally).await?;
    let began = Instant::now();
    while !tally.group_has_read(written.partitions, written.count) {
        ensure!(began.elapsed() < CATCH_UP_MAX, "the group did not read all records");
        read(&mut member, tally).await?;
    }
    Ok(member.close().await?)
}

async fn join(client: &Client, tally: &Tally) -> anyhow::Result<Consumer> {
    let builder = client.consumer().group(GROUP).subscribe([SHARED]).auto_commit(Some(Duration::from_secs(1)));
    let member = builder.build().await?;
    tally.joins.add(1);
    Ok(member)
}

async fn read(member: &mut Consumer, tally: &Tally) -> anyhow::Result<()> {
    for record in member.poll(Duration::from_millis(200)).await? {
        tally.add_group_record(record.partition.value(), record.offset.value())?;
        tally.consumed.add(1);
    }
    Ok(())
}
