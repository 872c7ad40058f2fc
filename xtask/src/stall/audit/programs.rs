//! Holds the example programs to what they are for.

use super::AuditReport;
use crate::stall::journal::{JournalEvent, ProcessJournal};
use crate::stall::programs::{counts_folder, outbox_file};
use crate::stall::{EVENTS, ORDERS};
use grower_client::{Client, OffsetSpec, StartFrom};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Each row of the outbox is in the log once, in order.
pub(super) async fn check_outbox(dir: &Path, client: &Client, report: &mut AuditReport) -> anyhow::Result<()> {
    let rows = fs::read_to_string(outbox_file(dir))?;
    let rows: Vec<&str> = rows.lines().collect();
    let end = client.admin().list_offsets([(ORDERS, 0, OffsetSpec::End)]).await?.remove(0)?.offset;
    let end = end.map_or(0, |end| end.value()) as usize;
    let mut consumer = client.consumer().subscribe([ORDERS]).from(StartFrom::Beginning).build().await?;
    let mut shipped = Vec::new();
    while shipped.len() < end {
        let records = consumer.poll(Duration::from_secs(30)).await?;
        anyhow::ensure!(!records.is_empty(), "nothing comes at {ORDERS} offset {}", shipped.len());
        shipped.extend(records.into_iter().map(|record| record.value.unwrap_or_default()));
    }
    report.count("rows of the outbox program", rows.len() as u64);
    let differs = (0..rows.len().max(end))
        .find(|row| shipped.get(*row).map(|row| &row[..]) != rows.get(*row).map(|row| row.as_bytes()));
    if let Some(row) = differs {
        report.broken(format!("the outbox has {:?} in row {row}, the log {:?}", rows.get(row), shipped.get(row)));
    }
    Ok(())
}

/// The workers have counted each record of the partition once.
pub(super) fn check_counts(dir: &Path, partition: u32, end: u64, report: &mut AuditReport) -> anyhow::Result<()> {
    let prefix = format!("{EVENTS}-{partition}@");
    let mut newest = (0, 0);
    for entry in fs::read_dir(counts_folder(dir))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(next) = name.strip_prefix(&prefix).and_then(|next| next.parse::<u64>().ok()) else { continue };
        let text = fs::read_to_string(entry.path())?;
        let counts = text.lines().filter_map(|line| line.split_once('\t')?.1.parse::<u64>().ok());
        newest = newest.max((next, counts.sum()));
    }
    report.count("records of the worker program", newest.1);
    if newest != (end, end) {
        report.broken(format!("{EVENTS}/{partition}: the workers counted {} up to {} of {end}", newest.1, newest.0));
    }
    Ok(())
}

/// A tail that ran for so long is warm and has printed rows.
const WARM: Duration = Duration::from_secs(10);

/// Each run of the tail program printed consecutive rows, and a long one printed some.
pub(super) fn check_tails(dir: &Path, journals: &[ProcessJournal], report: &mut AuditReport) -> anyhow::Result<()> {
    for event in journals.iter().flat_map(|journal| &journal.events) {
        let JournalEvent::ProgramEnded { process, ran } = event else { continue };
        if process.starts_with("tail.") {
            check_tail(process, *ran, &fs::read_to_string(dir.join(format!("{process}.out")))?, report);
        }
    }
    Ok(())
}

fn check_tail(process: &str, ran: Duration, printed: &str, report: &mut AuditReport) {
    let number = |line: &str| line.split_once("b\"row ")?.1.strip_suffix("\")")?.parse::<u64>().ok();
    let rows: Vec<u64> = printed.lines().filter_map(number).collect();
    report.count("changes of the tail program", rows.len() as u64);
    if let Some(pair) = rows.windows(2).find(|pair| pair[0] + 1 != pair[1]) {
        report.broken(format!("{process}: row {} came behind row {}", pair[1], pair[0]));
    }
    if WARM <= ran && rows.is_empty() {
        report.broken(format!("{process} printed no row although it ran for {ran:.1?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(seconds: u64, printed: &str) -> String {
        let mut report = AuditReport::default();
        check_tail("tail.0", Duration::from_secs(seconds), printed, &mut report);
        report.broken.join("\n")
    }

    #[test]
    fn a_tail_prints_consecutive_rows_and_a_long_one_prints_some() {
        let row = |row| format!("None = Some(b\"row {row}\")\n");
        assert_eq!(broken(20, &format!("warm with 1 keys, 0 records behind\n{}{}", row(7), row(8))), "");
        assert_eq!(broken(1, "warm with 1 keys, 0 records behind\n"), "", "it had no time");
        insta::assert_snapshot!(broken(1, &(row(7) + &row(9))), @"tail.0: row 9 came behind row 7");
        insta::assert_snapshot!(
            broken(20, "warm with 1 keys, 0 records behind\n"),
            @"tail.0 printed no row although it ran for 20.0s"
        );
    }
}
