//! Whether the broker has failed for good, and why.

use crate::metrics::Metrics;
use grower_protocol::message::{ErrorCode, Failure};
use grower_storage::log::LogFailed;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The health of the broker, shared by all parts that can fail for good. The first failure counts, and only a restart
/// ends it.
#[derive(Clone)]
pub(crate) struct Health(Arc<HealthState>);

struct HealthState {
    failure: Mutex<Option<String>>,
    failed: CancellationToken,
    metrics: Metrics,
}

impl Health {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self(Arc::new(HealthState { failure: Mutex::default(), failed: CancellationToken::new(), metrics }))
    }

    /// Fails the broker: nothing is acknowledged from here on.
    pub(crate) fn fail(&self, reason: String) {
        let mut failure = self.0.failure.lock();
        if failure.is_none() {
            tracing::error!(reason, "the broker failed and stops");
            *failure = Some(reason);
        }
        drop(failure);
        self.0.failed.cancel();
    }

    /// A log takes no more appends. Fails the broker, unless only the files of that log are gone: the other logs are
    /// served.
    pub(crate) fn log_failed(&self, error: &LogFailed) {
        if !error.files_gone {
            self.fail(error.to_string());
        }
    }

    /// Why the broker failed, if it did.
    pub(crate) fn failure(&self) -> Option<String> {
        if self.0.failed.is_cancelled() { self.0.failure.lock().clone() } else { None }
    }

    /// Returns the reason once there is one.
    pub(crate) async fn failed(&self) -> String {
        self.0.failed.cancelled().await;
        self.failure().unwrap_or_default()
    }

    /// The failure for a client. A failed broker answers the retriable `ShuttingDown`: a retry after the restart may
    /// succeed, and an idempotent producer then writes once.
    pub(crate) fn explain(&self, failure: Failure) -> Failure {
        match self.failure().filter(|_| failure.code == ErrorCode::StorageFailed) {
            Some(reason) => Failure::new(ErrorCode::ShuttingDown, reason),
            None => failure,
        }
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }
}
