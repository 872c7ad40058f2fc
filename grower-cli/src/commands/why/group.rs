//! Findings about a group: its lag, owners, and what it waits for.

use super::finding::{FindingStatus, WhyFinding};
use super::words::{lag, ranges, records, since, span};
use crate::groups::{GroupProgress, PartitionOwner};
use grower_client::ids::{Offset, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// The facts about a group at one time.
#[derive(Clone, Debug)]
pub(crate) struct GroupFacts {
    pub(crate) group: String,
    /// The time by the broker's clock.
    pub(crate) now: Timestamp,
    pub(crate) members: Vec<MemberFacts>,
    /// The partitions that it committed or holds.
    pub(crate) partitions: Vec<GroupProgress>,
    /// When it last committed, by `topic/partition`.
    pub(crate) commits: BTreeMap<String, Timestamp>,
    /// Subscribed partitions without a committed offset and without an owner.
    pub(crate) unstarted: Vec<UnstartedPartition>,
    /// Subscribed topics that do not exist.
    pub(crate) missing_topics: BTreeSet<String>,
    /// Partitions of its topics that are not served, by `topic/partition`, and why.
    pub(crate) offline: BTreeMap<String, String>,
    /// Damaged ranges by `topic/partition`.
    pub(crate) damaged: BTreeMap<String, Vec<(Offset, Offset)>>,
    /// Damaged ranges of the internal topic of committed offsets.
    pub(crate) damaged_commits: BTreeMap<String, Vec<(Offset, Offset)>>,
}

/// A subscribed partition that no member has started to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnstartedPartition {
    /// `topic/partition`.
    pub(crate) name: String,
    /// The number of records in it.
    pub(crate) records: u64,
}

/// One member.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemberFacts {
    pub(crate) member: String,
    pub(crate) client: Option<String>,
    pub(crate) address: Option<String>,
    pub(crate) silent_ms: u64,
    pub(crate) session_timeout_ms: u64,
    pub(crate) topics: BTreeSet<String>,
    /// Partitions assigned to it but not yet handed over, as `topic/partition`.
    pub(crate) awaits: BTreeSet<String>,
    /// The member that replaced it under the same static name.
    pub(crate) replaced_by: Option<String>,
}

/// An owner with records to read and no commit for this long is stuck or slow.
const STUCK_MS: u64 = 10_000;
/// A member silent for more than its session timeout divided by this is reported.
const SILENT_PART: u64 = 2;

impl GroupFacts {
    /// The findings: the group first, then each partition, then unusual members.
    pub(crate) fn findings(&self) -> Vec<WhyFinding> {
        let partitions: Vec<WhyFinding> = self.partitions.iter().map(|progress| self.partition(progress)).collect();
        let unstarted = self.unstarted.iter().map(|partition| self.unstarted(partition));
        let members = self.members.iter().filter_map(|member| self.member(member));
        let mut findings = vec![self.summary()];
        findings.extend(partitions);
        findings.extend(
            self.offline
                .iter()
                .map(|(name, why)| WhyFinding::new(FindingStatus::Wrong, &**name, format!("offline: {why}"))),
        );
        findings.extend(unstarted);
        findings.extend(self.damaged_commits.iter().map(|(name, damaged)| {
            let says = format!(
                "committed offsets are damaged on disk ({}): the broker still has them in memory, but its next start refuses \
                 them. Write down the offsets of `group describe`, stop the broker, give the records up with log repair, \
                 and restore the missing offsets with group reset",
                ranges(damaged)
            );
            WhyFinding::new(FindingStatus::Wrong, &**name, says)
        }));
        findings.extend(members);
        findings.extend(self.missing_topics.iter().map(|topic| {
            WhyFinding::new(
                FindingStatus::Waits,
                format!("topic {topic}"),
                "members subscribe to it, but it does not exist; they read it once it is created",
            )
        }));
        findings
    }

    fn summary(&self) -> WhyFinding {
        let (members, partitions) = (self.members.len(), self.partitions.len() + self.unstarted.len());
        let begun = self.partitions.iter().map(|progress| progress.lag);
        let behind: u64 = begun.chain(self.unstarted.iter().map(|partition| partition.records)).sum();
        let oldest = self.partitions.iter().filter_map(|progress| progress.lag_ms).max();
        let mut wrong = Vec::new();
        if self.partitions.iter().any(|progress| progress.lost_from.is_some()) {
            wrong.push("a log lost records that were read".to_owned());
        }
        if self.has_damage() {
            wrong.push("records are damaged on disk".to_owned());
        }
        if !self.offline.is_empty() {
            let verb = if self.offline.len() == 1 { "is" } else { "are" };
            wrong.push(format!("{} {verb} offline", counted(self.offline.len(), "partition")));
        }
        let (status, lag) = match (behind, wrong.is_empty()) {
            (0, true) => (FindingStatus::Fine, "nothing left to read".to_owned()),
            (0, false) => (FindingStatus::Wrong, wrong.join(", and ")),
            (_, true) => (FindingStatus::Waits, lag(behind, oldest) + " behind in all"),
            (_, false) => {
                (FindingStatus::Wrong, format!("{} behind in all, and {}", lag(behind, oldest), wrong.join(", and ")))
            }
        };
        WhyFinding::new(
            status,
            format!("group {}", self.group),
            format!("{} and {}: {lag}", counted(members, "member"), counted(partitions, "partition")),
        )
    }

