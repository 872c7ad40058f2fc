//! Each judgement at its edges.

use super::broker::{BrokerFacts, BrokerReply};
use super::check::{DoctorCheck, DoctorFacts};
use super::judge::judge;
use super::machine::{DiskFacts, SystemLimits};
use grower_broker::offline::FileSystem;
use grower_client::ids::GroupId;
use grower_client::{GroupMemory, RefusedGrowth};
use std::time::Duration;

fn disk(file_system: &str, micros: u64) -> DiskFacts {
    DiskFacts {
        dir: "/srv/grower".into(),
        file_system: FileSystem::named(file_system),
        total: 100 << 30,
        free: 50 << 30,
        fsync: Ok(vec![Duration::from_micros(micros); 100]),
    }
}

fn broker_facts() -> BrokerFacts {
    BrokerFacts {
        round_trip: Duration::from_micros(300),
        skew_ms: 2,
        partitions: 10,
        segments: 40,
        memory_used: 1 << 20,
        memory_budget: 1 << 30,
        group_memory: Some(GroupMemory { used: 1 << 20, max: 64 << 20, refused: Vec::new() }),
        max_connections: 1_000,
        reserve: 2 << 30,
        ..BrokerFacts::default()
    }
}

fn limits() -> SystemLimits {
    SystemLimits {
        open_files: Some(4_096),
        memory: Some(16 << 30),
        maps: Some(65_530),
        backlog: Some(4_096),
        is_clock_synchronized: Some(true),
    }
}

