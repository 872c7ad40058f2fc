//! `four-producers-*`: four producers on four partitions, fsynced, compared with one producer on one partition.
//!
//! Both sides run as `grower-cli bench produce`, in turns, the first side alternates.

use super::{RowContext, millis};
use crate::bench::command_line::LoadResult;
use crate::bench::report::BenchReport;

/// Records in flight of a producer, in bytes, here and in the broker.
const IN_FLIGHT: u64 = 64 << 20;

pub(super) async fn measure(
    name: &str,
    size: usize,
    context: RowContext<'_>,
    report: &mut BenchReport,
) -> anyhow::Result<()> {
    let count = if size < 1024 { context.amounts.small } else { context.amounts.large };
    let topic = context.topic(name);
    let mut server = [0.0; 2];
    let mut results = [None, None];
    let sides = if context.round.is_multiple_of(2) { [1, 4] } else { [4, 1] };
    for producers in sides {
        let at = usize::from(producers == 4);
        let before = context.broker.cpu_seconds()?;
        results[at] = Some(produce(&context, &format!("{topic}-{producers}"), producers, count, size).await?);
        server[at] = context.broker.cpu_seconds()? - before;
    }
    let [Some(one), Some(four)] = results else { anyhow::bail!("a side is missing") };
    let (unit, rate): (_, fn(&LoadResult) -> f64) = if size < 1024 {
        ("records/s", |result| result.records_per_second)
    } else {
        ("MB/s", |result| result.bytes_per_second / 1e6)
    };
    report.add_with_limit(name, rate(&four), unit, rate(&one));
    report.add(format!("{name}-of-1"), rate(&one), unit);
    report.add_with_limit(format!("{name}-p99"), millis(four.p99()), "ms", millis(one.p99()));
    report.add(format!("{name}-of-1-p99"), millis(one.p99()), "ms");
    report.add(format!("{name}-server-cpu"), server[1], "s");
    report.add(format!("{name}-of-1-server-cpu"), server[0], "s");
    context.add_peak_memory(name, report)
}

async fn produce(
    context: &RowContext<'_>,
    topic: &str,
    producers: u32,
    count: u64,
    size: usize,
) -> anyhow::Result<LoadResult> {
    context.warm_up(count * size as u64 + u64::from(producers) * IN_FLIGHT)?;
    let (producers, size) = (producers.to_string(), size.to_string());
    let arguments = ["--producers", &producers, "--partitions", &producers, "--size", &size];
    let result = context.command_line().produce(topic, count, &arguments).await?;
    context.expect_records(topic, count).await?;
    context.delete(topic).await?;
    Ok(result)
}
