//! Times requests, by class.

use super::Metrics;
use super::latency::Latency;
use grower_protocol::message::Acks;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use std::fmt;
use std::time::Duration;

/// The classes of requests that are timed apart, because they wait for different things. The label `api` names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestClass {
    ProduceAll,
    ProduceLeader,
    ProduceNone,
    /// A fetch that was answered at once.
    Fetch,
    /// A fetch that waited for records, up to the time that the client gave.
    FetchWait,
    ListOffsets,
    Metadata,
    InitProducer,
    FenceProducer,
    /// A heartbeat that was answered at once.
    Heartbeat,
    /// A heartbeat that waited for a change of its member's assignment.
    HeartbeatWait,
    CommitOffsets,
    FetchOffsets,
    /// All other requests about groups.
    Groups,
    /// All other requests.
    Admin,
}

const ALL: [(RequestClass, &str); 15] = [
    (RequestClass::ProduceAll, "produce_all"),
    (RequestClass::ProduceLeader, "produce_leader"),
    (RequestClass::ProduceNone, "produce_none"),
    (RequestClass::Fetch, "fetch"),
    (RequestClass::FetchWait, "fetch_wait"),
    (RequestClass::ListOffsets, "list_offsets"),
    (RequestClass::Metadata, "metadata"),
    (RequestClass::InitProducer, "init_producer"),
    (RequestClass::FenceProducer, "fence_producer"),
    (RequestClass::Heartbeat, "heartbeat"),
    (RequestClass::HeartbeatWait, "heartbeat_wait"),
    (RequestClass::CommitOffsets, "commit_offsets"),
    (RequestClass::FetchOffsets, "fetch_offsets"),
    (RequestClass::Groups, "groups"),
    (RequestClass::Admin, "admin"),
];

impl RequestClass {
    pub(crate) fn produce(acks: Acks) -> Self {
        match acks {
            Acks::All => Self::ProduceAll,
            Acks::Leader => Self::ProduceLeader,
            Acks::None => Self::ProduceNone,
        }
    }
}

/// One histogram for each class.
#[derive(Debug, Default)]
pub(super) struct ClassLatencies([Latency; ALL.len()]);

/// Times a request, until it is dropped.
pub(crate) struct RequestTimer {
    metrics: Metrics,
    class: RequestClass,
    /// On the monotonic clock.
    started: Duration,
}

impl RequestTimer {
    /// Starts when the request has been received.
    pub(crate) fn start(metrics: &Metrics, class: RequestClass) -> Self {
        metrics.class_latencies().of(class).begin();
        Self { metrics: metrics.clone(), class, started: metrics.0.clock.monotonic() }
    }

    /// Moves the request to another class.
    pub(crate) fn reclassify(&mut self, class: RequestClass) {
        debug_assert_ne!(class, self.class, "a request moves to the class that it has");
        self.metrics.class_latencies().of(class).begin();
        self.metrics.class_latencies().of(self.class).forget();
        self.class = class;
    }
}

impl Drop for RequestTimer {
    fn drop(&mut self) {
        let took = self.metrics.0.clock.monotonic().saturating_sub(self.started);
        self.metrics.class_latencies().of(self.class).observe(took);
    }
}

impl ClassLatencies {
    fn of(&self, class: RequestClass) -> &Latency {
        &self.0[class as usize]
    }
}

impl Collector for ClassLatencies {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let about = "Time from the arrival of a request to its answer";
        let mut family = encoder.encode_descriptor("request", about, Some(&Unit::Seconds), MetricType::Histogram)?;
        for (class, name) in ALL {
            self.of(class).encode(family.encode_family(&[("api", name)])?)?;
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
    fn each_class_has_a_histogram_of_its_own() {
        for (at, (class, _)) in ALL.iter().enumerate() {
            assert_eq!(*class as usize, at);
        }
    }

    #[test]
    fn a_fetch_that_waits_counts_as_a_wait_only() {
        let metrics = Metrics::for_test();
        let mut timer = RequestTimer::start(&metrics, RequestClass::Groups);
        timer.reclassify(RequestClass::FetchWait);
        assert!(metrics.print().contains("grower_requests_in_flight 1\n"));
        drop(timer);
        let text = metrics.print();
        assert!(text.contains("grower_requests_in_flight 0\n"));
        assert!(text.contains("grower_request_seconds_count{api=\"fetch_wait\"} 1\n"));
        assert!(text.contains("grower_request_seconds_count{api=\"groups\"} 0\n"));
    }
}
