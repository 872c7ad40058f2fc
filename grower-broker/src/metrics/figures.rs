//! Figures that are looked up when somebody asks: logs, groups, memory.

use crate::api::Api;
use crate::partition::Partition;
use grower_protocol::ids::Offset;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt;
use std::sync::{Arc, Weak};

/// Looks at the broker it belongs to, as long as that is there.
pub(crate) struct Figures(pub(crate) Weak<Api>);

impl fmt::Debug for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Figures")
    }
}

/// One figure of every partition.
type OfPartition = (&'static str, &'static str, fn(&Partition) -> u64);

const OF_PARTITIONS: [OfPartition; 4] = [
    ("log_start_offset", "First offset that the log still holds", |p| p.span().log_start.value()),
    ("high_watermark", "First offset that is not committed", |p| p.high_watermark().value()),
    ("log_end_offset", "Next offset to be written", |p| p.span().log_end.value()),
    ("log_size_bytes", "Bytes of batches in the log", |p| p.reader().segments().iter().map(|s| s.bytes).sum()),
];

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(api) = self.0.upgrade() else { return Ok(()) };
        let partitions = api.topics.all();
        for (name, help, figure) in OF_PARTITIONS {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for partition in &partitions {
                let number = partition.partition.to_string();
                let labels = [("topic", partition.topic_name.as_str()), ("partition", number.as_str())];
                gauge(figure(partition)).encode(family.encode_family(&labels)?)?;
            }
        }
        let mut family = encoder.encode_descriptor(
            "group_lag_records",
            "Records that a group has not committed yet",
            None,
            MetricType::Gauge,
        )?;
        for lag in lags(&api, &partitions) {
            let labels = [("group", &*lag.group), ("topic", &*lag.topic), ("partition", &*lag.partition)];
            gauge(lag.records).encode(family.encode_family(&labels)?)?;
        }
        for (name, help, value) in [
            ("memory_used_bytes", "Part of the memory budget in use", api.memory.used()),
            ("memory_budget_bytes", "The memory budget (--memory)", api.memory.total()),
        ] {
            gauge(value as u64).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        Ok(())
    }
}

struct Lag {
    group: String,
    topic: String,
    partition: String,
    records: u64,
}

fn lags(api: &Api, partitions: &[Arc<Partition>]) -> Vec<Lag> {
    let groups = api.groups.describe_all();
    let of_group = |group: &grower_protocol::message::GroupDescription| {
        let lag = |committed: &grower_protocol::message::CommittedOffset| {
            let partition =
                partitions.iter().find(|p| (p.topic, p.partition) == (committed.topic, committed.partition))?;
            Some(Lag {
                group: group.group.to_string(),
                topic: partition.topic_name.to_string(),
                partition: partition.partition.to_string(),
                records: behind(partition.high_watermark(), committed.offset),
            })
        };
        group.offsets.iter().filter_map(lag).collect::<Vec<_>>()
    };
    groups.iter().flat_map(of_group).collect()
}

fn behind(high_watermark: Offset, committed: Offset) -> u64 {
    high_watermark.since(committed)
}

fn gauge(value: u64) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}
