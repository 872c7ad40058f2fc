//! Topics and partitions: traffic, log offsets and sizes, and damage.

use super::page::{FamilyHead, MetricsPage};
use super::{OTHERS, PARTITIONS_MAX, TOPICS_MAX};
use crate::partition::{Partition, TrafficTotals};
use prometheus_client::registry::Unit;
use std::fmt;
use std::sync::Arc;

/// Writes all metrics of these partitions, which are sorted by topic.
pub(super) fn print(page: &mut MetricsPage<'_>, partitions: &[Arc<Partition>], offline: usize) -> fmt::Result {
    let topics: Vec<_> = partitions.chunk_by(|a, b| a.topic == b.topic).collect();
    page.gauge(("topics", "Topics, internal ones included", None), topics.len() as u64)?;
    page.gauge(("partitions", "Partitions that are served", None), partitions.len() as u64)?;
    page.gauge(("partitions_shut", "Offline partitions: their files cannot be opened", None), offline as u64)?;
    print_traffic(page, &topics)?;
    let own_series = &partitions[..partitions.len().min(PARTITIONS_MAX)];
    print_logs(page, own_series)
}

/// A counter of every topic.
type OfTopic = (FamilyHead<'static>, fn(&TrafficTotals) -> u64);

const OF_TOPICS: [OfTopic; 4] = [
    (("records_appended", "Records appended by producers", None), |t| t.records_in),
    (("appended", "Bytes of batches appended by producers", Some(&Unit::Bytes)), |t| t.bytes_in),
    (("records_fetched", "Records sent to readers, counted by their offsets", None), |t| t.records_out),
    (("fetched", "Bytes of batches sent to readers", Some(&Unit::Bytes)), |t| t.bytes_out),
];

fn print_traffic(page: &mut MetricsPage<'_>, topics: &[&[Arc<Partition>]]) -> fmt::Result {
    let (own_series, others) = topics.split_at(topics.len().min(TOPICS_MAX));
    let mut rows: Vec<(&str, TrafficTotals)> =
        own_series.iter().map(|topic| (topic[0].topic_name.as_str(), total(*topic))).collect();
    if !others.is_empty() {
        rows.push((OTHERS, total(others.iter().copied().flatten())));
    }
    for (head, counter) in OF_TOPICS {
        page.counters(head, rows.iter().map(|(name, totals)| ([("topic", *name)], counter(totals))))?;
    }
    Ok(())
}

fn total<'a>(partitions: impl IntoIterator<Item = &'a Arc<Partition>>) -> TrafficTotals {
    let mut total = TrafficTotals::default();
    partitions.into_iter().for_each(|partition| total += partition.traffic.totals());
    total
}

/// A metric of every partition with series of its own.
type OfPartition = (FamilyHead<'static>, fn(&Partition) -> u64);

const OF_PARTITIONS: [OfPartition; 4] = [
    (("log_start_offset", "First offset that the log still holds", None), |p| p.reader().span().start.value()),
    (("high_watermark", "First offset that is not committed", None), |p| p.high_watermark().value()),
    (("log_end_offset", "Next offset to be written", None), |p| p.reader().span().end.value()),
    (("log_size", "Bytes of batches in the log", Some(&Unit::Bytes)), |p| {
        p.reader().segments().iter().map(|segment| segment.bytes).sum()
    }),
];

fn print_logs(page: &mut MetricsPage<'_>, partitions: &[Arc<Partition>]) -> fmt::Result {
    let numbers: Vec<String> = partitions.iter().map(|partition| partition.partition.to_string()).collect();
    let labels = |at: usize| [("topic", partitions[at].topic_name.as_str()), ("partition", numbers[at].as_str())];
    for (head, figure) in OF_PARTITIONS {
        page.gauges(head, partitions.iter().enumerate().map(|(at, partition)| (labels(at), figure(partition))))?;
    }
    let damaged = partitions.iter().enumerate().map(|(at, partition)| (labels(at), damaged_offsets(partition)));
    let head = ("log_damaged_offsets", "Offsets lost to damage; partitions without damage are not listed", None);
    page.gauges(head, damaged.filter(|(_, offsets)| 0 < *offsets))
}

fn damaged_offsets(partition: &Partition) -> u64 {
    partition.reader().damaged().iter().map(|lost| lost.end.since(lost.start)).sum()
}
