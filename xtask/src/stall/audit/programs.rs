//! Holds the example programs to what they are for.

use super::AuditReport;
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

/// Each run of the tail program printed consecutive rows.
pub(super) fn check_tails(dir: &Path, report: &mut AuditReport) -> anyhow::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.starts_with("tail.") || !name.ends_with(".out") {
            continue;
        }
        let text = fs::read_to_string(&path)?;
        let number = |line: &str| line.split_once("b\"row ")?.1.strip_suffix("\")")?.parse::<u64>().ok();
        let rows: Vec<u64> = text.lines().filter_map(number).collect();
        report.count("changes of the tail program", rows.len() as u64);
        if let Some(pair) = rows.windows(2).find(|pair| pair[0] + 1 != pair[1]) {
            report.broken(format!("{name}: row {} came behind row {}", pair[1], pair[0]));
        }
    }
    Ok(())
}
