//! One test per situation: the facts, and the sentences.

use super::finding::{FindingStatus, WhyFinding};
use super::group::{GroupFacts, MemberFacts, UnstartedPartition};
use super::topic::{ReaderFacts, TopicFacts};
use crate::capacity::{Capacity, Rate};
use crate::groups::{GroupProgress, PartitionOwner};
use grower_client::ids::{Offset, PartitionId, Timestamp, TopicId, TopicName};
use grower_client::{AcceptedLossDescription, DiskDescription, PartitionDescription, TopicDescription};
use std::collections::{BTreeMap, BTreeSet};

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

fn ago(seconds: i64) -> Timestamp {
    Timestamp::from_millis(NOW.as_millis() - seconds * 1_000)
}

fn member(name: &str) -> MemberFacts {
    MemberFacts {
        member: name.to_owned(),
        client: Some("billing".to_owned()),
        address: Some("127.0.0.1:5050".to_owned()),
        silent_ms: 1_000,
        session_timeout_ms: 45_000,
        topics: BTreeSet::from(["rainbow".to_owned()]),
        ..MemberFacts::default()
    }
}

fn owned_by(name: &str) -> Option<PartitionOwner> {
    Some(PartitionOwner { member: name.to_owned(), since: ago(200), pending_revocation: false })
}

/// Partition 1 of `rainbow`, 10..2000, committed up to 800.
fn progress() -> GroupProgress {
    GroupProgress {
        topic: TopicName::new("rainbow").unwrap(),
        partition: PartitionId::new(1),
        start: Offset::new(10),
        end: Offset::new(2_000),
        committed: Some(Offset::new(800)),
        lost_from: None,
        lag: 1_200,
        lag_ms: Some(4_000),
        owner: owned_by("S1"),
    }
}

fn group(members: Vec<MemberFacts>, progress: GroupProgress) -> GroupFacts {
    GroupFacts {
        group: "g".to_owned(),
        now: NOW,
        members,
        partitions: vec![progress],
        commits: BTreeMap::from([("rainbow/1".to_owned(), ago(3))]),
        unstarted: Vec::new(),
        missing_topics: BTreeSet::new(),
        damaged: BTreeMap::new(),
        damaged_commits: BTreeMap::new(),
        offline: BTreeMap::new(),
    }
}

