//! `crowd`: the cost of thousands of idle connections and hundreds of stalled readers for a producer. The same work
//! runs with and without them, in turns of a second, because the tail latency of a disk changes by the second.

use super::{RowContext, mib, millis};
use crate::bench::bench_broker::BenchBroker;
use crate::bench::latencies::Latencies;
use crate::bench::ledger::Ledger;
use crate::bench::machine;
use crate::bench::meter::Meter;
use crate::bench::report::BenchReport;
use crate::bench::stalled_reader::StalledTransport;
use crate::bench::values::RecordIdentity;
use crate::bench::workload::{Workload, read_back};
use anyhow::{Context as _, ensure};
use grower_client::ids::PartitionId;
use grower_client::{Client, Consumer, Durability, Producer, Record, StartFrom};
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

const NAME: &str = "crowd";
const SIZE: usize = 1024;
const INTERVAL: Duration = Duration::from_micros(500);
const TURN: Duration = Duration::from_secs(1);
/// Sixty-four of these records are more than an unread socket buffers.
const LARGE: usize = 100_000;

/// The first side of a turn alternates, because its files and connections are newer.
pub(super) async fn measure(context: RowContext<'_>, report: &mut BenchReport) -> anyhow::Result<()> {
    let large = Workload::new(&format!("{}-large", context.topic(NAME)), 1, 64, LARGE);
    context.warm_up(large.bytes())?;
    large.create_topic(context.broker).await?;
    large.run(context.broker).await?;
    let mut sides = [Measurement::new()?, Measurement::new()?];
    for turn in 0..turns(context.amounts.paced) {
        for with in if (context.round + turn).is_multiple_of(2) { [false, true] } else { [true, false] } {
            sides[usize::from(with)].take_turn(&context, &large, turn, with).await?;
        }
    }
    let [without, with] = &sides;
    let quantile = |side: &Measurement, quantile| millis(side.latencies.quantile(quantile));
    report.add_with_limit(NAME, quantile(with, 0.99), "ms", quantile(without, 0.99));
    report.add(format!("{NAME}-nobody-else"), quantile(without, 0.99), "ms");
    report.add(format!("{NAME}-p50"), quantile(with, 0.5), "ms");
    report.add(format!("{NAME}-nobody-else-p50"), quantile(without, 0.5), "ms");
    report.add(format!("{NAME}-server-cpu"), with.cpu, "s");
    report.add(format!("{NAME}-nobody-else-server-cpu"), without.cpu, "s");
    report.add(format!("{NAME}-memory"), mib(with.memory), "MiB");
    read_back(context.broker, &large.topic, Ledger::new(1, LARGE, large.shares().collect())).await?;
    context.delete(&large.topic).await
}

fn turns(paced: Duration) -> u32 {
    paced.div_duration_f64(TURN).round().max(1.0) as u32
}

/// The result of producing with or without the connections.
struct Measurement {
    latencies: Latencies,
    /// Processor seconds of the broker.
    cpu: f64,
    /// Largest growth of the broker's memory.
    memory: u64,
}

impl Measurement {
    fn new() -> anyhow::Result<Self> {
        Ok(Self { latencies: Latencies::new()?, cpu: 0.0, memory: 0 })
    }

