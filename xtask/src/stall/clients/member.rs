//! Works as one group member after the other: polls, and commits what it was handed.

use super::{RETRY, RigClient};
use crate::stall::journal::{CallTime, JournalEvent, Nanos};
use crate::stall::timeouts::{REQUEST, SESSION};
use crate::stall::{EVENTS, GROUP};
use grower_client::{Client, ConsumeError, Consumer, ConsumerRecord, RebalanceEvent, StartFrom};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

const POLL: Duration = Duration::from_millis(200);

pub(super) async fn run(mut rig: RigClient) -> anyhow::Result<()> {
    let mut life = 0;
    while let Some(client) = rig.connect().await {
        life += 1;
        let name = format!("{}.{life}", rig.process);
        let Some(consumer) = join(&mut rig, &client, &name).await else {
            rig.stop.sleep(RETRY).await;
            continue;
        };
        let until = Instant::now() + rig.random.millis(2_000..12_000);
        let leaves = !rig.random.one_in(4);
        Member { rig: &mut rig, name, consumer, uncommitted: BTreeMap::new() }.work(until, leaves).await;
    }
    Ok(())
}

async fn join(rig: &mut RigClient, client: &Client, name: &str) -> Option<Consumer> {
    let builder = client.consumer().group(GROUP).member(name).subscribe([EVENTS]).from(StartFrom::Beginning);
    let builder = builder.session_timeout(SESSION).max_poll_records(rig.random.pick(&[5, 50, 500]));
    let (journal, consumer) = (rig.journal.clone(), name.to_owned());
    let builder = builder.on_rebalance(move |RebalanceEvent { assigned, .. }| {
        let partitions = assigned.iter().map(|assigned| assigned.partition.value()).collect();
        journal.note(&JournalEvent::Assigned { consumer: consumer.clone(), partitions, at: Nanos::now() });
    });
    let began = Nanos::now();
    rig.journal.called("join the group", began, REQUEST, builder.build().await)
}

struct Member<'a> {
    rig: &'a mut RigClient,
    name: String,
    consumer: Consumer,
    /// By partition, the end of what was handed out and not committed yet.
    uncommitted: BTreeMap<u32, u64>,
}

impl Member<'_> {
    async fn work(mut self, until: Instant, leaves: bool) {
        while Instant::now() < until && !self.rig.stop.is_requested() {
            self.work_on_some().await;
        }
        if !leaves && !self.rig.stop.is_requested() {
            let dropped: Result<(), _> = Err("dropped");
            self.rig.journal.called("leave without a word", Nanos::now(), REQUEST, dropped);
            return;
        }
        let began = Nanos::now();
        self.rig.journal.called("leave the group", began, REQUEST, self.consumer.close().await);
    }

    async fn work_on_some(&mut self) {
        let began = Nanos::now();
        let polled = self.consumer.poll(POLL).await;
        let Some(records) = self.rig.journal.called("poll as a member", began, POLL, polled) else { return };
        self.note(&records);
        let work = self.rig.random.millis(0..15);
        tokio::time::sleep(work).await;
        if !self.uncommitted.is_empty() {
            self.commit().await;
        }
    }

    fn note(&mut self, records: &[ConsumerRecord]) {
        let mut handed_out = BTreeMap::new();
        for record in records {
            let offset = record.offset.value();
            let offsets = handed_out.entry(record.partition.value()).or_insert(offset..offset);
            if offsets.end != offset {
                self.rig.broken(&format!(
                    "{}: {EVENTS}/{} skips from {} to {offset}",
                    self.name, record.partition, offsets.end
                ));
            }
            offsets.end = offset + 1;
        }
        for (partition, offsets) in handed_out {
            self.uncommitted.insert(partition, offsets.end);
            let consumer = self.name.clone();
            self.rig.journal.note(&JournalEvent::HandedOut { consumer, partition, offsets, at: Nanos::now() });
        }
    }

    async fn commit(&mut self) {
        let began = Nanos::now();
        let result = self.consumer.commit().await;
        let refused = match &result {
            Ok(()) => Vec::new(),
            Err(ConsumeError::Commit(error)) => {
                error.partitions.iter().map(|refused| refused.topic_partition.partition.value()).collect()
            }
            Err(_) => self.uncommitted.keys().copied().collect(),
        };
        let time = CallTime { began, ended: Nanos::now(), limit: REQUEST };
        self.rig.journal.called("commit", began, REQUEST, result);
        for (partition, offset) in std::mem::take(&mut self.uncommitted) {
            if !refused.contains(&partition) {
                let consumer = self.name.clone();
                self.rig.journal.note(&JournalEvent::Committed { consumer, partition, offset, time });
            }
        }
    }
}