fn findings_text(findings: &[WhyFinding]) -> String {
    let line = |f: &WhyFinding| format!("{} | {} | {}", f.status.name(), f.about, f.says);
    findings.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_member_that_lags_and_commits_progresses() {
    insta::assert_snapshot!(findings_text(&group(vec![member("S1")], progress()).findings()), @"
    waits | group g | 1 member and 1 partition: 1,200 records (4 s) behind in all
    waits | rainbow/1 | held by S1 (127.0.0.1:5050, client billing) for 3 min 20 s; 1,200 records (4 s) behind, last committed 3 s ago: its owner is alive and progresses
    ");
}

#[test]
fn an_owner_is_stuck_only_if_it_has_had_records_without_a_commit() {
    let says = |committed: i64, lag_seconds: u64| {
        let mut facts = group(vec![member("S1")], GroupProgress { lag_ms: Some(lag_seconds * 1_000), ..progress() });
        facts.commits = BTreeMap::from([("rainbow/1".to_owned(), ago(committed))]);
        facts.findings()[1].says.rsplit("; ").next().unwrap().to_owned()
    };
    insta::assert_snapshot!(says(300, 180), @"1,200 records (3 min) behind, last committed 5 min ago: its owner is alive, but stuck or slow, or reads without committing");
    insta::assert_snapshot!(says(3_600, 1), @"1,200 records (1 s) behind, last committed 1 h ago: its owner is alive and progresses");
    insta::assert_snapshot!(says(1, 300), @"1,200 records (5 min) behind, last committed 1 s ago: its owner is alive and progresses");
    let mut none = group(vec![member("S1")], GroupProgress { committed: None, lag_ms: Some(60_000), ..progress() });
    none.commits.clear();
    insta::assert_snapshot!(none.findings()[1].says, @"held by S1 (127.0.0.1:5050, client billing) for 3 min 20 s; nothing is committed yet, 1,200 records (1 min) to read: its owner is alive, but stuck or slow, or reads without committing");
}

#[test]
fn a_group_without_lag_is_fine() {
    let done = GroupProgress { committed: Some(Offset::new(2_000)), lag: 0, lag_ms: Some(0), ..progress() };
    insta::assert_snapshot!(findings_text(&group(vec![member("S1")], done).findings()), @"
    fine | group g | 1 member and 1 partition: nothing left to read
    fine | rainbow/1 | held by S1 (127.0.0.1:5050, client billing) for 3 min 20 s; nothing to read: committed up to the end, 2000, last committed 3 s ago
    ");
}

#[test]
fn a_moving_partition_names_both_members() {
    let old = MemberFacts { silent_ms: 30_000, ..member("S1") };
    let new = MemberFacts { awaits: BTreeSet::from(["rainbow/1".to_owned()]), ..member("S2") };
    let owner = Some(PartitionOwner { pending_revocation: true, ..owned_by("S1").unwrap() });
    insta::assert_snapshot!(findings_text(&group(vec![old, new.clone()], GroupProgress { owner, ..progress() }).findings()), @"
    waits | group g | 2 members and 1 partition: 1,200 records (4 s) behind in all
    waits | rainbow/1 | held by S1 (127.0.0.1:5050, client billing) for 3 min 20 s, which has not confirmed its release to S2; S1 has been silent for 30 s, and is expelled after 45 s; 1,200 records (4 s) behind, last committed 3 s ago
    ");
    insta::assert_snapshot!(findings_text(&group(vec![new], GroupProgress { owner: None, ..progress() }).findings()), @"
    waits | group g | 1 member and 1 partition: 1,200 records (4 s) behind in all
    waits | rainbow/1 | no owner yet: S2 gets it with its next heartbeat; 1,200 records (4 s) behind, last committed 3 s ago
    ");
}

#[test]
fn a_partition_without_an_owner_says_why() {
    let row = || GroupProgress { owner: None, ..progress() };
    insta::assert_snapshot!(findings_text(&group(Vec::new(), row()).findings()), @"
    waits | group g | no members and 1 partition: 1,200 records (4 s) behind in all
    waits | rainbow/1 | no owner: the group has no members, start a consumer; 1,200 records (4 s) behind, last committed 3 s ago
    ");
    let elsewhere = MemberFacts { topics: BTreeSet::from(["other".to_owned()]), ..member("S1") };
    let mut facts = group(vec![elsewhere], row());
    facts.missing_topics = BTreeSet::from(["other".to_owned()]);
    insta::assert_snapshot!(findings_text(&facts.findings()), @"
    waits | group g | 1 member and 1 partition: 1,200 records (4 s) behind in all
    waits | rainbow/1 | no owner: no member subscribes to rainbow; 1,200 records (4 s) behind, last committed 3 s ago
    fine | member S1 | idle: its topics have no partition left for it
    waits | topic other | members subscribe to it, but it does not exist; they read it once it is created
    ");
}

#[test]
fn a_silent_owner_is_reported_with_its_session_timeout() {
    let silent = MemberFacts { silent_ms: 30_000, client: None, address: None, ..member("S1") };
    insta::assert_snapshot!(findings_text(&group(vec![silent], progress()).findings()), @"
    waits | group g | 1 member and 1 partition: 1,200 records (4 s) behind in all
    waits | rainbow/1 | held by S1 for 3 min 20 s; S1 has been silent for 30 s, and is expelled after 45 s; 1,200 records (4 s) behind, last committed 3 s ago
    ");
}

#[test]
fn records_dropped_unread_lost_or_damaged_are_wrong() {
    let dropped = GroupProgress { committed: Some(Offset::new(3)), lag: 1_990, ..progress() };
    insta::assert_snapshot!(findings_text(&group(vec![member("S1")], dropped).findings()), @"
    waits | group g | 1 member and 1 partition: 1,990 records (4 s) behind in all
    wrong | rainbow/1 | held by S1 (127.0.0.1:5050, client billing) for 3 min 20 s; committed up to 3, but the log starts at 10: 7 records dropped unread; 1,990 records (4 s) behind, last committed 3 s ago: its owner is alive and progresses
    ");
    let lost = GroupProgress { lost_from: Some(Offset::new(700)), lag: 1_300, ..progress() };
    insta::assert_snapshot!(findings_text(&group(vec![member("S1")], lost).findings()), @"
    wrong | group g | 1 member and 1 partition: 1,300 records (4 s) behind in all, and a log lost records that were read
    wrong | rainbow/1 | held by S1 (127.0.0.1:5050, client billing) for 3 min 20 s; committed up to 800, but the log lost the records from 700 on; readers go back there: 1,300 records to read
    ");
    let mut facts = group(vec![member("S1")], progress());
    facts.damaged = BTreeMap::from([("rainbow/1".to_owned(), vec![(Offset::new(795), Offset::new(805))])]);
    insta::assert_snapshot!(findings_text(&facts.findings()), @"
    wrong | group g | 1 member and 1 partition: 1,200 records (4 s) behind in all, and records are damaged on disk
    wrong | rainbow/1 | held by S1 (127.0.0.1:5050, client billing) for 3 min 20 s; its next records are damaged on disk (offsets 795..805): readers stop there unless they skip damage
    ");
    facts.damaged = BTreeMap::from([("rainbow/1".to_owned(), vec![(Offset::new(5), Offset::new(9))])]);
    assert!(
        facts.findings().iter().all(|finding| finding.status != FindingStatus::Wrong),
        "it is no longer in the log"
    );
}

#[test]
fn damage_before_and_after_the_position_and_of_commits_is_reported() {
    let done = GroupProgress { committed: Some(Offset::new(2_000)), lag: 0, lag_ms: Some(0), ..progress() };
    let mut facts = group(vec![member("S1")], done);
    let damaged = |name: &str| BTreeMap::from([(name.to_owned(), vec![(Offset::new(1_000), Offset::new(2_000))])]);
    facts.damaged = damaged("rainbow/1");
    insta::assert_snapshot!(findings_text(&facts.findings()), @"
    wrong | group g | 1 member and 1 partition: records are damaged on disk
    wrong | rainbow/1 | held by S1 (127.0.0.1:5050, client billing) for 3 min 20 s; nothing to read: committed up to the end, 2000, last committed 3 s ago; records before its position are damaged on disk (offsets 1000..2000): restore them from a backup, or give them up with log repair; other readers stop there
    ");
    facts.damaged = damaged("rainbow/0");
    facts.unstarted = vec![UnstartedPartition { name: "rainbow/0".to_owned(), records: 2_000 }];
    insta::assert_snapshot!(findings_text(&facts.findings()), @"
    wrong | group g | 1 member and 2 partitions: 2,000 records (0 s) behind in all, and records are damaged on disk
    fine | rainbow/1 | held by S1 (127.0.0.1:5050, client billing) for 3 min 20 s; nothing to read: committed up to the end, 2000, last committed 3 s ago
    wrong | rainbow/0 | no owner: the next assignment gives it to a member; nothing is committed yet, 2,000 records to read; damaged on disk (offsets 1000..2000): readers stop there unless they skip damage
    ");
    (facts.damaged, facts.unstarted) = (BTreeMap::new(), Vec::new());
    facts.damaged_commits = damaged("__consumer_offsets/3");
    insta::assert_snapshot!(findings_text(&facts.findings()), @"
    wrong | group g | 1 member and 1 partition: records are damaged on disk
    fine | rainbow/1 | held by S1 (127.0.0.1:5050, client billing) for 3 min 20 s; nothing to read: committed up to the end, 2000, last committed 3 s ago
    wrong | __consumer_offsets/3 | committed offsets are damaged on disk (offsets 1000..2000): the broker still has them in memory, but its next start refuses them. Write down the offsets of `group describe`, stop the broker, give the records up with log repair, and restore the missing offsets with group reset
    ");
}

#[test]
fn idle_and_replaced_members_are_reported() {
    let replaced = MemberFacts { replaced_by: Some("S4".to_owned()), ..member("S3") };
    let mut facts = group(vec![member("S1"), member("S2"), replaced], progress());
    facts.unstarted = vec![UnstartedPartition { name: "rainbow/0".to_owned(), records: 7 }];
    insta::assert_snapshot!(findings_text(&facts.findings()), @"
    waits | group g | 3 members and 2 partitions: 1,207 records (4 s) behind in all
    waits | rainbow/1 | held by S1 (127.0.0.1:5050, client billing) for 3 min 20 s; 1,200 records (4 s) behind, last committed 3 s ago: its owner is alive and progresses
    waits | rainbow/0 | no owner: the next assignment gives it to a member; nothing is committed yet, 7 records to read
    fine | member S2 | idle: its topics have no partition left for it
    wrong | member S3 | replaced by S4 under the same static name: it can only leave
    ");
}

fn partition() -> PartitionDescription {
    PartitionDescription {
        partition: PartitionId::new(0),
        leader: Some(grower_client::ids::NodeId::new(1)),
        leader_epoch: grower_client::ids::LeaderEpoch::new(1),
        replicas: Vec::new(),
        in_sync: Vec::new(),
        log_start: Offset::ZERO,
        high_watermark: Offset::new(10),
        log_end: Offset::new(10),
        bytes: 100,
        damaged: Vec::new(),
        segments: Vec::new(),
    }
}

fn topic(partition: PartitionDescription) -> TopicFacts {
    let topic = TopicDescription {
        name: TopicName::new("rainbow").unwrap(),
        id: TopicId::from_bytes([1; 16]),
        replication_factor: 1,
        configs: Vec::new(),
        partitions: vec![partition],
    };
    TopicFacts {
        topic,
        offline: BTreeMap::new(),
        losses: Vec::new(),
        capacity: None,
        rate: Rate::default(),
        readers: Vec::new(),
    }
}

#[test]
fn a_topic_reports_the_lag_of_its_readers() {
    let reader = |group: &str, lag| ReaderFacts { group: group.to_owned(), lag, lag_ms: Some(4_000) };
    let rate = Rate { records_in: 1_200, bytes_in: 1 << 20, ..Rate::default() };
    let facts = TopicFacts { readers: vec![reader("a", 0), reader("b", 7)], rate, ..topic(partition()) };
    insta::assert_snapshot!(findings_text(&facts.findings()), @"
    fine | topic rainbow | 10 records; incoming 1,200 records/s, 1.0 MiB/s
    fine | group a | has read everything
    waits | group b | is 7 records (4 s) behind; grower-cli why b says why
    ");
}

#[test]
fn accepted_losses_are_reported_until_retention_passes_them() {
    let loss = |start, end| AcceptedLossDescription {
        partition: PartitionId::new(0),
        start: Offset::new(start),
        end: Offset::new(end),
        at: NOW,
        by: "ada (uid 1000)".to_owned(),
        reason: "wrong crc".to_owned(),
        kept: "x".to_owned(),
        bytes: 100,
    };
    let late = PartitionDescription { log_start: Offset::new(4), ..partition() };
    let facts = TopicFacts { losses: vec![loss(2, 4), loss(6, 8)], ..topic(late) };
    insta::assert_snapshot!(findings_text(&facts.findings()), @"
    fine | topic rainbow | 6 records; almost no recent writes
    fine | rainbow/0 | offsets 6..8 were given up as lost by ada (uid 1000) at 1970-01-01T00:16:40.000Z (wrong crc): readers skip them
    fine | topic rainbow | no group reads it
    ");
}

#[test]
fn an_empty_topic_says_whether_it_ever_held_records() {
    let none = PartitionDescription { high_watermark: Offset::ZERO, log_end: Offset::ZERO, ..partition() };
    insta::assert_snapshot!(findings_text(&topic(none).findings()), @"
    fine | topic rainbow | empty: nothing was ever written to it
    fine | topic rainbow | no group reads it
    ");
    let dropped = PartitionDescription { log_start: Offset::new(10), ..partition() };
    insta::assert_snapshot!(findings_text(&topic(dropped).findings()), @"
    fine | topic rainbow | empty: retention or a trim dropped 10 records
    fine | topic rainbow | no group reads it
    ");
}

#[test]
fn everything_that_blocks_writers_or_readers_is_reported() {
    let disk = DiskDescription { total: 100 << 30, free: 1 << 30, reserve: 2 << 30, used_up: None };
    let bad = PartitionDescription {
        leader: None,
        log_end: Offset::new(12),
        damaged: vec![(Offset::new(2), Offset::new(4))],
        ..partition()
    };
    let facts = TopicFacts { capacity: Some(Capacity::of(&disk)), ..topic(bad) };
    insta::assert_snapshot!(findings_text(&facts.findings()), @"
    fine | topic rainbow | 12 records; almost no recent writes
    wrong | disk | free space is below the reserve of 2.0 GiB: writes are refused until 1.0 GiB more is free
    wrong | rainbow/0 | no leader: neither readable nor writable
    waits | rainbow/0 | 2 records written and not yet synced: readers see them after the sync
    wrong | rainbow/0 | damaged on disk: offsets 2..4; all others are served. Restore them from a backup, skip them with consume --skip-damaged, or give them up with log repair
    fine | topic rainbow | no group reads it
    ");
}

#[test]
fn an_offline_partition_is_never_reported_as_empty() {
    let offline = BTreeMap::from([("rainbow/0".to_owned(), "its files are gone".to_owned())]);
    let lost =
        PartitionDescription { leader: None, log_end: Offset::ZERO, high_watermark: Offset::ZERO, ..partition() };
    let reader = ReaderFacts { group: "a".to_owned(), lag: 0, lag_ms: None };
    let facts = TopicFacts { offline: offline.clone(), readers: vec![reader], ..topic(lost) };
    insta::assert_snapshot!(findings_text(&facts.findings()), @"
    wrong | topic rainbow | nothing can be read: 1 of 1 partitions offline
    wrong | rainbow/0 | offline, neither readable nor writable: its files are gone
    waits | group a | has read every served partition; the others are offline
    ");
    let facts = GroupFacts { offline, partitions: Vec::new(), ..group(Vec::new(), progress()) };
    insta::assert_snapshot!(findings_text(&facts.findings()), @"
    wrong | group g | no members and no partitions: 1 partition is offline
    wrong | rainbow/0 | offline: its files are gone
    ");
}
