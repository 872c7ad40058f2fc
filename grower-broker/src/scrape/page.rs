//! Writes metric families.

use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use std::fmt;

/// Name without prefix, unit and suffix; what it is; its unit.
pub(super) type FamilyHead<'a> = (&'a str, &'a str, Option<&'a Unit>);

/// A page of metrics that is being written.
pub(super) struct MetricsPage<'a>(pub(super) DescriptorEncoder<'a>);

impl MetricsPage<'_> {
    /// Writes a gauge without labels.
    pub(super) fn gauge(&mut self, (name, about, unit): FamilyHead<'_>, value: u64) -> fmt::Result {
        gauge(value).encode(self.0.encode_descriptor(name, about, unit, MetricType::Gauge)?)
    }

    /// Writes a gauge with labels.
    pub(super) fn gauges<L: EncodeLabelSet>(
        &mut self,
        head: FamilyHead<'_>,
        rows: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        self.family(head, MetricType::Gauge, rows.into_iter().map(|(labels, value)| (labels, gauge(value))))
    }

    /// Writes a gauge with labels, in seconds, to the millisecond.
    pub(super) fn seconds<L: EncodeLabelSet>(
        &mut self,
        (name, about): (&str, &str),
        rows: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let rows = rows.into_iter().map(|(labels, millis)| (labels, ConstGauge::new(millis as f64 / 1e3)));
        self.family((name, about, Some(&Unit::Seconds)), MetricType::Gauge, rows)
    }

    /// Writes a counter with labels.
    pub(super) fn counters<L: EncodeLabelSet>(
        &mut self,
        head: FamilyHead<'_>,
        rows: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let rows = rows.into_iter().map(|(labels, value)| (labels, ConstCounter::new(value)));
        self.family(head, MetricType::Counter, rows)
    }

    fn family<L: EncodeLabelSet, M: EncodeMetric>(
        &mut self,
        (name, about, unit): FamilyHead<'_>,
        kind: MetricType,
        rows: impl Iterator<Item = (L, M)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, about, unit, kind)?;
        for (labels, metric) in rows {
            metric.encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

fn gauge(value: u64) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}
