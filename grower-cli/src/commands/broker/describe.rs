//! `broker describe`.

use crate::capacity::{Capacity, Rate, percentiles};
use crate::options::OutputForm;
use crate::output::{StdoutWriter, bytes_for_people, in_groups, noun, span_for_people};
use crate::session::Session;
use clap::Args;
use grower_client::{BrokerDescription, Traffic};
use serde_json::{Value, json};
use std::io::{self, Write};
use std::time::Duration;

/// Show the broker: memory, disk, syncs, traffic
#[derive(Debug, Args)]
#[command(
    after_help = "JSON: {\"node\",\"version\",\"time\",\"uptime_ms\",\"connections\",\"memory\":{\"used\",\"budget\"},\
\"fsync\":{\"count\",\"p50_us\",\"p99_us\"},\"disk\":{\"total\",\"free\",\"reserve\",\"used_up\",\"over_ms\",\"days_until_full\"},\
\"records_in_per_s\",\"bytes_in_per_s\",\"records_out_per_s\",\"bytes_out_per_s\"}; percentiles are those of the latest 512 syncs, rates \
those of the last minute, days_until_full is null while the disk does not fill."
)]
pub struct DescribeBrokerCommand {}

impl DescribeBrokerCommand {
    pub(crate) async fn run(self, session: &Session) -> anyhow::Result<()> {
        let broker = session.client.admin().describe_broker().await?;
        let mut out = StdoutWriter::open();
        match session.output {
            OutputForm::Json => out.json(&json(&broker))?,
            OutputForm::Table => print(&broker, &mut out)?,
        }
        Ok(out.flush()?)
    }
}

/// The rate of all topics together.
fn rate(broker: &BrokerDescription) -> Rate {
    let mut sum = Traffic::default();
    for topic in &broker.topics {
        sum.records_in += topic.recent.records_in;
        sum.bytes_in += topic.recent.bytes_in;
        sum.records_out += topic.recent.records_out;
        sum.bytes_out += topic.recent.bytes_out;
    }
    Rate::of(&sum, broker.topics.first().map_or(0, |topic| topic.recent_ms))
}

fn print(broker: &BrokerDescription, out: &mut impl Write) -> io::Result<()> {
    let uptime = span_for_people(Duration::from_millis(broker.uptime_ms));
    writeln!(
        out,
        "broker {}  version {}  up {uptime}  {} {}",
        broker.node,
        broker.version,
        broker.connections,
        noun(broker.connections, "connection")
    )?;
    let (used, budget) = (bytes_for_people(broker.memory_used), bytes_for_people(broker.memory_budget));
    writeln!(out, "memory  {used} of {budget} in use")?;
    let fsync = broker.fsync;
    match fsync.count {
        0 => writeln!(out, "fsync   none since the start")?,
        count => writeln!(out, "fsync   {} since the start; latest {}", in_groups(count), percentiles(&fsync))?,
    }
    let disk = broker.disk.as_ref().map_or_else(|| "unknown".to_owned(), |disk| Capacity::of(disk).describe());
    writeln!(out, "disk    {disk}")?;
    let rate = rate(broker);
    writeln!(out, "in      {}", rate.incoming())?;
    writeln!(out, "out     {}", rate.outgoing())
}

fn json(broker: &BrokerDescription) -> Value {
    let rate = rate(broker);
    let disk = broker.disk.map(|disk| {
        json!({
            "total": disk.total,
            "free": disk.free,
            "reserve": disk.reserve,
            "used_up": disk.used_up.map(|used| used.bytes),
            "over_ms": disk.used_up.map(|used| used.over_ms),
            "days_until_full": Capacity::of(&disk).days_until_full(),
        })
    });
    json!({
        "node": broker.node.value(),
        "version": broker.version,
        "time": broker.now.as_millis(),
        "uptime_ms": broker.uptime_ms,
        "connections": broker.connections,
        "memory": { "used": broker.memory_used, "budget": broker.memory_budget },
        "fsync": { "count": broker.fsync.count, "p50_us": broker.fsync.p50_micros, "p99_us": broker.fsync.p99_micros },
        "disk": disk,
        "records_in_per_s": rate.records_in,
        "bytes_in_per_s": rate.bytes_in,
        "records_out_per_s": rate.records_out,
        "bytes_out_per_s": rate.bytes_out,
    })
}
