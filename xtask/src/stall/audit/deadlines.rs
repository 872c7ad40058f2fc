//! Each call ends within its limit. The time in which its own process did not run is not counted.

use super::AuditReport;
use crate::stall::journal::{CallTime, JournalEvent, Nanos, ProcessJournal};
use crate::stall::timeouts::TOLERANCE;
use std::time::Duration;

pub(super) fn check(journals: &[ProcessJournal], report: &mut AuditReport) {
    let mut slowest = Duration::ZERO;
    for ProcessJournal { process, events } in journals {
        let pauses: Vec<(Nanos, Nanos)> = events
            .iter()
            .filter_map(|event| match event {
                JournalEvent::Pause { from, to } => Some((*from, *to)),
                _ => None,
            })
            .collect();
        for event in events {
            let (what, time) = match event {
                JournalEvent::Call { what, time, .. } => (what.clone(), time),
                JournalEvent::Settled { topic, partition, writer, number, time, .. } => {
                    (format!("number {number} of {writer} in {topic}/{partition}"), time)
                }
                _ => continue,
            };
            report.count("calls and records held to their deadlines", 1);
            let late = lateness(time, &pauses);
            let told = || {
                let took = time.ended.since(time.began);
                format!(
                    "{process}: {what} took {took:.2?}, {late:.2?} more than its limit of {:?} and its pauses",
                    time.limit
                )
            };
            if slowest < late {
                slowest = late;
                report.slowest = Some(told());
            }
            if TOLERANCE < late {
                report.broken(told());
            }
        }
    }
}

/// How much later a call ended than it had to. A pause of its process moves the deadline to the end of the pause, if the
/// process had no time to keep it before.
fn lateness(time: &CallTime, pauses: &[(Nanos, Nanos)]) -> Duration {
    let first = pauses.partition_point(|(_, to)| *to < time.began);
    let mut due = time.began.plus(time.limit);
    for (from, to) in &pauses[first..] {
        if due.plus(TOLERANCE) < *from {
            break;
        }
        due = due.max(*to);
    }
    time.ended.since(due)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_of_the_own_process_moves_the_deadline_to_its_end() {
        let second = |second| Nanos::ZERO.plus(Duration::from_secs(second));
        let call =
            |began, ended| CallTime { began: second(began), ended: second(ended), limit: Duration::from_secs(1) };
        let late = |began, ended, pauses: &[(Nanos, Nanos)]| lateness(&call(began, ended), pauses).as_secs();
        assert_eq!(late(10, 11, &[]), 0);
        assert_eq!(late(10, 15, &[]), 4);
        assert_eq!(late(10, 15, &[(second(1), second(9)), (second(16), second(20))]), 4);
        assert_eq!(late(10, 15, &[(second(9), second(14))]), 1);
        assert_eq!(late(10, 15, &[(second(13), second(15))]), 4, "it had time before the pause");
        assert_eq!(late(10, 15, &[(second(10), second(11)), (second(11), second(15))]), 0);
    }
}
