//! Writes as one anonymous producer after the other, each with other settings.

use super::{RETRY, RigClient};
use crate::stall::journal::{CallTime, Journal, JournalEvent, Nanos, RecordOutcome};
use crate::stall::rig_record::RigRecord;
use crate::stall::seeded_random::SeededRandom;
use crate::stall::timeouts::{DELIVERY, REQUEST};
use crate::stall::{EVENTS, PARTITIONS};
use crate::stop::Stop;
use grower_client::{Acks, Client, Codec, Delivery, OffsetSpec, Producer, ProducerBuilder, Record};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// Records of a partition whose acks are awaited.
const AHEAD: usize = 200;

pub(super) async fn run(mut rig: RigClient) -> anyhow::Result<()> {
    let mut life = 0;
    while let Some(client) = rig.connect().await {
        life += 1;
        let writer = format!("{}.{life}", rig.process);
        live(&mut rig, &client, writer).await?;
    }
    Ok(())
}

/// Writes with one producer from its start to its end.
async fn live(rig: &mut RigClient, client: &Client, writer: String) -> anyhow::Result<()> {
    let acks = rig.random.pick(&[Acks::All, Acks::All, Acks::Leader]);
    let builder = with_settings(client.producer().delivery_timeout(DELIVERY).acks(acks), &mut rig.random);
    let began = Nanos::now();
    let Some(producer) = rig.journal.called("build a producer", began, REQUEST, builder.build().await) else {
        rig.stop.sleep(RETRY).await;
        return Ok(());
    };
    let until = Instant::now() + rig.random.millis(2_000..12_000);
    let mut writing = JoinSet::new();
    for partition in 0..PARTITIONS {
        let random = SeededRandom::new(rig.random.within(0..u64::MAX), &writer);
        let (producer, writer, journal, stop) =
            (producer.clone(), writer.clone(), rig.journal.clone(), rig.stop.clone());
        writing.spawn(OrderedWriter { producer, partition, writer, journal, random, stop }.run(until));
    }
    while let Some(ended) = writing.join_next().await {
        ended?;
    }
    if rig.random.one_in(4) {
        return Ok(()); // Dropped, with whatever still waits.
    }
    flush(rig, client, &producer, writer, acks).await;
    let began = Nanos::now();
    rig.journal.called("close a producer", began, DELIVERY, producer.close().await);
    Ok(())
}

fn with_settings(builder: ProducerBuilder, random: &mut SeededRandom) -> ProducerBuilder {
    builder
        .linger(random.pick(&[Duration::ZERO, Duration::ZERO, Duration::from_millis(5)]))
        .batch_records(random.pick(&[1, 10, 10_000]))
        .compression(random.pick(&[Codec::None, Codec::Lz4]))
        .memory(random.pick(&[64 << 20, 32 << 10]))
}

/// Flushes, and looks where the partitions end then: a record that is not there by now never comes. A flush that fails
/// promises nothing. With acks `leader` a record may be written and not committed: readers see it later.
async fn flush(rig: &RigClient, client: &Client, producer: &Producer, writer: String, acks: Acks) {
    let began = Nanos::now();
    let flushed = rig.journal.called("flush", began, DELIVERY, producer.flush().await);
    if acks != Acks::All {
        return;
    }
    let asked = Nanos::now();
    let partitions = (0..PARTITIONS).map(|partition| (EVENTS, partition, OffsetSpec::End));
    let listed = client.admin().list_offsets(partitions).await;
    let listed = rig.journal.called("list offsets", asked, REQUEST, listed);
    let Some((listed, ())) = listed.zip(flushed) else { return };
    let ends = (0..).zip(listed).filter_map(|(partition, end)| Some((partition, end.ok()?.offset?.value())));
    let (topic, ends) = (EVENTS.to_owned(), ends.collect());
    rig.journal.note(&JournalEvent::Flushed { topic, writer, began, ends });
}

/// Writes to one partition, in order.
struct OrderedWriter {
    producer: Producer,
    partition: u32,
    writer: String,
    journal: Journal,
    random: SeededRandom,
    stop: Stop,
}

/// A record whose outcome is awaited.
struct AwaitedRecord {
    number: u64,
    began: Nanos,
    delivery: Delivery,
}

impl OrderedWriter {
    async fn run(mut self, until: Instant) {
        let (settling, settled) = mpsc::channel(AHEAD);
        let settler =
            RecordSettler { partition: self.partition, writer: self.writer.clone(), journal: self.journal.clone() };
        let noting = tokio::spawn(settler.clone().run(settled));
        let mut burst = 0;
        for number in 0.. {
            if until < Instant::now() || self.stop.is_requested() {
                break;
            }
            self.hand_in(number, &settler, &settling).await;
            burst = if self.random.one_in(100) { 60_u32 } else { burst.saturating_sub(1) };
            if burst == 0 {
                let pace = self.random.millis(5..40);
                self.stop.sleep(pace).await;
            }
        }
        drop(settling);
        noting.await.expect("a settler does not panic");
    }

    /// Hands in a record; now and then waits for it, for a limit of its own, or gives up early.
    async fn hand_in(&mut self, number: u64, settler: &RecordSettler, settling: &mpsc::Sender<AwaitedRecord>) {
        let content = RigRecord { writer: self.writer.clone(), number };
        let record = Record::new(EVENTS).partition(self.partition).key("k").value(content.value());
        if self.random.one_in(50) {
            let (limit, began) = (self.random.millis(50..500), Nanos::now());
            let outcome = RecordOutcome::of(&self.producer.send_within(record, limit).await);
            return settler.note(number, began, limit, outcome);
        }
        let patience = if self.random.one_in(50) { self.random.millis(0..100) } else { 2 * DELIVERY };
        let began = Nanos::now();
        match timeout(patience, self.producer.enqueue(record)).await {
            Ok(Ok(delivery)) => {
                let awaited = AwaitedRecord { number, began, delivery };
                settling.send(awaited).await.unwrap_or_else(|_| panic!("the settler runs"));
            }
            Ok(Err(error)) => settler.note(number, began, DELIVERY, RecordOutcome::of(&Err(error))),
            // Its documentation says: if the future is dropped before it completes, the record is not queued.
            Err(_) => settler.note(number, began, DELIVERY, RecordOutcome::NotWritten { error: "dropped".to_owned() }),
        }
    }
}

/// Notes the outcomes of a partition's records.
#[derive(Clone)]
struct RecordSettler {
    partition: u32,
    writer: String,
    journal: Journal,
}

impl RecordSettler {
    async fn run(self, mut settled: mpsc::Receiver<AwaitedRecord>) {
        while let Some(AwaitedRecord { number, began, delivery }) = settled.recv().await {
            let outcome = RecordOutcome::of(&delivery.await);
            self.note(number, began, DELIVERY, outcome);
        }
    }

    fn note(&self, number: u64, began: Nanos, limit: Duration, outcome: RecordOutcome) {
        let time = CallTime { began, ended: Nanos::now(), limit };
        let (topic, partition, writer) = (EVENTS.to_owned(), self.partition, self.writer.clone());
        self.journal.note(&JournalEvent::Settled { topic, partition, writer, number, time, outcome });
    }
}
