//! Ten records a second, each to another partition, and one reader of all partitions in a process of its own: the
//! processor time of an idle topic.

use super::super::RowContext;
use crate::bench::machine;
use anyhow::{Context, ensure};
use grower_client::ids::PartitionId;
use grower_client::{Producer, Record};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio::time::{Instant, sleep_until, timeout};

const INTERVAL: Duration = Duration::from_millis(100);
/// A reader needs time to find the positions of its partitions.
const READER_START_MAX: Duration = Duration::from_secs(90);
const ARRIVAL_MAX: Duration = Duration::from_secs(10);
/// The step between partitions: a prime, so that every partition gets its turn.
const STRIDE: u64 = 7919;

/// Processor time in relation to the time.
pub(super) struct CoreShares {
    pub(super) client: f64,
    pub(super) server: f64,
}

pub(super) async fn measure(context: &RowContext<'_>, topic: &str, partitions: u32) -> anyhow::Result<CoreShares> {
    let mut reader = Reader::start(context, topic)?;
    let producer = context.broker.client().await?.producer().build().await?;
    let sender = Sender { producer, topic, partitions };
    reader.wait_until_it_reads(&sender).await?;
    context.settle().await?;
    let before = (machine::cpu_seconds(reader.process)?, context.broker.cpu_seconds()?);
    let began = Instant::now();
    let count = context.amounts.trickle.div_duration_f64(INTERVAL).ceil() as u32;
    for number in 0..count {
        sleep_until(began + INTERVAL * number).await;
        sender.send(&number.to_string(), u64::from(number)).await?;
        reader.expect(&number.to_string()).await?;
    }
    sleep_until(began + INTERVAL * count).await;
    let share = |seconds: f64| seconds / began.elapsed().as_secs_f64();
    let client = share(machine::cpu_seconds(reader.process)? - before.0);
    Ok(CoreShares { client, server: share(context.broker.cpu_seconds()? - before.1) })
}

struct Sender<'a> {
    producer: Producer,
    topic: &'a str,
    partitions: u32,
}

impl Sender<'_> {
    /// Sends a record to the partition whose turn it is, and waits for its ack.
    async fn send(&self, value: &str, turn: u64) -> anyhow::Result<()> {
        let partition = turn * STRIDE % u64::from(self.partitions);
        let record = Record::new(self.topic).partition(PartitionId::new(partition as u32)).value(value.to_owned());
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

    /// Sends records until one is printed, then waits until no further one comes.
    async fn wait_until_it_reads(&mut self, sender: &Sender<'_>) -> anyhow::Result<()> {
        let (began, mut turn) = (Instant::now(), 0);
        loop {
            sender.send("early", turn).await?;
            turn += 1;
            if let Ok(value) = timeout(INTERVAL, self.next()).await {
                ensure!(value? == "early", "the reader printed a record of another row");
                break;
            }
            ensure!(began.elapsed() < READER_START_MAX, "the reader printed nothing for {READER_START_MAX:?}");
        }
        while let Ok(value) = timeout(3 * INTERVAL, self.next()).await {
            value?;
        }
        Ok(())
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
