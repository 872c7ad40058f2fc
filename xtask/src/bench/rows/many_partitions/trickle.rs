//! Ten records a second, in turn to ten partitions of a topic that is otherwise empty, and one reader of all partitions
//! in a process of its own: the processor time of a topic that is almost idle.
//!
//! The ten partitions have their files before, and no filled topic has checkpoints to write: neither is measured.

use super::super::RowContext;
use crate::bench::machine;
use anyhow::{Context, ensure};
use grower_client::ids::PartitionId;
use grower_client::{Producer, Record, TopicSpec};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio::time::{Instant, sleep_until, timeout};

const INTERVAL: Duration = Duration::from_millis(100);
/// A reader needs time to find the positions of its partitions.
const READER_START_MAX: Duration = Duration::from_secs(90);
const ARRIVAL_MAX: Duration = Duration::from_secs(10);
/// The value of records that are sent before the measurement.
const EARLY: &str = "early";
/// Partitions that get records.
const WRITTEN: u32 = 10;

/// Processor time in relation to the time.
pub(super) struct CoreShares {
    pub(super) client: f64,
    pub(super) server: f64,
}

pub(super) async fn measure(context: &RowContext<'_>, partitions: u32) -> anyhow::Result<CoreShares> {
    let topic = &format!("trickle-{partitions}");
    let client = context.broker.client().await?;
    client.admin().create_topic(topic, TopicSpec::partitions(partitions)).await?;
    let mut reader = Reader::start(context, topic)?;
    let producer = client.producer().build().await?;
    let sender = Sender { producer, topic, partitions };
    reader.wait_until_it_reads(&sender).await?;
    context.settle().await?;
    let before = (machine::cpu_seconds(reader.process)?, context.broker.cpu_seconds()?);
    let began = Instant::now();
    let count = context.amounts.trickle.div_duration_f64(INTERVAL).ceil() as u32;
    for number in 0..count {
        sleep_until(began + INTERVAL * number).await;
        sender.send(&number.to_string(), number).await?;
        reader.expect(&number.to_string()).await?;
    }
    sleep_until(began + INTERVAL * count).await;
    let share = |seconds: f64| seconds / began.elapsed().as_secs_f64();
    let reading = share(machine::cpu_seconds(reader.process)? - before.0);
    let shares = CoreShares { client: reading, server: share(context.broker.cpu_seconds()? - before.1) };
    context.delete(topic).await?;
    Ok(shares)
}

struct Sender<'a> {
    producer: Producer,
    topic: &'a str,
    partitions: u32,
}

impl Sender<'_> {
    /// Sends a record to the partition whose turn it is, and waits for its ack.
    async fn send(&self, value: &str, turn: u32) -> anyhow::Result<()> {
        let written = WRITTEN.min(self.partitions);
        let partition = turn % written * (self.partitions / written); // Far apart.
        let record = Record::new(self.topic).partition(PartitionId::new(partition)).value(value.to_owned());
        self.producer.send(record).await?;
        Ok(())
    }
}

/// `grower-cli consume`, which prints the value of every new record.
struct Reader {
    _child: Child, // Killed when dropped.
    process: u32,
    values: Lines<BufReader<ChildStdout>>,
}

impl Reader {
    fn start(context: &RowContext<'_>, topic: &str) -> anyhow::Result<Self> {
        let command_line = context.command_line();
        let mut child = command_line.command(&["consume", topic, "--from", "end"]).spawn()?;
        let process = child.id().context("the reader has ended")?;
        let values = BufReader::new(child.stdout.take().context("no standard output")?).lines();
        Ok(Self { _child: child, process, values })
    }

    /// Sends records to all partitions in turn until one is printed, then waits until no further one comes.
    async fn wait_until_it_reads(&mut self, sender: &Sender<'_>) -> anyhow::Result<()> {
        let (began, mut turn, mut reads) = (Instant::now(), 0, false);
        while turn < WRITTEN || !reads {
            sender.send(EARLY, turn).await?;
            turn += 1;
            reads |= self.skip_early(INTERVAL / 10).await?;
            ensure!(began.elapsed() < READER_START_MAX, "the reader printed nothing for {READER_START_MAX:?}");
        }
        while self.skip_early(3 * INTERVAL).await? {}
        Ok(())
    }

    /// Whether the reader printed an early record within this time.
    async fn skip_early(&mut self, wait: Duration) -> anyhow::Result<bool> {
        let Ok(value) = timeout(wait, self.next()).await else { return Ok(false) };
        ensure!(value? == EARLY, "the reader printed a record that is not of this row");
        Ok(true)
    }

    async fn expect(&mut self, value: &str) -> anyhow::Result<()> {
        let printed = timeout(ARRIVAL_MAX, self.next()).await.context("a record did not arrive")??;
        ensure!(printed == value, "the reader printed {printed} instead of {value}");
        Ok(())
    }

    async fn next(&mut self) -> anyhow::Result<String> {
        self.values.next_line().await?.context("the reader has ended")
    }
}