    fn has_damage(&self) -> bool {
        self.partitions.iter().any(|progress| !self.damage_of(progress).is_empty())
            || self.unstarted.iter().any(|partition| self.damaged.contains_key(&partition.name))
            || !self.damaged_commits.is_empty()
    }

    /// Damaged ranges that are still in the log.
    fn damage_of(&self, progress: &GroupProgress) -> Vec<(Offset, Offset)> {
        let name = format!("{}/{}", progress.topic, progress.partition);
        let damaged = self.damaged.get(&name).into_iter().flatten();
        damaged.filter(|(_, to)| progress.start < *to).copied().collect()
    }

    fn partition(&self, progress: &GroupProgress) -> WhyFinding {
        let name = format!("{}/{}", progress.topic, progress.partition);
        let (owner_status, owner) = match &progress.owner {
            Some(owner) => self.owned(&name, owner),
            None => self.unowned(&name, progress.topic.as_str()),
        };
        let (status, behind) = self.behind(&name, progress);
        let status = if behind.is_empty() { owner_status } else { status.max(owner_status) };
        // Without a lag the owner matters only while the partition moves.
        WhyFinding::new(status, name, [owner, behind].join("; "))
    }

    fn owned(&self, name: &str, owner: &PartitionOwner) -> (FindingStatus, String) {
        let member = self.members.iter().find(|member| member.member == owner.member);
        let who = member.map_or_else(|| owner.member.clone(), MemberFacts::name_and_address);
        let since = since(owner.since, self.now);
        if owner.pending_revocation {
            let next = self.members.iter().find(|member| member.awaits.contains(name));
            let next = next.map_or_else(String::new, |next| format!(" to {}", next.member));
            let silent = member.map_or_else(String::new, MemberFacts::silence_note);
            let says = format!("held by {who} for {since}, which has not confirmed its release{next}{silent}");
            return (FindingStatus::Waits, says);
        }
        match member.filter(|member| member.is_silent()) {
            Some(member) => (FindingStatus::Waits, format!("held by {who} for {since}{}", member.silence_note())),
            None => (FindingStatus::Fine, format!("held by {who} for {since}")),
        }
    }

    fn unowned(&self, name: &str, topic: &str) -> (FindingStatus, String) {
        if let Some(next) = self.members.iter().find(|member| member.awaits.contains(name)) {
            let says = format!("no owner yet: {} gets it with its next heartbeat{}", next.member, next.silence_note());
            return (FindingStatus::Waits, says);
        }
        if self.members.is_empty() {
            return (FindingStatus::Waits, "no owner: the group has no members, start a consumer".to_owned());
        }
        if self.members.iter().all(|member| !member.topics.contains(topic)) {
            return (FindingStatus::Waits, format!("no owner: no member subscribes to {topic}"));
        }
        (FindingStatus::Waits, "no owner: the next assignment gives it to a member".to_owned())
    }

    fn behind(&self, name: &str, progress: &GroupProgress) -> (FindingStatus, String) {
        let next = progress.committed.unwrap_or(progress.start).max(progress.start);
        let (ahead, passed): (Vec<_>, Vec<_>) =
            self.damage_of(progress).into_iter().partition(|(_, to)| next < *to && *to <= progress.end);
        if let Some((from, _)) = ahead.first() {
            let reached = if *from <= next { "its next records" } else { "later records" };
            let ranges = ranges(&ahead);
            let says = format!("{reached} are damaged on disk ({ranges}): readers stop there unless they skip damage");
            return (FindingStatus::Wrong, says);
        }
        if let Some((committed, from)) = progress.committed.zip(progress.lost_from) {
            let says = format!("committed up to {committed}, but the log lost the records from {from} on");
            let new = if progress.lag == 0 { "no records".to_owned() } else { records(progress.lag) };
            return (FindingStatus::Wrong, format!("{says}; readers go back there: {new} to read"));
        }
        if let Some(lost) = progress.committed.filter(|committed| *committed < progress.start) {
            let (count, start) = (records(progress.start.since(lost)), progress.start);
            let says = format!("committed up to {lost}, but the log starts at {start}: {count} dropped unread");
            return (FindingStatus::Wrong, format!("{says}; {}", self.lag(name, progress)));
        }
        if !passed.is_empty() {
            let (lag, passed) = (self.lag(name, progress), ranges(&passed));
            let says = format!(
                "{lag}; records before its position are damaged on disk ({passed}): restore them from a backup, or give \
                 them up with log repair; other readers stop there"
            );
            return (FindingStatus::Wrong, says);
        }
        let status = if progress.lag == 0 { FindingStatus::Fine } else { FindingStatus::Waits };
        (status, self.lag(name, progress))
    }

