//! Holds the log and the journals of a run to the promises of the client library.

mod causes;
mod deadlines;
mod group;
mod log;
mod programs;
mod records;

use super::journal::{self, JournalEvent, ProcessJournal};
use super::rig_record::RigRecord;
use super::{EVENTS, LEASES, OUTBOX, OUTBOX_PARTITIONS, PARTITIONS};
use anyhow::Context;
use grower_client::Client;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// The broken promises of a run, and its figures.
#[derive(Default)]
pub(super) struct AuditReport {
    pub(super) broken: Vec<String>,
    figures: BTreeMap<&'static str, u64>,
    slowest: Option<String>,
}

impl AuditReport {
    fn count(&mut self, what: &'static str, more: u64) {
        *self.figures.entry(what).or_default() += more;
    }

    fn broken(&mut self, promise: String) {
        self.broken.push(promise);
    }
}

impl fmt::Display for AuditReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, count) in &self.figures {
            writeln!(f, "{count:>9} {what}")?;
        }
        match &self.slowest {
            Some(slowest) => write!(f, "latest end of a call: {slowest}"),
            None => Ok(()),
        }
    }
}

/// Audits a run whose clients have ended.
pub(super) async fn run(dir: &Path, broker: &str) -> anyhow::Result<AuditReport> {
    let journals = journal::read_all(dir)?;
    let mut report = AuditReport::default();
    for ProcessJournal { process, events } in &journals {
        for event in events {
            match event {
                JournalEvent::Broken { promise } => report.broken(format!("{process}: {promise}")),
                JournalEvent::Fault { kind, .. } if kind == "Stop" => report.count("stops of a process", 1),
                JournalEvent::Fault { kind, .. } if kind == "Hang" => report.count("hangs of the disk", 1),
                JournalEvent::Fault { .. } => report.count("kills", 1),
                _ => {}
            }
        }
    }
    deadlines::check(&journals, &mut report);
    let client = Client::connect(broker).await?;
    let group = group::GroupAudit::new(&journals, &client).await?;
    for partition in 0..PARTITIONS {
        let name = format!("{EVENTS}/{partition}");
        let log = log::read(&client, EVENTS, partition, &mut report).await.with_context(|| name.clone())?;
        records::check(&journals, EVENTS, partition, &log, &mut report);
        group.check(partition, log.len() as u64, &mut report);
        programs::check_counts(dir, partition, log.len() as u64, &mut report)?;
        last_reader_reached_the_end(&journals, partition, log.len() as u64, &mut report);
    }
    programs::check_outbox(dir, &client, &mut report).await?;
    programs::check_tails(dir, &journals, &mut report)?;
    for (topic, partition) in (0..OUTBOX_PARTITIONS).map(|partition| (OUTBOX, partition)).chain([(LEASES, 0)]) {
        let name = format!("{topic}/{partition}");
        let log = log::read(&client, topic, partition, &mut report).await.with_context(|| name.clone())?;
        records::check(&journals, topic, partition, &log, &mut report);
        report.count(if topic == OUTBOX { "rows of the shipper" } else { "records of candidates" }, log.len() as u64);
        numbers_are_offsets(&name, &log, &mut report);
    }
    Ok(report)
}

/// Row `n` of an outbox is its record `n`, and a candidate's record is where it was expected to be.
fn numbers_are_offsets(name: &str, log: &[RigRecord], report: &mut AuditReport) {
    if let Some((offset, found)) = (0..).zip(log).find(|(offset, found)| found.number != *offset) {
        report.broken(format!("{name} offset {offset} holds number {} by {}", found.number, found.writer));
    }
}

/// The reader that ended last has read everything.
fn last_reader_reached_the_end(journals: &[ProcessJournal], partition: u32, end: u64, report: &mut AuditReport) {
    let handed_out = journals.iter().filter(|journal| journal.process.starts_with("reader")).flat_map(|journal| {
        journal.events.iter().filter_map(|event| match event {
            JournalEvent::HandedOut { partition: of, offsets, at, .. } if *of == partition => Some((*at, offsets.end)),
            _ => None,
        })
    });
    let last = handed_out.max().map_or(0, |(_, reached)| reached);
    if last != end {
        report.broken(format!("{EVENTS}/{partition}: the last reader reached {last} of {end}"));
    }
}
