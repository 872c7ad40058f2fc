//! Judges the facts, and advises what to change.

use super::broker::{BrokerFacts, BrokerReply};
use super::check::{CheckLevel, DoctorCheck, DoctorFacts};
use super::machine::{DiskFacts, SystemLimits};
use crate::output::{bytes_for_people, counted, in_groups, noun};
use grower_broker::offline::Trust;
use grower_client::GroupMemory;
use std::time::Duration;

/// Judges every fact that is known, in a fixed order.
pub(crate) fn judge(facts: &DoctorFacts) -> Vec<DoctorCheck> {
    let broker_facts = match &facts.broker {
        BrokerReply::Yes(broker_facts) => Some(broker_facts),
        BrokerReply::No(_) | BrokerReply::NotAsked => None,
    };
    let mut checks = reached(&facts.broker, facts.disk.is_some()).into_iter().collect::<Vec<_>>();
    if let Some(disk) = &facts.disk {
        checks.push(file_system(disk));
        checks.push(fsync(disk));
        checks.push(free_space(disk, broker_facts));
    }
    checks.extend(open_files(&facts.limits, broker_facts));
    checks.extend(memory(&facts.limits, broker_facts));
    checks.extend(maps(&facts.limits, broker_facts));
    checks.extend(backlog(&facts.limits));
    checks.extend(clock(&facts.limits));
    checks.extend(broker_facts.into_iter().flat_map(|broker_facts| [skew(broker_facts), budget(broker_facts)]));
    checks.extend(broker_facts.and_then(|broker_facts| broker_facts.group_memory.as_ref()).map(group_memory));
    checks.extend(broker_facts.map(damage));
    checks
}

fn check(level: CheckLevel, about: &'static str, found: impl Into<String>, advice: &'static str) -> DoctorCheck {
    let advice = Some(advice).filter(|_| level != CheckLevel::Good);
    DoctorCheck { level, about, found: found.into(), advice }
}

/// Returns [`CheckLevel::Good`] if `good`, else `otherwise`.
fn unless(good: bool, otherwise: CheckLevel) -> CheckLevel {
    if good { CheckLevel::Good } else { otherwise }
}

fn reached(broker: &BrokerReply, machine_alone: bool) -> Option<DoctorCheck> {
    const ADVICE: &str =
        "start it with grower-broker --data-dir DIR, or name another with --broker; its log says why it does not start";
    match broker {
        BrokerReply::NotAsked => None,
        BrokerReply::No(why) => {
            let level = if machine_alone { CheckLevel::Warning } else { CheckLevel::Bad };
            Some(check(level, "broker", format!("does not answer: {why}"), ADVICE))
        }
        BrokerReply::Yes(broker_facts) => {
            let took = millis(broker_facts.round_trip);
            let level = unless(broker_facts.round_trip < Duration::from_millis(50), CheckLevel::Warning);
            Some(check(
                level,
                "broker",
                format!("answers in {took}"),
                "run clients closer to it, or look at its load with top",
            ))
        }
    }
}

fn file_system(disk: &DiskFacts) -> DoctorCheck {
    let (level, advice) = match disk.file_system.trust() {
        Trust::Full => (CheckLevel::Good, ""),
        Trust::Doubtful(advice) => (CheckLevel::Warning, advice),
        Trust::None(advice) => (CheckLevel::Bad, advice),
    };
    check(level, "file system", format!("{} at {}", disk.file_system, disk.dir.display()), advice)
}

fn fsync(disk: &DiskFacts) -> DoctorCheck {
    const TOO_FAST: Duration = Duration::from_micros(15);
    const SLOW: Duration = Duration::from_millis(20);
    let took = match &disk.fsync {
        Ok(took) if !took.is_empty() => took,
        Ok(_) => return check(CheckLevel::Bad, "fsync", "no sync ended in time", "check the disk: it hardly works"),
        Err(why) => {
            let advice = "make the directory writable for the broker's user";
            return check(CheckLevel::Bad, "fsync", format!("cannot be measured: {why}"), advice);
        }
    };
    let of_100 = |part: usize| took[(took.len() * part).div_ceil(100).saturating_sub(1)];
    let (p50, p99) = (of_100(50), of_100(99));
    let (level, advice) = if p50 < TOO_FAST {
        (
            CheckLevel::Warning,
            "no disk is that fast: something answers before the data is safe. Check that syncs are not turned off",
        )
    } else if SLOW < p50 {
        (CheckLevel::Warning, "each ack waits for a sync: use a faster disk, or larger batches")
    } else {
        (CheckLevel::Good, "")
    };
    check(
        level,
        "fsync",
        format!("p50 {}, p99 {} over {} of 4 KiB", millis(p50), millis(p99), counted(took.len(), "write")),
        advice,
    )
}

fn free_space(disk: &DiskFacts, broker_facts: Option<&BrokerFacts>) -> DoctorCheck {
    let reserve = broker_facts.map_or_else(|| (disk.total / 50).max(64 << 20), |broker_facts| broker_facts.reserve);
    let level = match disk.free {
        free if free <= reserve => CheckLevel::Bad,
        free if free <= reserve.saturating_mul(2) => CheckLevel::Warning,
        _ => CheckLevel::Good,
    };
    let (free, total, reserve) = (disk.free, disk.total, bytes_for_people(reserve));
    let found = format!("{} of {}, reserve {reserve}", bytes_for_people(free), bytes_for_people(total));
    let advice = "writes are refused below the reserve: shorten retention.ms or retention.bytes, trim topics, or enlarge the disk";
    check(level, "free space", found, advice)
}

