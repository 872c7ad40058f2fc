//! `consume-1k`: reads from the beginning, out of the page cache, compared with the limit.
//!
//! An unmeasured pass compares every byte. The measured pass then counts every record, and checks its offset, its
//! length and both ends of its value. The memory is that of a process which only reads: `grower-cli bench consume`.

use super::produce::add_cost;
use super::{RowContext, mib};
use crate::bench::bench_broker::BenchBroker;
use crate::bench::ledger::Ledger;
use crate::bench::limit;
use crate::bench::meter::{Cost, Meter};
use crate::bench::report::BenchReport;
use crate::bench::values::RecordIdentity;
use crate::bench::workload::{Workload, read_back};
use anyhow::ensure;
use grower_client::ids::PartitionId;
use grower_client::{Client, ConsumerRecord, StartFrom};
use std::time::Duration;

const NAME: &str = "consume-1k";
const SIZE: usize = 1024;

pub(super) async fn measure(context: RowContext<'_>, report: &mut BenchReport) -> anyhow::Result<()> {
    let writing = Workload::new(&context.topic(NAME), 1, context.amounts.large, SIZE);
    context.warm_up(2 * writing.bytes())?; // Includes the file of the limit.
    writing.create_topic(context.broker).await?;
    writing.run(context.broker).await?;
    read_back(context.broker, &writing.topic, Ledger::new(1, SIZE, writing.shares().collect())).await?;
    let bytes = writing.bytes();
    let limit = limit::consume(context.directory, bytes).await?;
    let cost = consume(context.broker, writing.topic.to_string(), writing.count).await?;
    let per_second = |took: Duration| bytes as f64 / took.as_secs_f64() / 1e6;
    report.add_with_limit(NAME, per_second(cost.took), "MB/s", per_second(limit));
    report.add(format!("{NAME}-limit"), per_second(limit), "MB/s");
    report.add(format!("{NAME}-client-busy"), cost.client_busy(), "cores");
    add_cost(NAME, cost, report);
    let alone = context.command_line().consume(&writing.topic, writing.count, &[]).await?;
    report.add(format!("{NAME}-client-memory"), mib(alone.peak_memory_bytes), "MiB");
    context.add_peak_memory(NAME, report)?;
    context.delete(&writing.topic).await
}

/// Runs in a task of the runtime, as in a user's program.
async fn consume(broker: &BenchBroker, topic: String, count: u64) -> anyhow::Result<Cost> {
    let client = broker.client().await?;
    let meter = Meter::start(broker)?;
    tokio::spawn(async move { read(&client, &topic, count).await }).await??;
    meter.stop(broker)
}

async fn read(client: &Client, topic: &str, count: u64) -> anyhow::Result<()> {
    let builder = client.consumer().assign([(topic, PartitionId::new(0))]).from(StartFrom::Beginning);
    let mut consumer = builder.max_poll_records(8192).build().await?;
    let mut next = 0;
    while next < count {
        let records = consumer.poll(Duration::from_secs(10)).await?;
        ensure!(!records.is_empty(), "{next} of {count} records arrived, then none for 10 s");
        for record in &records {
            ensure!(is_record(record, next), "offset {next} of {topic} holds another record than was written");
            next += 1;
        }
    }
    Ok(consumer.close().await?)
}

/// Whether this is the record with this number, by its length and both ends.
fn is_record(record: &ConsumerRecord, number: u64) -> bool {
    let (expected, value) = (RecordIdentity { writer: 0, partition: 0, number }.value(SIZE), record.value.as_deref());
    record.offset.value() == number
        && value.is_some_and(|value| {
            value.len() == SIZE && value[..8] == expected[..8] && value[SIZE - 8..] == expected[SIZE - 8..]
        })
}
