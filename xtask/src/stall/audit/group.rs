//! Holds a group to its promises, partition by partition.

use super::AuditReport;
use crate::stall::journal::{CallTime, JournalEvent, Nanos, ProcessJournal};
use crate::stall::timeouts::SESSION;
use crate::stall::{EVENTS, GROUP};
use grower_client::Client;
use std::collections::BTreeMap;
use std::ops::Range;

/// The actions of members, and the failures.
pub(super) struct GroupAudit<'a> {
    work: Vec<HandOut<'a>>,
    commits: Vec<GroupCommit<'a>>,
    /// Partition, member and time of each assignment.
    assignments: Vec<(u32, &'a str, Nanos)>,
    /// Process and time of each failure: a fault, a pause, a call without success.
    failures: Vec<(&'a str, Range<Nanos>)>,
    /// By partition, the offset that the group stores at the end.
    stored: BTreeMap<u32, u64>,
}

struct HandOut<'a> {
    process: &'a str,
    consumer: &'a str,
    partition: u32,
    offsets: &'a Range<u64>,
    at: Nanos,
}

struct GroupCommit<'a> {
    consumer: &'a str,
    partition: u32,
    offset: u64,
    time: CallTime,
}

impl<'a> GroupAudit<'a> {
    pub(super) async fn new(journals: &'a [ProcessJournal], client: &Client) -> anyhow::Result<Self> {
        let stored = client.admin().describe_group(GROUP).await?.offsets;
        let stored = stored.iter().map(|stored| (stored.partition.value(), stored.offset.value())).collect();
        let (work, commits, assignments, failures) = Default::default();
        let mut audit = Self { work, commits, assignments, failures, stored };
        for ProcessJournal { process, events } in journals {
            events.iter().for_each(|event| audit.add(process, event));
        }
        audit.work.sort_by_key(|work| work.at);
        Ok(audit)
    }

    fn add(&mut self, process: &'a str, event: &'a JournalEvent) {
        match event {
            JournalEvent::Fault { process, from, to, .. } => self.failures.push((process, *from..*to)),
            JournalEvent::Pause { from, to } => self.failures.push((process, *from..*to)),
            JournalEvent::Call { time, outcome, .. } if outcome != "ok" => {
                self.failures.push((process, time.began..time.ended));
            }
            JournalEvent::Assigned { consumer, partitions, at } => {
                self.assignments.extend(partitions.iter().map(|partition| (*partition, consumer.as_str(), *at)));
            }
            JournalEvent::HandedOut { consumer, partition, offsets, at } if process.starts_with("member") => {
                self.work.push(HandOut { process, consumer, partition: *partition, offsets, at: *at });
            }
            JournalEvent::Committed { consumer, partition, offset, time } => {
                self.commits.push(GroupCommit { consumer, partition: *partition, offset: *offset, time: *time });
            }
            _ => {}
        }
    }

    pub(super) fn check(&self, partition: u32, end: u64, report: &mut AuditReport) {
        self.every_record_is_worked_on(partition, end, report);
        self.committed_records_are_not_handed_out_again(partition, report);
        self.commits_of_a_lost_partition_fail(partition, report);
        let stored = self.stored.get(&partition).copied().unwrap_or(0);
        if stored != end {
            report.broken(format!("{EVENTS}/{partition} ends at {end}, and the group has committed {stored}"));
        }
    }

    /// Each record is handed out, and twice only if something failed meanwhile.
    fn every_record_is_worked_on(&self, partition: u32, end: u64, report: &mut AuditReport) {
        let mut first: BTreeMap<u64, &HandOut<'_>> = BTreeMap::new();
        let (mut told, mut excused) = (0, None);
        for work in self.work.iter().filter(|work| work.partition == partition) {
            for offset in work.offsets.clone() {
                report.count("records handed out to members", 1);
                let Some(before) = first.insert(offset, work) else { continue };
                report.count("records handed out to members again", 1);
                let pair = Some((before.at, work.at));
                if excused == pair || 3 <= told {
                    continue;
                }
                if self.failed_between(before, work) {
                    excused = pair;
                } else {
                    told += 1;
                    report.broken(format!(
                        "{EVENTS}/{partition} offset {offset} was handed to {} and {:.2?} later to {}, and nothing failed",
                        before.consumer,
                        work.at.since(before.at),
                        work.consumer
                    ));
                }
            }
        }
        if let Some(missing) = (0..end).find(|offset| !first.contains_key(offset)) {
            report.broken(format!("{EVENTS}/{partition} offset {missing} was handed to no member"));
        }
    }

    /// A stall may end a session, which the member learns later.
    fn failed_between(&self, first: &HandOut<'_>, second: &HandOut<'_>) -> bool {
        let concerns = |process: &str| process == "broker" || process == first.process || process == second.process;
        let mut failures = self.failures.iter().filter(|(process, _)| concerns(process));
        failures.any(|(_, time)| time.start <= second.at && first.at <= time.end.plus(SESSION))
    }

    fn committed_records_are_not_handed_out_again(&self, partition: u32, report: &mut AuditReport) {
        let mut committed: Vec<(Nanos, u64)> =
            self.commits_of(partition).map(|it| (it.time.ended, it.offset)).collect();
        committed.sort_unstable();
        committed.iter_mut().fold(0, |most, (_, offset)| {
            *offset = most.max(*offset);
            *offset
        });
        for work in self.work.iter().filter(|work| work.partition == partition) {
            let Some(assigned) = self.assigned(partition, work.consumer, work.at) else { continue };
            let before = committed.partition_point(|(ended, _)| *ended < assigned);
            let committed = before.checked_sub(1).map_or(0, |last| committed[last].1);
            if work.offsets.start < committed {
                report.broken(format!(
                    "{EVENTS}/{partition} offset {} was handed to {}, which was assigned the partition after {committed} was \
                     committed",
                    work.offsets.start, work.consumer
                ));
            }
        }
    }

    fn commits_of(&self, partition: u32) -> impl Iterator<Item = &GroupCommit<'a>> {
        self.commits.iter().filter(move |commit| commit.partition == partition)
    }

    /// A member whose partition was assigned to another one commits nothing there.
    fn commits_of_a_lost_partition_fail(&self, partition: u32, report: &mut AuditReport) {
        for commit in self.commits_of(partition) {
            report.count("commits of a partition", 1);
            let Some(assigned) = self.assigned(partition, commit.consumer, commit.time.began) else { continue };
            let others =
                self.assignments.iter().filter(|(at, member, _)| *at == partition && *member != commit.consumer);
            let successor =
                others.filter(|(_, _, at)| assigned < *at && *at < commit.time.began).max_by_key(|(_, _, at)| *at);
            if let Some((_, successor, at)) = successor {
                report.broken(format!(
                    "{EVENTS}/{partition}: {} committed {} although the partition was assigned to {successor} {:.2?} before",
                    commit.consumer,
                    commit.offset,
                    commit.time.began.since(*at)
                ));
            }
        }
    }

    /// The last time before `at` that the member was assigned the partition.
    fn assigned(&self, partition: u32, member: &str, at: Nanos) -> Option<Nanos> {
        let assigned =
            self.assignments.iter().filter(|(of, name, time)| *of == partition && *name == member && *time <= at);
        assigned.map(|(_, _, time)| *time).max()
    }
}
