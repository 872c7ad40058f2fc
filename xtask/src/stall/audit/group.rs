//! Holds a group to its promises, partition by partition.

use super::AuditReport;
use super::causes::Causes;
use crate::stall::journal::{CallTime, JournalEvent, Nanos, ProcessJournal};
use crate::stall::{EVENTS, GROUP};
use grower_client::Client;
use std::collections::BTreeMap;
use std::ops::Range;

/// The actions of members, and the failures that excuse them.
pub(super) struct GroupAudit<'a> {
    work: Vec<HandOut<'a>>,
    commits: Vec<GroupCommit<'a>>,
    /// Partition, member and time of each assignment.
    assignments: Vec<(u32, &'a str, Nanos)>,
    /// Consumer, partition and time of each commit that was refused because the partition had moved.
    refused: Vec<(&'a str, u32, CallTime)>,
    causes: Causes<'a>,
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
        Ok(Self::of(journals, stored))
    }

    fn of(journals: &'a [ProcessJournal], stored: BTreeMap<u32, u64>) -> Self {
        let (work, commits, assignments, refused) = Default::default();
        let mut audit = Self { work, commits, assignments, refused, causes: Causes::of(journals), stored };
        for ProcessJournal { process, events } in journals {
            events.iter().for_each(|event| audit.add(process, event));
        }
        audit.work.sort_by_key(|work| work.at);
        audit
    }

    fn add(&mut self, process: &'a str, event: &'a JournalEvent) {
        match event {
            JournalEvent::CommitRefused { consumer, partition, time } => {
                self.refused.push((consumer, *partition, *time));
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
        self.partitions_wait_for_commits(partition, report);
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
                let first = (before.process, before.consumer);
                if self.causes.explain(partition, first, work.process, before.at..work.at) {
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

    /// A partition waits for the commit of its records, so a commit is refused only if something failed meanwhile.
    fn partitions_wait_for_commits(&self, partition: u32, report: &mut AuditReport) {
        for (consumer, _, time) in self.refused.iter().filter(|(_, at, _)| *at == partition) {
            report.count("commits refused because the partition had moved", 1);
            let handed_out = self.work.iter().filter(|work| work.partition == partition && work.consumer == *consumer);
            let Some(work) = handed_out.take_while(|work| work.at <= time.began).last() else { continue };
            if !self.causes.explain(partition, (work.process, consumer), work.process, work.at..time.ended) {
                report.broken(format!(
                    "{EVENTS}/{partition} moved before {consumer} had committed what it was handed {:.2?} before, and \
                     nothing failed",
                    time.ended.since(work.at)
                ));
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn millis(millis: u64) -> Nanos {
        Nanos::ZERO.plus(Duration::from_millis(millis))
    }

    fn handed_out(member: &str, at: u64) -> JournalEvent {
        JournalEvent::HandedOut { consumer: member.to_owned(), partition: 0, offsets: 0..1, at: millis(at) }
    }

    fn time(began: u64, ended: u64) -> CallTime {
        CallTime { began: millis(began), ended: millis(ended), limit: Duration::from_millis(400) }
    }

    fn fault(process: &str, kind: &str, from: u64, to: u64) -> JournalEvent {
        let (process, kind) = (process.to_owned(), kind.to_owned());
        JournalEvent::Fault { process, kind, from: millis(from), to: millis(to) }
    }

    fn pause(from: u64, to: u64) -> JournalEvent {
        JournalEvent::Pause { from: millis(from), to: millis(to) }
    }

    fn refused(consumer: &str) -> JournalEvent {
        JournalEvent::CommitRefused { consumer: consumer.to_owned(), partition: 0, time: time(10_100, 10_110) }
    }

    fn failed(consumer: &str, at: u64) -> JournalEvent {
        JournalEvent::CommitFailed { consumer: consumer.to_owned(), partition: 0, time: time(at, at + 400) }
    }

    /// Member 1 is handed a record at 10 s and member 2 at 10.5 s; `first` are other events of member 1.
    fn broken(first: Vec<JournalEvent>, second: Vec<JournalEvent>, faults: Vec<JournalEvent>) -> usize {
        let journal = |process: &str, more: Vec<JournalEvent>, at| ProcessJournal {
            process: process.to_owned(),
            events: more.into_iter().chain([handed_out(process, at)]).collect(),
        };
        let faults = ProcessJournal { process: "faults".to_owned(), events: faults };
        let journals = [journal("member-1", first, 10_000), journal("member-2", second, 10_500), faults];
        let mut report = AuditReport::default();
        GroupAudit::of(&journals, BTreeMap::from([(0, 1)])).check(0, 1, &mut report);
        report.broken.len()
    }

    #[test]
    fn a_partition_that_moves_without_a_failure_is_broken_and_a_refused_commit_is_no_excuse() {
        assert_eq!(broken(vec![], vec![], vec![]), 1, "handed out twice");
        assert_eq!(broken(vec![refused("member-1")], vec![], vec![]), 2, "handed out twice, and moved too early");
    }

    #[test]
    fn short_pauses_and_failures_of_other_commits_are_no_excuse() {
        assert_eq!(broken(vec![pause(9_900, 9_950), pause(10_050, 10_100)], vec![], vec![]), 1);
        assert_eq!(broken(vec![], vec![], vec![fault("broker", "Stop", 9_900, 10_200)]), 1);
        assert_eq!(broken(vec![failed("member-1", 9_000)], vec![], vec![]), 1, "a commit before the record");
        assert_eq!(broken(vec![], vec![failed("member-2", 10_200)], vec![]), 1, "another member's commit");
        assert_eq!(broken(vec![], vec![], vec![fault("member-2", "Kill", 10_000, 10_200)]), 1);
    }

    #[test]
    fn a_member_that_fails_or_stalls_for_long_may_lose_its_partition() {
        let twice = || vec![refused("member-1")];
        let with = |event| twice().into_iter().chain([event]).collect();
        assert_eq!(broken(with(failed("member-1", 10_050)), vec![], vec![]), 0);
        assert_eq!(broken(with(pause(8_500, 9_900)), vec![], vec![]), 0);
        assert_eq!(broken(twice(), vec![], vec![fault("broker", "Hang", 8_000, 9_900)]), 0);
        assert_eq!(broken(twice(), vec![], vec![fault("broker", "Kill", 9_000, 9_300)]), 0);
        assert_eq!(broken(vec![], vec![], vec![fault("member-1", "Kill", 10_020, 10_200)]), 0);
        let dropped = JournalEvent::Dropped { consumer: "member-1".to_owned(), at: millis(10_100) };
        assert_eq!(broken(vec![dropped], vec![], vec![]), 0);
    }
}
