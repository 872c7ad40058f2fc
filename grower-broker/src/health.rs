//! Whether the broker may go on, and who is to be told when it may not.

use crate::metrics::Metrics;
use grower_protocol::message::{ErrorCode, Failure};
use grower_storage::log::LogFailed;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Shared by everything that can fail for good. The first failure counts; there is no way back but a restart.
#[derive(Clone)]
pub(crate) struct Health(Arc<State>);

struct State {
    failure: Mutex<Option<String>>,
    failed: CancellationToken,
    metrics: Metrics,
}

impl Health {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self(Arc::new(State { failure: Mutex::default(), failed: CancellationToken::new(), metrics }))
    }

    /// The disk can no longer be trusted: nothing is acknowledged from here on.
    pub(crate) fn fail(&self, reason: String) {
        let mut failure = self.0.failure.lock();
        if failure.is_none() {
            tracing::error!(reason, "the broker failed and stops");
            *failure = Some(reason);
        }
        drop(failure);
        self.0.failed.cancel();
    }

    /// A log takes nothing more. The broker stops, unless only that log's files are gone: the others are served.
    pub(crate) fn log_failed(&self, error: &LogFailed) {
        if !error.files_gone {
            self.fail(error.to_string());
        }
    }

    /// Why the broker stops, if it does.
    pub(crate) fn failure(&self) -> Option<String> {
        if self.0.failed.is_cancelled() { self.0.failure.lock().clone() } else { None }
    }

    /// Returns the reason once there is one.
    pub(crate) async fn failed(&self) -> String {
        self.0.failed.cancelled().await;
        self.failure().unwrap_or_default()
    }

    /// What to tell a client. Of a broker that has failed: that it stops, for its next start may well do what was asked,
    /// and a producer that sends again then writes once.
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
