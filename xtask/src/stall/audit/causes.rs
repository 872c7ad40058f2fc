//! The failures that explain why a partition moves before its records are committed.

use crate::stall::journal::{JournalEvent, Nanos, ProcessJournal};
use crate::stall::timeouts::SESSION;
use std::ops::Range;
use std::time::Duration;

/// Stalls that are shorter in sum end no session.
const LONG: Duration = SESSION.checked_div(2).expect("two is not zero");

/// The causes of a run. An error that follows from a lost partition is none.
#[derive(Default)]
pub(super) struct Causes<'a> {
    /// Process and time of each kill.
    kills: Vec<(&'a str, Range<Nanos>)>,
    /// Process and time of each stall: of the broker as the rig caused it, of a member as it noticed it.
    stalls: Vec<(&'a str, Range<Nanos>)>,
    /// Consumer, partition and time of each commit that failed.
    failed_commits: Vec<(&'a str, u32, Nanos)>,
    /// Consumer and time of each end without a word to the group.
    dropped: Vec<(&'a str, Nanos)>,
}

impl<'a> Causes<'a> {
    pub(super) fn of(journals: &'a [ProcessJournal]) -> Self {
        let mut causes = Self::default();
        for ProcessJournal { process, events } in journals {
            events.iter().for_each(|event| causes.add(process, event));
        }
        causes.stalls.sort_by_key(|(_, time)| time.start);
        causes
    }

    fn add(&mut self, process: &'a str, event: &'a JournalEvent) {
        match event {
            JournalEvent::Fault { process, kind, from, to } if kind == "Kill" => {
                self.kills.push((process, *from..*to));
            }
            JournalEvent::Fault { process, from, to, .. } if process == "broker" => {
                self.stalls.push((process, *from..*to));
            }
            JournalEvent::Pause { from, to } => self.stalls.push((process, *from..*to)),
            JournalEvent::CommitFailed { consumer, partition, time } => {
                self.failed_commits.push((consumer, *partition, time.began));
            }
            JournalEvent::Dropped { consumer, at } => self.dropped.push((consumer, *at)),
            _ => {}
        }
    }

    /// Whether a member, by process and consumer, that was handed records at the start of `time` may have lost the
    /// partition by its end, to a member in process `next`.
    pub(super) fn explain(&self, partition: u32, member: (&str, &str), next: &str, time: Range<Nanos>) -> bool {
        let (process, consumer) = member;
        let within = |at: Nanos| time.start <= at && at <= time.end;
        // A stall may end a session, which the member learns later.
        let since = time.start.minus(SESSION);
        let killed = self.kills.iter().any(|(killed, kill)| {
            let since = if *killed == "broker" { since } else { time.start };
            (*killed == "broker" || *killed == process) && since <= kill.end && kill.start <= time.end
        });
        killed
            || self.failed_commits.iter().any(|(of, at, began)| (*of, *at) == (consumer, partition) && within(*began))
            || self.dropped.iter().any(|(of, at)| *of == consumer && within(*at))
            || LONG <= self.stalled([process, next, "broker"], since..time.end)
    }

    /// For how long one of the processes did not run.
    fn stalled(&self, processes: [&str; 3], within: Range<Nanos>) -> Duration {
        let (mut total, mut counted) = (Duration::ZERO, within.start);
        for (_, stall) in self.stalls.iter().filter(|(process, _)| processes.contains(process)) {
            let end = stall.end.min(within.end);
            total += end.since(stall.start.max(counted));
            counted = counted.max(end);
        }
        total
    }
}
