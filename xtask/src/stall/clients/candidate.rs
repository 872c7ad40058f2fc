//! Competes with others to append at the end of one partition, as candidates of an election do.
//!
//! A record's number is the end that its candidate expected.

use super::{RETRY, RigClient};
use crate::stall::LEASES;
use crate::stall::journal::{CallTime, JournalEvent, Nanos, RecordOutcome};
use crate::stall::rig_record::RigRecord;
use crate::stall::timeouts::{DELIVERY, REQUEST};
use grower_client::ids::Offset;
use grower_client::{AppendAtError, Outcome, Producer, Record};

pub(super) async fn run(mut rig: RigClient) -> anyhow::Result<()> {
    let mut end = Offset::ZERO;
    let mut attempts = 0;
    while let Some(client) = rig.connect().await {
        let began = Nanos::now();
        let built = client.producer().delivery_timeout(DELIVERY).build().await;
        let Some(producer) = rig.journal.called("build a producer", began, REQUEST, built) else {
            rig.stop.sleep(RETRY).await;
            continue;
        };
        for _ in 0..rig.random.within(10..200) {
            attempts += 1;
            end = append(&rig, &producer, end, attempts).await;
            let pace = rig.random.millis(5..50);
            if !rig.stop.sleep(pace).await {
                break;
            }
        }
    }
    Ok(())
}

/// Appends one record at `end`. Returns the end to expect next.
async fn append(rig: &RigClient, producer: &Producer, end: Offset, attempt: u64) -> Offset {
    let content = RigRecord { writer: format!("{}.{attempt}", rig.process), number: end.value() };
    let began = Nanos::now();
    let appended = producer.append_at(LEASES, 0, end, [Record::new(LEASES).value(content.value())]).await;
    let time = CallTime { began, ended: Nanos::now(), limit: DELIVERY };
    let (next, outcome) = match appended {
        Ok(appended) => (appended.offsets.end, RecordOutcome::Acked { offset: appended.offsets.start.value() }),
        Err(AppendAtError::UnexpectedEnd { actual, expected }) => {
            (actual, RecordOutcome::NotWritten { error: format!("the end is {actual}, not {expected}") })
        }
        Err(error) if error.outcome() == Outcome::Unknown => (end, RecordOutcome::Unknown { error: error.to_string() }),
        Err(error) => (end, RecordOutcome::NotWritten { error: error.to_string() }),
    };
    let (topic, writer, number) = (LEASES.to_owned(), content.writer, content.number);
    rig.journal.note(&JournalEvent::Settled { topic, partition: 0, writer, number, time, outcome });
    next
}