fn checks_text(facts: &DoctorFacts, only: &str) -> String {
    let line = |c: DoctorCheck| format!("{} | {} | {} | {}", c.level.name(), c.about, c.found, c.advice.unwrap_or("-"));
    let checks = judge(facts).into_iter().filter(|check| only.is_empty() || check.about == only);
    checks.map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_good_machine_is_good_in_every_line() {
    let facts =
        DoctorFacts { disk: Some(disk("ext4", 400)), limits: limits(), broker: BrokerReply::Yes(broker_facts()) };
    insta::assert_snapshot!(checks_text(&facts, ""), @"
    good | broker | answers in 0.30 ms | -
    good | file system | ext4 at /srv/grower | -
    good | fsync | p50 0.40 ms, p99 0.40 ms over 100 writes of 4 KiB | -
    good | free space | 50.0 GiB of 100.0 GiB, reserve 2.0 GiB | -
    good | open files | 4,096 allowed, up to 1,286 needed | -
    good | memory | 16.0 GiB, budget 1.0 GiB | -
    good | vm.max_map_count | 65,530 maps allowed, 40 segments | -
    good | net.core.somaxconn | 4,096 connections may wait | -
    good | clock | synchronized | -
    good | clock skew | the broker's clock is this machine's, within 5 ms | -
    good | memory budget | 1.0 MiB of 1.0 GiB in use | -
    good | group memory | 1.0 MiB of 64.0 MiB in use | -
    good | records | 0 damaged ranges | -
    ");
}

#[test]
fn every_bad_fact_comes_with_advice() {
    let refused = RefusedGrowth { group: GroupId::new("g").unwrap(), ago_ms: 5, reason: "full".to_owned() };
    let bad = BrokerFacts {
        round_trip: Duration::from_millis(80),
        skew_ms: -90_000,
        segments: 60_000,
        memory_used: 1 << 30,
        group_memory: Some(GroupMemory { used: 63 << 20, max: 64 << 20, refused: vec![refused] }),
        damaged: 2,
        ..broker_facts()
    };
    let disk = DiskFacts { free: 1 << 30, ..disk("tmpfs", 1) };
    let limits = SystemLimits {
        open_files: Some(1_024),
        memory: Some(1 << 30),
        backlog: Some(128),
        is_clock_synchronized: Some(false),
        ..limits()
    };
    insta::assert_snapshot!(checks_text(&DoctorFacts { disk: Some(disk), limits, broker: BrokerReply::Yes(bad) }, ""), @"
    warning | broker | answers in 80.00 ms | run clients closer to it, or look at its load with top
    bad | file system | tmpfs at /srv/grower | this is memory: records do not survive a restart. Use a directory on a disk
    warning | fsync | p50 0.00 ms, p99 0.00 ms over 100 writes of 4 KiB | no disk is that fast: something answers before the data is safe. Check that syncs are not turned off
    bad | free space | 1.0 GiB of 100.0 GiB, reserve 2.0 GiB | writes are refused below the reserve: shorten retention.ms or retention.bytes, trim topics, or enlarge the disk
    warning | open files | 1,024 allowed, up to 1,286 needed | raise the limit of the broker's user: LimitNOFILE= in its unit, or ulimit -Hn
    bad | memory | 1.0 GiB, budget 1.0 GiB | leave at least half of the memory to the page cache, where records are read from: lower --memory
    warning | vm.max_map_count | 65,530 maps allowed, 60,000 segments | each closed segment maps its index: raise vm.max_map_count, or make segment.bytes larger
    warning | net.core.somaxconn | 128 connections may wait | connections are dropped when many clients connect at once: set net.core.somaxconn to 1024 or more
    warning | clock | not synchronized | retention and lookups by time follow the clock: run a time service such as systemd-timesyncd or chrony
    bad | clock skew | the broker's clock is 90000 ms behind this machine's | records are stamped by clients and aged by the broker: synchronize both clocks
    warning | memory budget | 1.0 GiB of 1.0 GiB in use | clients wait for memory: raise --memory, or find the busiest topics with top
    bad | group memory | 63.0 MiB of 64.0 MiB in use, memory refused to 1 group recently | when it is full, members wait to join and commits fail: delete unused groups, or raise --memory
    bad | records | 2 damaged ranges | topic describe lists them, why TOPIC advises what to do; the disk may be failing
    ");
}

#[test]
fn every_file_system_is_judged() {
    let judged =
        |name: &str| checks_text(&DoctorFacts { disk: Some(disk(name, 400)), ..DoctorFacts::default() }, "file system");
    insta::assert_snapshot!(["xfs", "overlay", "nfs", "fuse", "file system 0x1"].map(judged).join("\n"), @"
    good | file system | xfs at /srv/grower | -
    warning | file system | overlay at /srv/grower | this is a container's own layer, which goes with the container: mount a volume for the data directory
    bad | file system | nfs at /srv/grower | locks and syncs of a network file system are not to be relied on: use a disk of this machine
    warning | file system | fuse at /srv/grower | what a sync means depends on the program behind it: prefer ext4 or xfs
    warning | file system | file system 0x1 at /srv/grower | it is not known whether a sync means anything here: prefer ext4 or xfs
    ");
}

#[test]
fn syncs_are_judged_by_their_speed_and_by_whether_they_work() {
    let judged = |fsync| {
        checks_text(
            &DoctorFacts { disk: Some(DiskFacts { fsync, ..disk("ext4", 1) }), ..DoctorFacts::default() },
            "fsync",
        )
    };
    let each = |micros| judged(Ok(vec![Duration::from_micros(micros)]));
    let lines = [each(5), each(30_000), judged(Ok(Vec::new())), judged(Err("permission denied".to_owned()))];
    insta::assert_snapshot!(lines.join("\n"), @"
    warning | fsync | p50 0.01 ms, p99 0.01 ms over 1 write of 4 KiB | no disk is that fast: something answers before the data is safe. Check that syncs are not turned off
    warning | fsync | p50 30.00 ms, p99 30.00 ms over 1 write of 4 KiB | each ack waits for a sync: use a faster disk, or larger batches
    bad | fsync | no sync ended in time | check the disk: it hardly works
    bad | fsync | cannot be measured: permission denied | make the directory writable for the broker's user
    ");
}

#[test]
fn a_silent_broker_is_bad_unless_only_the_machine_is_examined() {
    let no = || BrokerReply::No("connection refused".to_owned());
    insta::assert_snapshot!(checks_text(&DoctorFacts { broker: no(), ..DoctorFacts::default() }, "broker"), @"bad | broker | does not answer: connection refused | start it with grower-broker --data-dir DIR, or name another with --broker; its log says why it does not start");
    let facts = DoctorFacts { broker: no(), disk: Some(disk("ext4", 400)), ..DoctorFacts::default() };
    assert!(checks_text(&facts, "broker").starts_with("warning"));
    assert_eq!(checks_text(&DoctorFacts::default(), "broker"), "");
}
