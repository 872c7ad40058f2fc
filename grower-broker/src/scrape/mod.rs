//! Metrics that are looked up when they are scraped: logs, groups, memory, disk, the process.
//!
//! Their cost is bounded: beyond [`TOPICS_MAX`], [`PARTITIONS_MAX`] and [`GROUP_OFFSETS_MAX`] there are no further
//! series, and `series_left_out` counts the missing ones. Only the thread that serves HTTP does this work.

mod groups;
mod logs;
mod machine;
mod page;

use crate::state::BrokerState;
use page::MetricsPage;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;
use std::sync::Weak;

/// Topics with series of their own, the first by name; the others are added up as the topic [`OTHERS`].
const TOPICS_MAX: usize = 1_000;
/// Partitions with series of their own, the first by topic and number.
const PARTITIONS_MAX: usize = 2_000;
/// Committed offsets with series of their own, the first by group.
const GROUP_OFFSETS_MAX: usize = 2_000;
/// The name of all topics beyond the first together, which no topic may have.
const OTHERS: &str = "(others)";

/// Looks at a broker as long as that exists.
pub(crate) struct ScrapedMetrics(pub(crate) Weak<BrokerState>);

impl fmt::Debug for ScrapedMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScrapedMetrics")
    }
}

impl Collector for ScrapedMetrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(state) = self.0.upgrade() else { return Ok(()) };
        let mut page = MetricsPage(encoder);
        let partitions = state.topics.all();
        logs::print(&mut page, &partitions, state.topics.offline_count())?;
        let lags = groups::lags(&state, &partitions);
        groups::print(&mut page, &lags)?;
        machine::print(&mut page, &state)?;
        let partitions_left_out = partitions.len().saturating_sub(PARTITIONS_MAX);
        page.gauges(
            ("series_left_out", "Partitions and group offsets without series of their own", None),
            [("partitions", partitions_left_out), ("group_offsets", lags.left_out)]
                .map(|(kind, count)| ([("kind", kind)], count as u64)),
        )
    }
}
