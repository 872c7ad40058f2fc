//! Ships the rows of an outbox under a producer identity, and resumes after the last row that is in the log.
//!
//! Row `n` of a partition is its record with sequence `n`, whichever process ships it.

use super::{RETRY, RigClient};
use crate::stall::journal::{CallTime, Journal, JournalEvent, Nanos, RecordOutcome};
use crate::stall::rig_record::RigRecord;
use crate::stall::timeouts::{DELIVERY, REQUEST};
use crate::stall::{OUTBOX, OUTBOX_PARTITIONS, SHIPPER};
use crate::stop::Stop;
use grower_client::{Client, ProduceError, Producer, Record};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Ships until the stop. Returns whether another process took the identity.
pub(super) async fn run(mut rig: RigClient) -> anyhow::Result<bool> {
    let mut life = 0;
    while let Some(client) = rig.connect().await {
        life += 1;
        let Some(producer) = claim(&rig, &client).await else {
            rig.stop.sleep(RETRY).await;
            continue;
        };
        let until = Instant::now() + rig.random.millis(2_000..10_000);
        let mut shipping = JoinSet::new();
        for partition in 0..OUTBOX_PARTITIONS {
            let (producer, journal, stop) = (producer.clone(), rig.journal.clone(), rig.stop.clone());
            let writer = format!("{}.{life}", rig.process);
            shipping.spawn(PartitionShipper { producer, partition, writer, journal, stop }.ship(until));
        }
        while let Some(ended) = shipping.join_next().await {
            if let Err(ProduceError::Fenced { .. }) = ended? {
                return Ok(true);
            }
        }
        if rig.random.one_in(2) {
            let began = Nanos::now();
            rig.journal.called("close a shipper", began, 2 * DELIVERY, producer.close().await);
        }
    }
    Ok(false)
}

async fn claim(rig: &RigClient, client: &Client) -> Option<Producer> {
    let builder = client.producer().identity(SHIPPER).delivery_timeout(DELIVERY);
    let began = Nanos::now();
    rig.journal.called("claim an identity", began, REQUEST, builder.build().await)
}

struct PartitionShipper {
    producer: Producer,
    partition: u32,
    writer: String,
    journal: Journal,
    stop: Stop,
}

impl PartitionShipper {
    /// Ships row by row, up to the first failure.
    async fn ship(mut self, until: Instant) -> Result<(), ProduceError> {
        let began = Nanos::now();
        let last = self.producer.last_written(OUTBOX, self.partition).await;
        self.journal.called("ask for the last record", began, DELIVERY, last.as_ref().map(|_| ()));
        let mut row = last?.map_or(0, |last| last.sequence.to_wire() as u64 + 1);
        while Instant::now() < until && !self.stop.is_requested() {
            self.send(row).await?;
            row += 1;
            self.stop.sleep(RETRY / 5).await;
        }
        Ok(())
    }

    async fn send(&self, number: u64) -> Result<(), ProduceError> {
        let value = RigRecord { writer: self.writer.clone(), number }.value();
        let record = Record::new(OUTBOX).partition(self.partition).key("k").value(value);
        let began = Nanos::now();
        let sent = self.producer.send(record).await;
        let time = CallTime { began, ended: Nanos::now(), limit: DELIVERY };
        let outcome = RecordOutcome::of(&sent);
        let (topic, partition, writer) = (OUTBOX.to_owned(), self.partition, self.writer.clone());
        self.journal.note(&JournalEvent::Settled { topic, partition, writer, number, time, outcome });
        sent.map(drop)
    }
}
