//! Counters and histograms of the broker, printed as OpenMetrics text.
//!
//! Hot paths only add to atomics that they hold already. Offsets, sizes, lags, memory and disk are looked up when
//! metrics are scraped, by the thread that serves HTTP, and bounded: see `crate::scrape`. `docs/metrics.md` lists every
//! metric; a test compares the two.

mod fetch_sessions;
mod latency;
mod recent_syncs;
mod request_timer;

pub(crate) use fetch_sessions::{CountedFetchSession, FetchSessionCounters};
pub(crate) use latency::Latency;
pub(crate) use request_timer::{RequestClass, RequestTimer};

use crate::clock::Clock;
use grower_protocol::message::ErrorCode;
use grower_protocol::message::FsyncDescription;
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, LabelSetEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use recent_syncs::RecentSyncs;
use request_timer::ClassLatencies;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Counters that hot paths touch, the registry that prints them, and the clock that times requests. Clones share them.
#[derive(Clone)]
pub(crate) struct Metrics(Arc<MetricsState>);

struct MetricsState {
    registry: Mutex<Registry>,
    counters: EventCounters,
    clock: Arc<dyn Clock>,
}

/// Everything that is counted as it happens.
#[derive(Clone, Debug)]
struct EventCounters {
    class_latencies: Arc<ClassLatencies>,
    fsync: Arc<Latency>,
    latest_syncs: Arc<RecentSyncs>,
    connections: Gauge,
    connections_refused: Counter,
    panics: Counter,
    disk_full: Gauge,
    compactions: Counter,
    compaction_before: Counter,
    compaction_after: Counter,
    writes_refused: Family<Reason, Counter>,
    requests_failed: Family<Reason, Counter>,
    fetch_sessions: FetchSessionCounters,
}

/// An open connection.
pub(crate) struct Connected(Gauge);

impl Drop for Connected {
    fn drop(&mut self) {
        let before = self.0.dec();
        debug_assert!(0 < before, "a connection ends that was not counted");
    }
}

impl Metrics {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let counters = EventCounters {
            class_latencies: Arc::default(),
            fsync: Arc::default(),
            latest_syncs: Arc::default(),
            connections: Gauge::default(),
            connections_refused: Counter::default(),
            panics: Counter::default(),
            disk_full: Gauge::default(),
            compactions: Counter::default(),
            compaction_before: Counter::default(),
            compaction_after: Counter::default(),
            writes_refused: Family::default(),
            requests_failed: Family::default(),
            fetch_sessions: FetchSessionCounters::default(),
        };
        counters.writes_refused.get_or_create_owned(&Reason(ErrorCode::DiskFull)); // Shows 0 before the first refusal.
        counters.requests_failed.get_or_create_owned(&Reason(ErrorCode::Internal));
        let mut registry = Registry::with_prefix("grower");
        counters.register(&mut registry);
        registry.register_collector(Box::new(Uptime { started: clock.monotonic(), clock: clock.clone() }));
        Self(Arc::new(MetricsState { registry: Mutex::new(registry), counters, clock }))
    }

    #[cfg(test)]
    pub(crate) fn for_test() -> Self {
        Self::new(Arc::new(crate::clock::SystemClock))
    }

    /// Adds a collector that looks up its values at each scrape.
    pub(crate) fn collect_from(&self, collector: impl Collector) {
        self.0.registry.lock().register_collector(Box::new(collector));
    }

    fn class_latencies(&self) -> &ClassLatencies {
        &self.0.counters.class_latencies
    }

    /// Counts a sync of logs, and its duration.
    pub(crate) fn synced(&self, took: Duration) {
        self.0.counters.fsync.observe(took);
        self.0.counters.latest_syncs.note(took);
    }

    /// The durations of the latest syncs.
    pub(crate) fn latest_syncs(&self) -> FsyncDescription {
        self.0.counters.latest_syncs.describe()
    }

    /// Open connections.
    pub(crate) fn connections(&self) -> u64 {
        u64::try_from(self.0.counters.connections.get()).unwrap_or(0)
    }

    /// Counts a refused batch. Takes a lock that no accepted batch takes.
    pub(crate) fn write_refused(&self, code: ErrorCode) {
        self.0.counters.writes_refused.get_or_create_owned(&Reason(code)).inc();
    }

    /// Counts a request refused as a whole; a produce or fetch request only if it names too many partitions.
    pub(crate) fn request_failed(&self, code: ErrorCode) {
        self.0.counters.requests_failed.get_or_create_owned(&Reason(code)).inc();
    }

    /// Counts a connection for as long as the guard lives.
    pub(crate) fn connected(&self) -> Connected {
        self.0.counters.connections.inc();
        Connected(self.0.counters.connections.clone())
    }

    /// Counts a refused connection.
    pub(crate) fn connection_refused(&self) {
        self.0.counters.connections_refused.inc();
    }

    /// The counts of fetch sessions.
    pub(crate) fn fetch_sessions(&self) -> &FetchSessionCounters {
        &self.0.counters.fetch_sessions
    }

    /// Counts a panic of a request or a connection.
    pub(crate) fn panicked(&self) {
        self.0.counters.panics.inc();
    }

    pub(crate) fn disk_full(&self, full: bool) {
        self.0.counters.disk_full.set(full.into());
    }

    /// Counts a completed compaction pass.
    pub(crate) fn compacted(&self, bytes_before: u64, bytes_after: u64) {
        debug_assert!(0 < bytes_before || bytes_after == 0, "a compaction made {bytes_after} bytes from none");
        self.0.counters.compactions.inc();
        self.0.counters.compaction_before.inc_by(bytes_before);
        self.0.counters.compaction_after.inc_by(bytes_after);
    }

    /// Everything as text.
    pub(crate) fn print(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.0.registry.lock()).expect("writing to a string does not fail");
        text
    }
}

