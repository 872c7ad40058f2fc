//! Works as one group member after the other: polls or takes events, and commits what it was handed.

use super::{RETRY, RigClient};
use crate::stall::journal::{CallTime, JournalEvent, Nanos};
use crate::stall::timeouts::{REQUEST, SESSION};
use crate::stall::{EVENTS, GROUP};
use grower_client::ids::Offset;
use grower_client::{
    Client, ConsumeError, Consumer, ConsumerEvent, ConsumerRecord, ErrorCode, RebalanceEvent, Revoking, StartFrom,
    TopicPartition,
};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, timeout};

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
        let (leaves, takes_events) = (!rig.random.one_in(4), rig.random.one_in(2));
        Member { rig: &mut rig, name, consumer, takes_events, uncommitted: BTreeMap::new() }.work(until, leaves).await;
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
    /// Whether it takes events, or polls.
    takes_events: bool,
    /// By partition, the end of what was handed out and not committed yet.
    uncommitted: BTreeMap<u32, u64>,
}

impl Member<'_> {
    async fn work(mut self, until: Instant, leaves: bool) {
        while Instant::now() < until && !self.rig.stop.is_requested() {
            self.work_on_some().await;
        }
        if !leaves && !self.rig.stop.is_requested() {
            self.rig.journal.note(&JournalEvent::Dropped { consumer: self.name, at: Nanos::now() });
            return;
        }
        let began = Nanos::now();
        self.rig.journal.called("leave the group", began, REQUEST, self.consumer.close().await);
    }

    async fn work_on_some(&mut self) {
        let began = Nanos::now();
        if !self.takes_events {
            let polled = self.consumer.poll(POLL).await;
            let Some(records) = self.rig.journal.called("poll as a member", began, POLL, polled) else { return };
            return self.work_on(&records).await;
        }
        let Ok(event) = timeout(POLL, self.consumer.next_event()).await else { return };
        let event = event.unwrap_or(Err(ConsumeError::Closed));
        match self.rig.journal.called("take an event", began, POLL, event) {
            Some(ConsumerEvent::Records(records)) => self.work_on(&records).await,
            Some(ConsumerEvent::Revoking(revoking)) => self.give_up(revoking).await,
            Some(ConsumerEvent::Lost(lost)) => {
                self.uncommitted.retain(|partition, _| lost.iter().all(|lost| lost.partition.value() != *partition));
            }
            _ => {}
        }
    }

    async fn work_on(&mut self, records: &[ConsumerRecord]) {
        self.note(records);
        let work = self.rig.random.millis(0..15);
        tokio::time::sleep(work).await;
        if !self.uncommitted.is_empty() {
            self.commit().await;
        }
    }

    /// Commits what it was handed of partitions that are to move.
    async fn give_up(&mut self, revoking: Revoking) {
        let partitions: Vec<TopicPartition> = revoking.partitions().to_vec();
        let handed_out = partitions.into_iter().filter_map(|topic_partition| {
            let offset = self.uncommitted.remove(&topic_partition.partition.value())?;
            Some((topic_partition, Offset::new(offset)))
        });
        let offsets: Vec<_> = handed_out.collect();
        let began = Nanos::now();
        let done = revoking.done(offsets.clone()).await;
        let offsets = offsets.into_iter().map(|(name, offset)| (name.partition.value(), offset.value()));
        self.note_commit("give partitions up", began, done, offsets.collect());
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
        let offsets = std::mem::take(&mut self.uncommitted);
        self.note_commit("commit", began, result, offsets);
    }

    /// Notes the end of a call that commits these offsets.
    fn note_commit(&self, what: &str, began: Nanos, result: Result<(), ConsumeError>, offsets: BTreeMap<u32, u64>) {
        let time = CallTime { began, ended: Nanos::now(), limit: REQUEST };
        for (partition, offset) in offsets {
            let consumer = self.name.clone();
            match CommitResult::of(&result, partition) {
                CommitResult::Committed => {
                    self.rig.journal.note(&JournalEvent::Committed { consumer, partition, offset, time });
                }
                CommitResult::Failed => {
                    self.rig.journal.note(&JournalEvent::CommitFailed { consumer, partition, time });
                }
                CommitResult::Refused => {
                    self.rig.journal.note(&JournalEvent::CommitRefused { consumer, partition, time });
                }
            }
        }
        self.rig.journal.called(what, began, REQUEST, result);
    }
}

/// The result of a commit for one partition.
enum CommitResult {
    Committed,
    /// Failed, for example for want of an answer.
    Failed,
    /// The partition is no longer this member's.
    Refused,
}

impl CommitResult {
    fn of(result: &Result<(), ConsumeError>, partition: u32) -> Self {
        let error = match result {
            Ok(()) => return Self::Committed,
            Err(ConsumeError::Commit(error)) => error,
            Err(_) => return Self::Failed,
        };
        let failed = error.partitions.iter().find(|failed| failed.topic_partition.partition.value() == partition);
        match failed.map(|failed| failed.source.code()) {
            None => Self::Committed,
            Some(Some(ErrorCode::NotAssigned | ErrorCode::UnknownMember | ErrorCode::FencedMember)) => Self::Refused,
            Some(_) => Self::Failed,
        }
    }
}
