//! What the facts mean, and what to change.

use super::broker::{Answers, Reached};
use super::check::{Check, Facts, Level};
use super::machine::{Disk, Limits};
use crate::output::{bytes_for_people, counted, in_groups, noun};
use grower_broker::offline::Trust;
use grower_client::GroupMemory;
use std::time::Duration;

/// Judges every fact that is known, in a fixed order.
pub(crate) fn judge(facts: &Facts) -> Vec<Check> {
    let answers = match &facts.broker {
        Reached::Yes(answers) => Some(answers),
        Reached::No(_) | Reached::NotAsked => None,
    };
    let mut checks = reached(&facts.broker, facts.disk.is_some()).into_iter().collect::<Vec<_>>();
    if let Some(disk) = &facts.disk {
        checks.push(file_system(disk));
        checks.push(fsync(disk));
        checks.push(free_space(disk, answers));
    }
    checks.extend(open_files(&facts.limits, answers));
    checks.extend(memory(&facts.limits, answers));
    checks.extend(maps(&facts.limits, answers));
    checks.extend(backlog(&facts.limits));
    checks.extend(clock(&facts.limits));
    checks.extend(answers.into_iter().flat_map(|answers| [skew(answers), budget(answers)]));
    checks.extend(answers.and_then(|answers| answers.group_memory.as_ref()).map(group_memory));
    checks.extend(answers.map(damage));
    checks
}

fn check(level: Level, about: &'static str, found: impl Into<String>, advice: &'static str) -> Check {
    let advice = Some(advice).filter(|_| level != Level::Good);
    Check { level, about, found: found.into(), advice }
}

/// [`Level::Good`], or what it is otherwise.
fn unless(good: bool, otherwise: Level) -> Level {
    if good { Level::Good } else { otherwise }
}

fn reached(broker: &Reached, machine_alone: bool) -> Option<Check> {
    const ADVICE: &str =
        "start it with grower-broker --data-dir DIR, or name another with --broker; its log says why it does not start";
    match broker {
        Reached::NotAsked => None,
        Reached::No(why) => {
            let level = if machine_alone { Level::Warning } else { Level::Bad };
            Some(check(level, "broker", format!("does not answer: {why}"), ADVICE))
        }
        Reached::Yes(answers) => {
            let took = millis(answers.round_trip);
            let level = unless(answers.round_trip < Duration::from_millis(50), Level::Warning);
            Some(check(
                level,
                "broker",
                format!("answers in {took}"),
                "run clients closer to it, or look at its load with top",
            ))
        }
    }
}

fn file_system(disk: &Disk) -> Check {
    let (level, advice) = match disk.file_system.trust() {
        Trust::Full => (Level::Good, ""),
        Trust::Doubtful(advice) => (Level::Warning, advice),
        Trust::None(advice) => (Level::Bad, advice),
    };
    check(level, "file system", format!("{} at {}", disk.file_system, disk.dir.display()), advice)
}

fn fsync(disk: &Disk) -> Check {
    const TOO_FAST: Duration = Duration::from_micros(15);
    const SLOW: Duration = Duration::from_millis(20);
    let took = match &disk.fsync {
        Ok(took) if !took.is_empty() => took,
        Ok(_) => return check(Level::Bad, "fsync", "no sync ended in time", "check the disk: it hardly works"),
        Err(why) => {
            let advice = "make the directory writable for the broker's user";
            return check(Level::Bad, "fsync", format!("cannot be measured: {why}"), advice);
        }
    };
    let of_100 = |part: usize| took[(took.len() * part).div_ceil(100).saturating_sub(1)];
    let (p50, p99) = (of_100(50), of_100(99));
    let (level, advice) = if p50 < TOO_FAST {
        (
            Level::Warning,
            "no disk is that fast: something answers before the data is safe. Check that syncs are not turned off",
        )
    } else if SLOW < p50 {
        (Level::Warning, "each ack waits for a sync: use a faster disk, or larger batches")
    } else {
        (Level::Good, "")
    };
    check(
        level,
        "fsync",
        format!("p50 {}, p99 {} over {} of 4 KiB", millis(p50), millis(p99), counted(took.len(), "write")),
        advice,
    )
}

fn free_space(disk: &Disk, answers: Option<&Answers>) -> Check {
    let reserve = answers.map_or_else(|| (disk.total / 50).max(64 << 20), |answers| answers.reserve);
    let level = match disk.free {
        free if free <= reserve => Level::Bad,
        free if free <= reserve.saturating_mul(2) => Level::Warning,
        _ => Level::Good,
    };
    let (free, total, reserve) = (disk.free, disk.total, bytes_for_people(reserve));
    let found = format!("{} of {}, reserve {reserve}", bytes_for_people(free), bytes_for_people(total));
    let advice = "writes are refused below the reserve: shorten retention.ms or retention.bytes, trim topics, or enlarge the disk";
    check(level, "free space", found, advice)
}

