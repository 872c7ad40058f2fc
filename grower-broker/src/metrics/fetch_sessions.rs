//! Counts of fetch sessions.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The sessions of the broker, their partitions, and the evicted ones. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct FetchSessionCounters {
    sessions: Gauge,
    partitions: Gauge,
    evicted: Counter,
}

/// A session that is counted, with its partitions, as long as this lives.
#[derive(Debug)]
pub(crate) struct CountedFetchSession {
    counters: FetchSessionCounters,
    partitions: i64,
}

impl FetchSessionCounters {
    pub(super) fn register(&self, to: &mut Registry) {
        to.register("fetch_sessions", "Fetch sessions of clients", self.sessions.clone());
        to.register("fetch_session_partitions", "Partitions in all fetch sessions", self.partitions.clone());
        let about = "Fetch sessions that were evicted because others needed their memory";
        to.register("fetch_sessions_evicted", about, self.evicted.clone());
    }

    /// Counts a session without partitions.
    pub(crate) fn opened(&self) -> CountedFetchSession {
        self.sessions.inc();
        CountedFetchSession { counters: self.clone(), partitions: 0 }
    }

    /// A session was evicted.
    pub(crate) fn evicted(&self) {
        self.evicted.inc();
    }
}

impl CountedFetchSession {
    /// It has this many partitions now.
    pub(crate) fn set_partitions(&mut self, partitions: usize) {
        let partitions = i64::try_from(partitions).unwrap_or(i64::MAX);
        if partitions != self.partitions {
            self.counters.partitions.inc_by(partitions - self.partitions);
            self.partitions = partitions;
        }
    }
}

impl Drop for CountedFetchSession {
    fn drop(&mut self) {
        self.set_partitions(0);
        self.counters.sessions.dec();
    }
}