    async fn take_turn(
        &mut self,
        context: &RowContext<'_>,
        large: &Workload,
        turn: u32,
        with: bool,
    ) -> anyhow::Result<()> {
        let (idle, stalled) = (context.amounts.idle, context.amounts.stalled);
        let before = machine::resident_memory(context.broker.process)?;
        let connections =
            if with { Some(ExtraConnections::open(context.broker, large, idle, stalled).await?) } else { None };
        let side = if with { "with" } else { "without" };
        let count = context.amounts.paced.min(TURN).div_duration_f64(INTERVAL) as u64;
        let writing = Workload::new(&format!("{}-{side}-{turn}", context.topic(NAME)), 1, count, SIZE);
        writing.create_topic(context.broker).await?;
        let producer = writing.producer(context.broker).await?;
        let (topic, runtime) = (writing.topic.clone(), Handle::current());
        context.settle().await?; // Measures established connections: responses to stalled readers fill sockets first.
        let meter = Meter::start(context.broker)?;
        // A thread, because timers of the runtime have a resolution of a millisecond.
        let latencies = tokio::task::spawn_blocking(move || send(&runtime, producer, &topic, count)).await??;
        self.cpu += meter.stop(context.broker)?.server;
        self.latencies.merge(&latencies)?;
        self.memory = self.memory.max(machine::resident_memory(context.broker.process)?.saturating_sub(before));
        if let Some(connections) = connections {
            connections.close(context.broker).await?;
        }
        read_back(context.broker, &writing.topic, Ledger::new(1, SIZE, writing.shares().collect())).await?;
        context.delete(&writing.topic).await
    }
}

/// A record's latency lasts from its due time to its ack. The first tenth does not count, because it opens
/// connections and files.
fn send(runtime: &Handle, producer: Producer, topic: &str, count: u64) -> anyhow::Result<Latencies> {
    let mut in_flight = JoinSet::new();
    let begin = Instant::now() + Duration::from_millis(10);
    for number in 0..count {
        let due = begin + INTERVAL.mul_f64(number as f64);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let value = RecordIdentity { writer: 0, partition: 0, number }.value(SIZE);
        let delivery = runtime.block_on(producer.enqueue(Record::new(topic).value(value)))?;
        let settle = async move {
            let ack = delivery.await?;
            ensure!(ack.durability == Durability::Fsynced, "an ack is not durable");
            Ok((number, due.elapsed()))
        };
        in_flight.spawn_on(settle, runtime);
    }
    let mut latencies = Latencies::new()?;
    while let Some(done) = runtime.block_on(in_flight.join_next()) {
        let (number, took) = done??;
        if count / 10 <= number {
            latencies.add(took);
        }
    }
    Ok(latencies)
}

/// Idle and stalled connections, open until they are dropped.
struct ExtraConnections {
    idle: Vec<Client>,
    stalled: Vec<Consumer>,
    transport: StalledTransport,
}

impl ExtraConnections {
    /// A consumer has one connection for requests and one for records. Only the second stalls,
    /// so the first counts among the idle ones.
    async fn open(broker: &BenchBroker, large: &Workload, idle: usize, stalled: usize) -> anyhow::Result<Self> {
        let mut connections = Self { idle: Vec::new(), stalled: Vec::new(), transport: StalledTransport::default() };
        for _ in 0..idle - stalled {
            connections.idle.push(broker.client().await?);
        }
        for _ in 0..stalled {
            let builder = Client::builder().transport(connections.transport.clone());
            let client = builder.bootstrap([broker.address.as_str()]).connect().await?;
            let everything = [(&*large.topic, PartitionId::new(0))];
            let builder = client.consumer().assign(everything).from(StartFrom::Beginning);
            connections.stalled.push(builder.build().await?);
        }
        until(broker, |there| (idle + stalled) as u64 <= there).await.context("some connections are missing")?;
        Ok(connections)
    }

    /// Closes all connections, and waits until the broker has noticed.
    async fn close(self, broker: &BenchBroker) -> anyhow::Result<()> {
        drop((self.idle, self.stalled));
        self.transport.close_all(); // Otherwise each connection waits for its response first.
        until(broker, |there| there <= 1).await.context("some connections stay open")
    }
}

/// Waits for a number of connections, which includes the one that asks.
async fn until(broker: &BenchBroker, enough: impl Fn(u64) -> bool) -> anyhow::Result<()> {
    let (client, began) = (broker.client().await?, Instant::now());
    loop {
        let there = client.admin().describe_broker().await?.connections;
        if enough(there) {
            return Ok(());
        }
        ensure!(began.elapsed() < Duration::from_secs(30), "{there} connections");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