impl EventCounters {
    fn register(&self, to: &mut Registry) {
        to.register("build", "The version that runs", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        to.register_collector(Box::new(self.class_latencies.clone()));
        to.register("requests_failed", "Requests refused as a whole, by reason", self.requests_failed.clone());
        to.register("writes_refused", "Batches refused, by reason", self.writes_refused.clone());
        to.register_collector(Box::new(Fsync(self.fsync.clone())));
        to.register("connections", "Open native connections", self.connections.clone());
        let about = "Connections closed at once because network.max_connections was reached";
        to.register("connections_refused", about, self.connections_refused.clone());
        to.register("panics", "Requests and connections that panicked", self.panics.clone());
        to.register(
            "disk_full",
            "1 while writes, or those that need a new file, are refused for lack of space",
            self.disk_full.clone(),
        );
        self.fetch_sessions.register(to);
        to.register("compactions", "Compaction passes that completed", self.compactions.clone());
        let about = "Bytes of compacted segments before their compaction";
        to.register_with_unit("compaction_before", about, Unit::Bytes, self.compaction_before.clone());
        let about = "Bytes of compacted segments after their compaction";
        to.register_with_unit("compaction_after", about, Unit::Bytes, self.compaction_after.clone());
    }
}

/// Time since the process began to start.
struct Uptime {
    started: Duration,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Uptime {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Uptime").field("started", &self.started).finish_non_exhaustive()
    }
}

impl Collector for Uptime {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let uptime = self.clock.monotonic().saturating_sub(self.started);
        let gauge = ConstGauge::new(uptime.as_secs_f64());
        let about = "Time since the start of the broker began";
        gauge.encode(encoder.encode_descriptor("uptime", about, Some(&Unit::Seconds), gauge.metric_type())?)
    }
}

#[derive(Debug)]
struct Fsync(Arc<Latency>);

impl Collector for Fsync {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let kind = self.0.metric_type();
        let about = "How long syncs of logs took";
        self.0.encode(encoder.encode_descriptor("fsync", about, Some(&Unit::Seconds), kind)?)
    }
}

/// Why something was refused, as a label.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct Reason(ErrorCode);

impl EncodeLabelSet for Reason {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        [("reason", snake_case(&format!("{:?}", self.0)))].encode(encoder)
    }
}

/// `DiskFull` as `disk_full`.
fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}
