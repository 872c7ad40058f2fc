//! `crowd`: what thousands of connections that want nothing, and hundreds that never read what they asked for, cost somebody
//! who produces: the same work with them and without them, in turns of a second, since a disk's tail changes by the second.

use super::{Ground, mib, millis};
use crate::bench::deaf::Deaf;
use crate::bench::latencies::Latencies;
use crate::bench::ledger::Ledger;
use crate::bench::machine;
use crate::bench::meter::Meter;
use crate::bench::report::Report;
use crate::bench::site::Site;
use crate::bench::values::Identity;
use crate::bench::writers::{Writing, read_back};
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
/// Sixty-four records of these are more than a socket takes before it is read.
const LARGE: usize = 100_000;

/// Which comes first changes with the turn: files and connections of the first are younger.
pub(super) async fn measure(ground: Ground<'_>, report: &mut Report) -> anyhow::Result<()> {
    let large = Writing::new(&format!("{}-large", ground.topic(NAME)), 1, 64, LARGE);
    ground.warm_up(large.bytes())?;
    large.create_topic(ground.site).await?;
    large.run(ground.site).await?;
    let mut sides = [Side::new()?, Side::new()?];
    for turn in 0..turns(ground.amounts.paced) {
        for with in if (ground.round + turn).is_multiple_of(2) { [false, true] } else { [true, false] } {
            sides[usize::from(with)].take_turn(&ground, &large, turn, with).await?;
        }
    }
    let [without, with] = &sides;
    let quantile = |side: &Side, quantile| millis(side.latencies.quantile(quantile));
    report.add_beside(NAME, quantile(with, 0.99), "ms", quantile(without, 0.99));
    report.add(format!("{NAME}-nobody-else"), quantile(without, 0.99), "ms");
    report.add(format!("{NAME}-p50"), quantile(with, 0.5), "ms");
    report.add(format!("{NAME}-nobody-else-p50"), quantile(without, 0.5), "ms");
    report.add(format!("{NAME}-server-cpu"), with.cpu, "s");
    report.add(format!("{NAME}-nobody-else-server-cpu"), without.cpu, "s");
    report.add(format!("{NAME}-memory"), mib(with.memory), "MiB");
    read_back(ground.site, &large.topic, Ledger::new(1, LARGE, large.shares().collect())).await?;
    ground.delete(&large.topic).await
}

fn turns(paced: Duration) -> u32 {
    paced.div_duration_f64(TURN).round().max(1.0) as u32
}

/// What producing was like.
struct Side {
    latencies: Latencies,
    /// Processor seconds of the broker.
    cpu: f64,
    /// By how much the broker's memory had grown at most.
    memory: u64,
}

impl Side {
    fn new() -> anyhow::Result<Self> {
        Ok(Self { latencies: Latencies::new()?, cpu: 0.0, memory: 0 })
    }

    async fn take_turn(&mut self, ground: &Ground<'_>, large: &Writing, turn: u32, with: bool) -> anyhow::Result<()> {
        let (idle, stuck) = (ground.amounts.idle, ground.amounts.stuck);
        let before = machine::resident_memory(ground.site.process)?;
        let crowd = if with { Some(Crowd::gather(ground.site, large, idle, stuck).await?) } else { None };
        let side = if with { "with" } else { "without" };
        let count = ground.amounts.paced.min(TURN).div_duration_f64(INTERVAL) as u64;
        let writing = Writing::new(&format!("{}-{side}-{turn}", ground.topic(NAME)), 1, count, SIZE);
        writing.create_topic(ground.site).await?;
        let producer = writing.producer(ground.site).await?;
        let (topic, runtime) = (writing.topic.clone(), Handle::current());
        ground.settle().await?; // What is there is measured, not its coming: answers that nobody reads fill sockets first.
        let meter = Meter::start(ground.site)?;
        // A thread, because timers of a runtime go by milliseconds.
        let latencies = tokio::task::spawn_blocking(move || send(&runtime, producer, &topic, count)).await??;
        self.cpu += meter.stop(ground.site)?.server;
        self.latencies.merge(&latencies)?;
        self.memory = self.memory.max(machine::resident_memory(ground.site.process)?.saturating_sub(before));
        if let Some(crowd) = crowd {
            crowd.disperse(ground.site).await?;
        }
        read_back(ground.site, &writing.topic, Ledger::new(1, SIZE, writing.shares().collect())).await?;
        ground.delete(&writing.topic).await
    }
}

/// A record's time counts from when it was due to its ack. The first tenth does not count: connections are made then, and files.
fn send(runtime: &Handle, producer: Producer, topic: &str, count: u64) -> anyhow::Result<Latencies> {
    let mut under_way = JoinSet::new();
    let begin = Instant::now() + Duration::from_millis(10);
    for number in 0..count {
        let due = begin + INTERVAL.mul_f64(number as f64);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let value = Identity { writer: 0, partition: 0, number }.value(SIZE);
        let delivery = runtime.block_on(producer.enqueue(Record::new(topic).value(value)))?;
        let settle = async move {
            let ack = delivery.await?;
            ensure!(ack.durability == Durability::Fsynced, "an ack that is not durable");
            Ok((number, due.elapsed()))
        };
        under_way.spawn_on(settle, runtime);
    }
    let mut latencies = Latencies::new()?;
    while let Some(done) = runtime.block_on(under_way.join_next()) {
        let (number, took) = done??;
        if count / 10 <= number {
            latencies.add(took);
        }
    }
    Ok(latencies)
}

/// Connections that are there until they are told to go.
struct Crowd {
    idle: Vec<Client>,
    stuck: Vec<Consumer>,
    deaf: Deaf,
}

impl Crowd {
    /// A consumer has a connection for what it asks now and then, and one for records. It is the second that gets stuck,
    /// so that the first counts among the idle ones.
    async fn gather(site: &Site, large: &Writing, idle: usize, stuck: usize) -> anyhow::Result<Self> {
        let mut crowd = Self { idle: Vec::new(), stuck: Vec::new(), deaf: Deaf::default() };
        for _ in 0..idle - stuck {
            crowd.idle.push(site.client().await?);
        }
        for _ in 0..stuck {
            let builder = Client::builder().transport(crowd.deaf.clone());
            let client = builder.bootstrap([site.address.as_str()]).connect().await?;
            let everything = [(&*large.topic, PartitionId::new(0))];
            let builder = client.consumer().assign(everything).from(StartFrom::Beginning);
            crowd.stuck.push(builder.build().await?);
        }
        until(site, |there| (idle + stuck) as u64 <= there).await.context("not everybody came")?;
        Ok(crowd)
    }

    /// Waits until the broker has noticed.
    async fn disperse(self, site: &Site) -> anyhow::Result<()> {
        drop((self.idle, self.stuck));
        self.deaf.hang_up(); // Else each waits for its answer first.
        until(site, |there| there <= 1).await.context("not everybody left")
    }
}

/// Waits for so many connections, the one that asks among them.
async fn until(site: &Site, enough: impl Fn(u64) -> bool) -> anyhow::Result<()> {
    let (client, began) = (site.client().await?, Instant::now());
    loop {
        let there = client.admin().describe_broker().await?.connections;
        if enough(there) {
            return Ok(());
        }
        ensure!(began.elapsed() < Duration::from_secs(30), "{there} connections");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
