//! What the broker counts, in Prometheus' text format.

mod figures;

pub(crate) use figures::Figures;

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use std::sync::Arc;

/// Counters that hot paths touch, and the registry that prints them.
#[derive(Clone)]
pub(crate) struct Metrics {
    registry: Arc<Mutex<Registry>>,
    records_in: Counter,
    bytes_in: Counter,
    bytes_out: Counter,
    connections: Gauge,
    disk_full: Gauge,
    /// Seconds that syncs took.
    pub(crate) fsync: Histogram,
}

/// An open connection.
pub(crate) struct Connected(Gauge);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let metrics = Self {
            registry: Arc::new(Mutex::new(Registry::with_prefix("grower"))),
            records_in: Counter::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            connections: Gauge::default(),
            disk_full: Gauge::default(),
            fsync: Histogram::new(exponential_buckets(0.000_05, 2.0, 18)),
        };
        metrics.register();
        metrics
    }

    fn register(&self) {
        let mut registry = self.registry.lock();
        registry.register("records_appended", "Records appended", self.records_in.clone());
        registry.register_with_unit("appended", "Bytes of batches appended", Unit::Bytes, self.bytes_in.clone());
        registry.register_with_unit("fetched", "Bytes of batches sent to readers", Unit::Bytes, self.bytes_out.clone());
        registry.register("connections", "Open native connections", self.connections.clone());
        registry.register("disk_full", "1 while writes are refused for lack of disk space", self.disk_full.clone());
        registry.register_with_unit("fsync", "How long syncs took", Unit::Seconds, self.fsync.clone());
    }

    /// Adds something that is looked up when somebody asks.
    pub(crate) fn collect_from(&self, collector: impl Collector) {
        self.registry.lock().register_collector(Box::new(collector));
    }

    pub(crate) fn appended(&self, records: u64, bytes: usize) {
        self.records_in.inc_by(records);
        self.bytes_in.inc_by(bytes as u64);
    }

    pub(crate) fn fetched(&self, bytes: usize) {
        self.bytes_out.inc_by(bytes as u64);
    }

    /// Counts a connection for as long as the guard lives.
    pub(crate) fn connected(&self) -> Connected {
        self.connections.inc();
        Connected(self.connections.clone())
    }

    pub(crate) fn disk_full(&self, full: bool) {
        self.disk_full.set(full.into());
    }

    /// Everything as text.
    pub(crate) fn print(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry.lock()).expect("writing to a string does not fail");
        text
    }
}