/// Files that a partition has open: a log and an index, and one more while a segment rolls.
const FILES_PER_PARTITION: u64 = 3;
const OTHER_FILES: u64 = 256;

fn open_files(limits: &SystemLimits, broker_facts: Option<&BrokerFacts>) -> Option<DoctorCheck> {
    let limit = limits.open_files?;
    let (partitions, connections) = broker_facts.map_or((1_000, 10_000), |a| (a.partitions, a.max_connections));
    let need = partitions * FILES_PER_PARTITION + connections + OTHER_FILES; // Open files of older segments are limited by the broker.
    let found = format!("{} allowed, up to {} needed", in_groups(limit), in_groups(need));
    let advice = "raise the limit of the broker's user: LimitNOFILE= in its unit, or ulimit -Hn";
    Some(check(unless(need <= limit, CheckLevel::Warning), "open files", found, advice))
}

/// Memory of a broker outside its budget.
const BESIDE_BUDGET: u64 = 64 << 20;

fn memory(limits: &SystemLimits, broker_facts: Option<&BrokerFacts>) -> Option<DoctorCheck> {
    let memory = limits.memory?;
    let budget = broker_facts.map_or(1 << 30, |broker_facts| broker_facts.memory_budget);
    let level = match budget.saturating_add(BESIDE_BUDGET) {
        need if memory <= need => CheckLevel::Bad,
        need if memory / 2 < need => CheckLevel::Warning,
        _ => CheckLevel::Good,
    };
    let found = format!("{}, budget {}", bytes_for_people(memory), bytes_for_people(budget));
    let advice = "leave at least half of the memory to the page cache, where records are read from: lower --memory";
    Some(check(level, "memory", found, advice))
}

fn maps(limits: &SystemLimits, broker_facts: Option<&BrokerFacts>) -> Option<DoctorCheck> {
    let (limit, segments) = (limits.maps?, broker_facts?.segments);
    let found = format!("{} maps allowed, {} segments", in_groups(limit), in_groups(segments));
    let advice = "each closed segment maps its index: raise vm.max_map_count, or make segment.bytes larger";
    Some(check(unless(segments <= limit / 2, CheckLevel::Warning), "vm.max_map_count", found, advice))
}

fn backlog(limits: &SystemLimits) -> Option<DoctorCheck> {
    let limit = limits.backlog?;
    let found = format!("{} connections may wait", in_groups(limit));
    let advice = "connections are dropped when many clients connect at once: set net.core.somaxconn to 1024 or more";
    Some(check(unless(1_024 <= limit, CheckLevel::Warning), "net.core.somaxconn", found, advice))
}

fn clock(limits: &SystemLimits) -> Option<DoctorCheck> {
    let kept = limits.is_clock_synchronized?;
    let found = if kept { "synchronized" } else { "not synchronized" };
    let advice =
        "retention and lookups by time follow the clock: run a time service such as systemd-timesyncd or chrony";
    Some(check(unless(kept, CheckLevel::Warning), "clock", found, advice))
}

fn skew(broker_facts: &BrokerFacts) -> DoctorCheck {
    let skew = broker_facts.skew_ms;
    let level = match skew.unsigned_abs() {
        0..1_000 => CheckLevel::Good,
        1_000..60_000 => CheckLevel::Warning,
        _ => CheckLevel::Bad,
    };
    let found = match skew {
        -5..=5 => "the broker's clock is this machine's, within 5 ms".to_owned(),
        ahead @ 6.. => format!("the broker's clock is {ahead} ms ahead of this machine's"),
        behind => format!("the broker's clock is {} ms behind this machine's", behind.unsigned_abs()),
    };
    let advice = "records are stamped by clients and aged by the broker: synchronize both clocks";
    check(level, "clock skew", found, advice)
}

fn budget(broker_facts: &BrokerFacts) -> DoctorCheck {
    let (used, budget) = (broker_facts.memory_used, broker_facts.memory_budget);
    let level = unless(used <= budget - budget / 10, CheckLevel::Warning);
    let found = format!("{} of {} in use", bytes_for_people(used), bytes_for_people(budget));
    check(level, "memory budget", found, "clients wait for memory: raise --memory, or find the busiest topics with top")
}

fn group_memory(memory: &GroupMemory) -> DoctorCheck {
    let (used, max) = (bytes_for_people(memory.used), bytes_for_people(memory.max));
    let level = match memory.refused.is_empty() {
        true => unless(memory.used <= memory.max - memory.max / 10, CheckLevel::Warning),
        false => CheckLevel::Bad,
    };
    let waiting = match memory.refused.len() as u64 {
        0 => String::new(),
        groups => format!(", memory refused to {groups} {} recently", noun(groups, "group")),
    };
    let advice = "when it is full, members wait to join and commits fail: delete unused groups, or raise --memory";
    check(level, "group memory", format!("{used} of {max} in use{waiting}"), advice)
}

fn damage(broker_facts: &BrokerFacts) -> DoctorCheck {
    let level = unless(broker_facts.damaged == 0, CheckLevel::Bad);
    let found = format!("{} damaged {}", broker_facts.damaged, noun(broker_facts.damaged, "range"));
    check(level, "records", found, "topic describe lists them, why TOPIC advises what to do; the disk may be failing")
}

fn millis(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1e3)
}
