//! Reads everything, without a group.

use super::{RETRY, RigClient};
use crate::stall::journal::{JournalEvent, Nanos};
use crate::stall::rig_record::OrderCheck;
use crate::stall::timeouts::REQUEST;
use crate::stall::{EVENTS, PARTITIONS};
use grower_client::{Client, ConsumeError, Consumer, ConsumerRecord, OnGap, StartFrom};
use std::time::Duration;

const POLL: Duration = Duration::from_millis(200);

pub(super) async fn run(mut rig: RigClient) -> anyhow::Result<()> {
    while let Some(client) = rig.connect().await {
        let Some(mut consumer) = build(&rig, &client).await else {
            rig.stop.sleep(RETRY).await;
            continue;
        };
        let mut checks: Vec<OrderCheck> = (0..PARTITIONS).map(|_| OrderCheck::default()).collect();
        while !rig.stop.is_requested() {
            let began = Nanos::now();
            let polled = consumer.poll(POLL).await;
            if let Err(ConsumeError::Gap(gap)) = &polled {
                rig.broken(&gap.to_string());
            }
            let Some(records) = rig.journal.called("poll", began, POLL, polled) else { continue };
            check(&rig, &mut checks, &records);
        }
        let began = Nanos::now();
        rig.journal.called("close a reader", began, REQUEST, consumer.close().await);
    }
    Ok(())
}

async fn build(rig: &RigClient, client: &Client) -> Option<Consumer> {
    let builder = client
        .consumer()
        .subscribe([EVENTS])
        .from(StartFrom::Beginning)
        .on_gap(|_| OnGap::Report)
        .max_poll_records(100);
    let began = Nanos::now();
    rig.journal.called("build a reader", began, REQUEST, builder.build().await)
}

fn check(rig: &RigClient, checks: &mut [OrderCheck], records: &[ConsumerRecord]) {
    for partition in 0..PARTITIONS {
        let check = &mut checks[partition as usize];
        let first = check.next_offset();
        for record in records.iter().filter(|record| record.partition.value() == partition) {
            if let Err(broken) = check.check(record) {
                rig.broken(&format!("{EVENTS}/{partition} as read: {broken:#}"));
            }
        }
        let offsets = first..check.next_offset();
        if !offsets.is_empty() {
            rig.journal.note(&JournalEvent::HandedOut {
                consumer: rig.process.clone(),
                partition,
                offsets,
                at: Nanos::now(),
            });
        }
    }
}