/// Files that a partition has open: a log and an index, and one more while a segment rolls.
const FILES_PER_PARTITION: u64 = 3;
const OTHER_FILES: u64 = 256;

fn open_files(limits: &Limits, answers: Option<&Answers>) -> Option<Check> {
    let limit = limits.open_files?;
    let (partitions, connections) = answers.map_or((1_000, 10_000), |a| (a.partitions, a.max_connections));
    let need = partitions * FILES_PER_PARTITION + connections + OTHER_FILES; // Older segments take what is left.
    let found = format!("{} allowed, up to {} needed", in_groups(limit), in_groups(need));
    let advice = "raise the limit of the broker's user: LimitNOFILE= in its unit, or ulimit -Hn";
    Some(check(unless(need <= limit, Level::Warning), "open files", found, advice))
}

/// What a broker takes beside its budget.
const BESIDE_BUDGET: u64 = 64 << 20;

fn memory(limits: &Limits, answers: Option<&Answers>) -> Option<Check> {
    let memory = limits.memory?;
    let budget = answers.map_or(1 << 30, |answers| answers.memory_budget);
    let level = match budget.saturating_add(BESIDE_BUDGET) {
        need if memory <= need => Level::Bad,
        need if memory / 2 < need => Level::Warning,
        _ => Level::Good,
    };
    let found = format!("{}, budget {}", bytes_for_people(memory), bytes_for_people(budget));
    let advice = "leave at least half of the memory to the page cache, where records are read from: lower --memory";
    Some(check(level, "memory", found, advice))
}

fn maps(limits: &Limits, answers: Option<&Answers>) -> Option<Check> {
    let (limit, segments) = (limits.maps?, answers?.segments);
    let found = format!("{} maps allowed, {} segments", in_groups(limit), in_groups(segments));
    let advice = "each closed segment maps its index: raise vm.max_map_count, or make segment.bytes larger";
    Some(check(unless(segments <= limit / 2, Level::Warning), "vm.max_map_count", found, advice))
}

fn backlog(limits: &Limits) -> Option<Check> {
    let limit = limits.backlog?;
    let found = format!("{} connections may wait", in_groups(limit));
    let advice = "connections are dropped when many clients connect at once: set net.core.somaxconn to 1024 or more";
    Some(check(unless(1_024 <= limit, Level::Warning), "net.core.somaxconn", found, advice))
}

fn clock(limits: &Limits) -> Option<Check> {
    let kept = limits.clock_kept?;
    let found = if kept { "synchronized" } else { "not synchronized" };
    let advice =
        "retention and lookups by time follow the clock: run a time service such as systemd-timesyncd or chrony";
    Some(check(unless(kept, Level::Warning), "clock", found, advice))
}

fn skew(answers: &Answers) -> Check {
    let skew = answers.skew_ms;
    let level = match skew.unsigned_abs() {
        0..1_000 => Level::Good,
        1_000..60_000 => Level::Warning,
        _ => Level::Bad,
    };
    let found = match skew {
        -5..=5 => "the broker's clock is this machine's, within 5 ms".to_owned(),
        ahead @ 6.. => format!("the broker's clock is {ahead} ms ahead of this machine's"),
        behind => format!("the broker's clock is {} ms behind this machine's", behind.unsigned_abs()),
    };
    let advice = "records are stamped by clients and aged by the broker: synchronize both clocks";
    check(level, "clock skew", found, advice)
}

fn budget(answers: &Answers) -> Check {
    let (used, budget) = (answers.memory_used, answers.memory_budget);
    let level = unless(used <= budget - budget / 10, Level::Warning);
    let found = format!("{} of {} in use", bytes_for_people(used), bytes_for_people(budget));
    check(level, "memory budget", found, "clients wait for memory: raise --memory, or find the busiest topics with top")
}

fn group_memory(memory: &GroupMemory) -> Check {
    let (used, max) = (bytes_for_people(memory.used), bytes_for_people(memory.max));
    let level = match memory.refused.is_empty() {
        true => unless(memory.used <= memory.max - memory.max / 10, Level::Warning),
        false => Level::Bad,
    };
    let waiting = match memory.refused.len() as u64 {
        0 => String::new(),
        groups => format!(", memory refused to {groups} {} recently", noun(groups, "group")),
    };
    let advice = "when it is full, members wait to join and commits fail: delete unused groups, or raise --memory";
    check(level, "group memory", format!("{used} of {max} in use{waiting}"), advice)
}

fn damage(answers: &Answers) -> Check {
    let level = unless(answers.damaged == 0, Level::Bad);
    let found = format!("{} damaged {}", answers.damaged, noun(answers.damaged, "range"));
    check(level, "records", found, "topic describe lists them, why TOPIC advises what to do; the disk may be failing")
}

fn millis(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1e3)
}
