//! The lag of groups, in records and in time.

use super::GROUP_OFFSETS_MAX;
use super::page::MetricsPage;
use crate::group::GroupFigures;
use crate::partition::Partition;
use crate::state::BrokerState;
use grower_protocol::ids::{PartitionId, Timestamp, TopicId};
use grower_protocol::message::CommittedOffset;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// The lags of all groups.
pub(super) struct Lags {
    members: Vec<(String, u64)>,
    series: Vec<Lag>,
    /// Committed offsets beyond the bound.
    pub(super) left_out: usize,
}

/// One group in one partition.
struct Lag {
    group: String,
    topic: String,
    partition: String,
    records: u64,
    /// None if the records that say so cannot be read.
    millis: Option<u64>,
}

/// Looks at every group. A lag in time reads one batch header of the log, so their number is bounded.
pub(super) fn lags(state: &BrokerState, partitions: &[Arc<Partition>]) -> Lags {
    let found: HashMap<_, _> = partitions.iter().map(|p| ((p.topic, p.partition), p)).collect();
    let groups = state.groups.figures();
    let now = state.clock.wall();
    let mut committed = groups.iter().flat_map(|group| group.offsets.iter().map(move |at| (group, at)));
    let series = committed.by_ref().take(GROUP_OFFSETS_MAX).filter_map(|(group, at)| lag(&found, group, at, now));
    let series = series.collect();
    let left_out = committed.count();
    let members = groups.iter().map(|group| (group.group.to_string(), group.members as u64));
    Lags { members: members.take(GROUP_OFFSETS_MAX).collect(), series, left_out }
}

type PartitionsById<'a> = HashMap<(TopicId, PartitionId), &'a Arc<Partition>>;

fn lag(found: &PartitionsById<'_>, group: &GroupFigures, at: &CommittedOffset, now: Timestamp) -> Option<Lag> {
    let partition = found.get(&(at.topic, at.partition))?;
    // Where the log lost what the group has read, its readers go back.
    let lost_from = partition.divergence(at.offset, at.leader_epoch).map(|divergence| divergence.end);
    let next = lost_from.unwrap_or(at.offset).max(partition.reader().span().start);
    let records = partition.high_watermark().since(next);
    let oldest = if records == 0 { Some(now) } else { partition.timestamp_from(next) };
    Some(Lag {
        group: group.group.to_string(),
        topic: partition.topic_name.to_string(),
        partition: partition.partition.to_string(),
        records,
        millis: oldest.map(|oldest| now.millis_since(oldest)),
    })
}

pub(super) fn print(page: &mut MetricsPage<'_>, lags: &Lags) -> fmt::Result {
    let members = lags.members.iter().map(|(group, members)| ([("group", group.as_str())], *members));
    page.gauges(("group_members", "Members of a consumer group", None), members)?;
    let about = "Records that a group has not committed yet";
    page.gauges(("group_lag_records", about, None), lags.series.iter().map(|lag| (lag.labels(), lag.records)))?;
    let about = "Age of the oldest record that a group has not committed yet; 0 if there is none";
    page.seconds(("group_lag", about), lags.series.iter().filter_map(|lag| Some((lag.labels(), lag.millis?))))
}

impl Lag {
    fn labels(&self) -> [(&str, &str); 3] {
        [("group", &self.group), ("topic", &self.topic), ("partition", &self.partition)]
    }
}
