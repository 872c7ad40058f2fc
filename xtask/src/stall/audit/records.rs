//! Compares a partition with what its producers reported.

use super::AuditReport;
use crate::stall::journal::{JournalEvent, Nanos, ProcessJournal, RecordOutcome};
use crate::stall::rig_record::RigRecord;
use std::collections::HashMap;

/// Acknowledged records are at their offsets, those not written are absent, and nothing lands after a flush.
pub(super) fn check(
    journals: &[ProcessJournal],
    topic: &str,
    partition: u32,
    log: &[RigRecord],
    report: &mut AuditReport,
) {
    let offsets = log.iter().zip(0..).map(|(record, offset)| ((record.writer.as_str(), record.number), offset));
    let check = PartitionAudit { topic, partition, log, offsets: offsets.collect() };
    for ProcessJournal { events, .. } in journals {
        let mut unknown: HashMap<&str, Vec<(u64, Nanos)>> = HashMap::new();
        for event in events {
            match event {
                JournalEvent::Settled { topic: of, partition: at, writer, number, time, outcome }
                    if of == topic && *at == partition =>
                {
                    check.settled(writer, *number, outcome, report);
                    if let RecordOutcome::Unknown { .. } = outcome {
                        unknown.entry(writer).or_default().push((*number, time.ended));
                    }
                }
                JournalEvent::Flushed { topic: of, writer, began, ends } if of == topic => {
                    let end = ends.iter().find(|(at, _)| *at == partition).map(|(_, end)| *end);
                    let before = unknown.get(writer.as_str()).into_iter().flatten().filter(|(_, ended)| ended <= began);
                    for (number, _) in before {
                        check.no_late_landing(writer, *number, end, report);
                    }
                }
                _ => {}
            }
        }
    }
}

struct PartitionAudit<'a> {
    topic: &'a str,
    partition: u32,
    log: &'a [RigRecord],
    /// By writer and number.
    offsets: HashMap<(&'a str, u64), u64>,
}

impl PartitionAudit<'_> {
    fn settled(&self, writer: &str, number: u64, outcome: &RecordOutcome, report: &mut AuditReport) {
        let found = self.offsets.get(&(writer, number)).copied();
        let name = format!("{}/{}: number {number} of {writer}", self.topic, self.partition);
        match outcome {
            RecordOutcome::Acked { offset } => {
                report.count("records acknowledged", 1);
                let at = self.log.get(*offset as usize);
                if at.is_none_or(|at| at.writer != writer || at.number != number) {
                    report.broken(format!("{name} was acknowledged at {offset}, where {at:?} is; it is at {found:?}"));
                }
            }
            RecordOutcome::Unknown { .. } => {
                report.count(
                    if found.is_some() {
                        "records of unknown outcome, written"
                    } else {
                        "records of unknown outcome, absent"
                    },
                    1,
                );
            }
            RecordOutcome::NotWritten { error } => {
                report.count("records not written", 1);
                if let Some(offset) = found {
                    report.broken(format!("{name} was \"not written\" ({error}), and is at offset {offset}"));
                }
            }
        }
    }

    fn no_late_landing(&self, writer: &str, number: u64, end: Option<u64>, report: &mut AuditReport) {
        let Some((found, end)) = self.offsets.get(&(writer, number)).zip(end) else { return };
        if end <= *found {
            report.broken(format!(
                "{}/{}: number {number} of {writer} was unknown, the partition ended at {end} after a flush, and the \
                 record landed at {found}",
                self.topic, self.partition
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stall::journal::CallTime;
    use std::time::Duration;

    fn second(second: u64) -> Nanos {
        Nanos::ZERO.plus(Duration::from_secs(second))
    }

    /// A record of writer `w` that was settled at the second of its number.
    fn settled(number: u64, outcome: RecordOutcome) -> JournalEvent {
        let time = CallTime { began: second(0), ended: second(number), limit: Duration::from_secs(1) };
        JournalEvent::Settled { topic: "t".to_owned(), partition: 0, writer: "w".to_owned(), number, time, outcome }
    }

    fn acked(number: u64, offset: u64) -> JournalEvent {
        settled(number, RecordOutcome::Acked { offset })
    }

    fn unknown(number: u64) -> JournalEvent {
        settled(number, RecordOutcome::Unknown { error: String::new() })
    }

    fn not_written(number: u64) -> JournalEvent {
        settled(number, RecordOutcome::NotWritten { error: "refused".to_owned() })
    }

    fn flushed(at: u64, end: u64) -> JournalEvent {
        let (topic, writer) = ("t".to_owned(), "w".to_owned());
        JournalEvent::Flushed { topic, writer, began: second(at), ends: vec![(0, end)] }
    }

    /// Checks a log of these numbers of writer `w`.
    fn broken(numbers: &[u64], events: Vec<JournalEvent>) -> String {
        let log: Vec<_> = numbers.iter().map(|number| RigRecord { writer: "w".to_owned(), number: *number }).collect();
        let mut report = AuditReport::default();
        check(&[ProcessJournal { process: "w".to_owned(), events }], "t", 0, &log, &mut report);
        report.broken.join("\n")
    }

    #[test]
    fn a_log_that_agrees_with_the_journal_breaks_nothing() {
        let events = vec![acked(1, 0), unknown(2), not_written(3), unknown(4), flushed(5, 2), acked(6, 2)];
        assert_eq!(broken(&[1, 4, 6], events), "");
    }

    #[test]
    fn each_broken_promise_is_named() {
        insta::assert_snapshot!(
            broken(&[2, 1, 3], vec![acked(1, 0), acked(9, 7)]),
            @r#"
        t/0: number 1 of w was acknowledged at 0, where Some(RigRecord { writer: "w", number: 2 }) is; it is at Some(1)
        t/0: number 9 of w was acknowledged at 7, where None is; it is at None
        "#
        );
        insta::assert_snapshot!(
            broken(&[3], vec![not_written(3)]),
            @r#"t/0: number 3 of w was "not written" (refused), and is at offset 0"#
        );
        insta::assert_snapshot!(
            broken(&[1, 2], vec![acked(1, 0), unknown(2), flushed(3, 1)]),
            @"t/0: number 2 of w was unknown, the partition ended at 1 after a flush, and the record landed at 1"
        );
    }
}
