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

/// How long the process of a call ran between the end of the call's limit and the end of the call.
fn lateness(time: &CallTime, pauses: &[(Nanos, Nanos)]) -> Duration {
    let due = time.began.plus(time.limit);
    let first = pauses.partition_point(|(_, to)| *to < due);
    let late = pauses[first..].iter().take_while(|(from, _)| *from < time.ended);
    let paused: Duration = late.map(|(from, to)| (*to).min(time.ended).since((*from).max(due))).sum();
    time.ended.since(due).saturating_sub(paused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(millis: u64) -> Nanos {
        Nanos::ZERO.plus(Duration::from_millis(millis))
    }

    /// The lateness in milliseconds of a call with a limit of 1 s, by the pauses of its process.
    fn late(began: u64, ended: u64, pauses: &[(u64, u64)]) -> u128 {
        let call = CallTime { began: millis(began), ended: millis(ended), limit: Duration::from_secs(1) };
        let pauses: Vec<_> = pauses.iter().map(|(from, to)| (millis(*from), millis(*to))).collect();
        lateness(&call, &pauses).as_millis()
    }

    #[test]
    fn a_pause_of_the_own_process_behind_the_limit_is_not_late() {
        assert_eq!(late(10_000, 11_000, &[]), 0);
        assert_eq!(late(10_000, 15_000, &[]), 4_000);
        assert_eq!(late(10_000, 15_000, &[(1_000, 9_000), (16_000, 20_000)]), 4_000);
        assert_eq!(late(10_000, 15_000, &[(9_000, 14_000)]), 1_000);
        assert_eq!(late(10_000, 15_000, &[(13_000, 15_000)]), 2_000, "it had time before the pause");
        assert_eq!(late(10_000, 15_000, &[(10_000, 11_000), (11_000, 15_000)]), 0);
    }

    #[test]
    fn short_pauses_excuse_a_late_call_for_no_more_than_their_length() {
        let pauses: Vec<_> = (0..60).map(|at| (at * 300, at * 300 + 50)).collect();
        assert_eq!(late(0, 10_000, &pauses), 7_500);
        assert_eq!(late(0, 1_400, &pauses), 350, "each tick of a busy machine counts once");
    }
}