    fn lag(&self, name: &str, progress: &GroupProgress) -> String {
        let lag = lag(progress.lag, progress.lag_ms);
        let commit = self.commits.get(name).map(|at| self.now.millis_since(*at));
        let ago = commit.map_or_else(String::new, |age| format!(", last committed {} ago", span(age)));
        match (progress.committed, progress.lag) {
            (_, 0) => format!("nothing to read: committed up to the end, {}{ago}", progress.end),
            (None, _) => format!("nothing is committed yet, {lag} to read{}", self.owner_progress(progress, commit)),
            (Some(_), _) => format!("{lag} behind{ago}{}", self.owner_progress(progress, commit)),
        }
    }

    /// Says whether a live owner makes progress.
    fn owner_progress(&self, progress: &GroupProgress, commit: Option<u64>) -> &'static str {
        if !progress.owner.as_ref().is_some_and(|owner| self.is_alive(owner)) {
            return "";
        }
        // An old commit may mean that nothing was there to read since.
        let waits = commit.into_iter().chain(progress.lag_ms).min().unwrap_or(0);
        match commit {
            _ if STUCK_MS <= waits => ": its owner is alive, but stuck or slow, or reads without committing",
            Some(_) => ": its owner is alive and progresses",
            None => ": its owner is alive and has just started",
        }
    }

    fn is_alive(&self, owner: &PartitionOwner) -> bool {
        let member = self.members.iter().find(|member| member.member == owner.member);
        !owner.pending_revocation && member.is_some_and(|member| !member.is_silent())
    }

    fn unstarted(&self, partition: &UnstartedPartition) -> WhyFinding {
        let name = partition.name.as_str();
        let topic = name.split_once('/').map_or(name, |(topic, _)| topic);
        let (status, says) = self.unowned(name, topic);
        let there = match partition.records {
            0 => String::new(),
            count => format!(", {} to read", records(count)),
        };
        let says = format!("{says}; nothing is committed yet{there}");
        match self.damaged.get(name) {
            Some(damaged) => {
                let damaged = ranges(damaged);
                let says = format!("{says}; damaged on disk ({damaged}): readers stop there unless they skip damage");
                WhyFinding::new(FindingStatus::Wrong, name, says)
            }
            None => WhyFinding::new(status, name, says),
        }
    }

    fn member(&self, member: &MemberFacts) -> Option<WhyFinding> {
        let about = format!("member {}", member.member);
        if let Some(successor) = &member.replaced_by {
            let says = format!("replaced by {successor} under the same static name: it can only leave");
            return Some(WhyFinding::new(FindingStatus::Wrong, about, says));
        }
        let holds = self.partitions.iter().filter_map(|progress| progress.owner.as_ref());
        let idle = !holds.into_iter().any(|owner| owner.member == member.member) && member.awaits.is_empty();
        let says = "idle: its topics have no partition left for it";
        idle.then(|| WhyFinding::new(FindingStatus::Fine, about, says))
    }
}

impl MemberFacts {
    /// `S1 (127.0.0.1:5050, client billing)`.
    fn name_and_address(&self) -> String {
        let client = self.client.as_ref().map(|client| format!("client {client}"));
        let known: Vec<String> = self.address.clone().into_iter().chain(client).collect();
        if known.is_empty() { self.member.clone() } else { format!("{} ({})", self.member, known.join(", ")) }
    }

    fn is_silent(&self) -> bool {
        self.session_timeout_ms / SILENT_PART < self.silent_ms
    }

    /// Reports a long silence.
    fn silence_note(&self) -> String {
        if !self.is_silent() {
            return String::new();
        }
        let (silent, session) = (span(self.silent_ms), span(self.session_timeout_ms));
        format!("; {} has been silent for {silent}, and is expelled after {session}", self.member)
    }
}

fn counted(count: usize, what: &str) -> String {
    match count {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}
