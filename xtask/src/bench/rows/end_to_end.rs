//! `end-to-end`: 2,000 records a second from producer to consumer, fsynced before they are visible.
//!
//! A record's latency starts at its due time, so that a stall counts for every delayed record.

use super::{RowContext, millis};
use crate::bench::latencies::Latencies;
use crate::bench::report::BenchReport;
use crate::bench::values::noise;
use crate::bench::workload::Workload;
use anyhow::{Context, ensure};
use bytes::{Bytes, BytesMut};
use grower_client::ids::PartitionId;
use grower_client::{Client, Durability, Producer, Record, StartFrom};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

const NAME: &str = "end-to-end";
const SIZE: usize = 1024;
const INTERVAL: Duration = Duration::from_micros(500);

pub(super) async fn measure(context: RowContext<'_>, report: &mut BenchReport) -> anyhow::Result<()> {
    let count = context.amounts.paced.div_duration_f64(INTERVAL) as u64;
    let writing = Workload::new(&context.topic(NAME), 1, count, SIZE);
    context.warm_up(writing.bytes())?;
    writing.create_topic(context.broker).await?;
    let producer = writing.producer(context.broker).await?;
    let (client, topic) = (context.broker.client().await?, writing.topic.clone());
    let epoch = Instant::now();
    let reading = tokio::spawn(async move { read(&client, &topic, count, epoch).await });
    let (topic, runtime) = (writing.topic.clone(), Handle::current());
    // A thread, because timers of the runtime have a resolution of a millisecond.
    let sending = tokio::task::spawn_blocking(move || send(&runtime, &producer, &topic, count, epoch));
    sending.await??;
    let latencies = reading.await??;
    report.add(NAME, millis(latencies.quantile(0.5)), "ms");
    report.add(format!("{NAME}-p99"), millis(latencies.quantile(0.99)), "ms");
    report.add(format!("{NAME}-max"), millis(latencies.quantile(1.0)), "ms");
    context.delete(&writing.topic).await
}

fn send(runtime: &Handle, producer: &Producer, topic: &Arc<str>, count: u64, epoch: Instant) -> anyhow::Result<()> {
    let mut in_flight = Vec::new();
    let begin = epoch.elapsed() + Duration::from_millis(10);
    for number in 0..count {
        let due = begin + INTERVAL.mul_f64(number as f64);
        thread::sleep(due.saturating_sub(epoch.elapsed()));
        let record = Record::new(topic.clone()).value(value(number, due));
        in_flight.push(runtime.block_on(producer.enqueue(record))?);
    }
    runtime.block_on(async {
        for delivery in in_flight {
            let ack = delivery.await?;
            ensure!(ack.durability == Durability::Fsynced, "an ack is not durable");
        }
        Ok(())
    })
}

/// A value with the record's number and due time.
fn value(number: u64, due: Duration) -> Bytes {
    let mut value = BytesMut::from(&noise()[..SIZE]);
    value[..8].copy_from_slice(&number.to_be_bytes());
    value[8..16].copy_from_slice(&(due.as_nanos() as u64).to_be_bytes());
    value.freeze()
}

/// The first tenth does not count, because it opens connections and files.
async fn read(client: &Client, topic: &str, count: u64, epoch: Instant) -> anyhow::Result<Latencies> {
    let builder = client.consumer().assign([(topic, PartitionId::new(0))]).from(StartFrom::Beginning);
    let mut consumer = builder.build().await?;
    let mut latencies = Latencies::new()?;
    for expected in 0..count {
        let record = consumer.next().await.context("the consumer was closed")??;
        let now = epoch.elapsed();
        let value = record.value.context("a record without value")?;
        let field = |at| value.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
        let (number, due) = field(0).zip(field(8)).context("a value that is too short")?;
        ensure!(number == expected && value.len() == SIZE, "record {number} arrived instead of {expected}");
        if count / 10 <= number {
            latencies.add(now.saturating_sub(Duration::from_nanos(due)));
        }
    }
    consumer.close().await?;
    Ok(latencies)
}
