//! Requests by what they ask for, and how long each kind takes.

use super::Metrics;
use super::latency::Latency;
use grower_protocol::message::Acks;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use std::fmt;
use std::time::Instant;

/// The kinds of requests that are timed apart. What is waited for differs between them, so one figure for all says little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    ProduceAll,
    ProduceLeader,
    ProduceNone,
    /// Answered with what was there.
    Fetch,
    /// Waited for records, up to the time that the client gave.
    FetchWait,
    ListOffsets,
    Metadata,
    InitProducer,
    Heartbeat,
    CommitOffsets,
    FetchOffsets,
    /// All other looks at groups and leaving them.
    Groups,
    /// All that changes or describes topics, and the rest.
    Admin,
}

const ALL: [(Work, &str); 13] = [
    (Work::ProduceAll, "produce_all"),
    (Work::ProduceLeader, "produce_leader"),
    (Work::ProduceNone, "produce_none"),
    (Work::Fetch, "fetch"),
    (Work::FetchWait, "fetch_wait"),
    (Work::ListOffsets, "list_offsets"),
    (Work::Metadata, "metadata"),
    (Work::InitProducer, "init_producer"),
    (Work::Heartbeat, "heartbeat"),
    (Work::CommitOffsets, "commit_offsets"),
    (Work::FetchOffsets, "fetch_offsets"),
    (Work::Groups, "groups"),
    (Work::Admin, "admin"),
];

impl Work {
    pub(crate) fn produce(acks: Acks) -> Self {
        match acks {
            Acks::All => Self::ProduceAll,
            Acks::Leader => Self::ProduceLeader,
            Acks::None => Self::ProduceNone,
        }
    }
}

/// One latency for each kind of work.
#[derive(Debug, Default)]
pub(super) struct Works([Latency; ALL.len()]);

/// A request in work. Dropping it ends it.
pub(crate) struct Timer {
    metrics: Metrics,
    work: Work,
    started: Instant,
}

impl Timer {
    /// Begins when the request has been received.
    pub(crate) fn start(metrics: &Metrics, work: Work) -> Self {
        metrics.works().of(work).begin();
        Self { metrics: metrics.clone(), work, started: Instant::now() }
    }

    /// It turned out to be another kind of work.
    pub(crate) fn becomes(&mut self, work: Work) {
        self.metrics.works().of(work).begin();
        self.metrics.works().of(self.work).forget();
        self.work = work;
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.metrics.works().of(self.work).observe(self.started.elapsed());
    }
}

impl Works {
    fn of(&self, work: Work) -> &Latency {
        &self.0[work as usize]
    }
}

impl Collector for Works {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let about = "Time from the arrival of a request to its answer";
        let mut family = encoder.encode_descriptor("request", about, Some(&Unit::Seconds), MetricType::Histogram)?;
        for (work, name) in ALL {
            self.of(work).encode(family.encode_family(&[("api", name)])?)?;
        }
        let in_flight: u64 = self.0.iter().map(Latency::in_flight).sum();
        let about = "Requests that are not answered yet, waiting fetches included";
        let gauge = encoder.encode_descriptor("requests_in_flight", about, None, MetricType::Gauge)?;
        ConstGauge::new(i64::try_from(in_flight).unwrap_or(i64::MAX)).encode(gauge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_work_has_a_place_of_its_own() {
        for (at, (work, _)) in ALL.iter().enumerate() {
            assert_eq!(*work as usize, at);
        }
    }

    #[test]
    fn a_fetch_that_waits_counts_as_a_wait_only() {
        let metrics = Metrics::new();
        let mut timer = Timer::start(&metrics, Work::Groups);
        timer.becomes(Work::FetchWait);
        assert!(metrics.print().contains("grower_requests_in_flight 1\n"));
        drop(timer);
        let text = metrics.print();
        assert!(text.contains("grower_requests_in_flight 0\n"));
        assert!(text.contains("grower_request_seconds_count{api=\"fetch_wait\"} 1\n"));
        assert!(text.contains("grower_request_seconds_count{api=\"groups\"} 0\n"));
    }
}
