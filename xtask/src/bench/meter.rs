//! Measures the cost of work: time, and processor seconds of client and broker.

use super::bench_broker::BenchBroker;
use super::machine;
use std::time::{Duration, Instant};

/// A running measurement.
pub(super) struct Meter {
    began: Instant,
    client: f64,
    server: f64,
}

/// The cost of the work.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    pub(super) took: Duration,
    /// Processor seconds of this process.
    pub(super) client: f64,
    /// Processor seconds of the broker.
    pub(super) server: f64,
}

impl Cost {
    /// Processor time of this process in relation to the time. More than one thread can exceed 1.
    pub(super) fn client_busy(&self) -> f64 {
        self.client / self.took.as_secs_f64()
    }
}

impl Meter {
    pub(super) fn start(broker: &BenchBroker) -> anyhow::Result<Self> {
        let (client, server) = (machine::own_cpu_seconds(), broker.cpu_seconds()?);
        Ok(Self { began: Instant::now(), client, server })
    }

    pub(super) fn stop(self, broker: &BenchBroker) -> anyhow::Result<Cost> {
        let took = self.began.elapsed();
        let client = machine::own_cpu_seconds() - self.client;
        Ok(Cost { took, client, server: broker.cpu_seconds()? - self.server })
    }
}
