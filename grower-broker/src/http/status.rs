//! The broker's own account of itself, from its first moment to its last.

use super::Probe;
use crate::health::Health;
use crate::state::BrokerState;
use parking_lot::Mutex;
use std::sync::Arc;

/// Where the broker is in its life. It exists before the rest of the broker does.
pub(crate) struct Status {
    health: Health,
    phase: Mutex<Phase>,
}

/// A broker starts, serves and stops, in this order.
pub(crate) enum Phase {
    /// Logs are being recovered.
    Starting,
    /// Requests are answered.
    Serving(Arc<BrokerState>),
    /// Requests in work are answered, and no others.
    Stopping,
}

impl Status {
    pub(crate) fn starting(health: Health) -> Self {
        Self { health, phase: Mutex::new(Phase::Starting) }
    }

    pub(crate) fn enter(&self, phase: Phase) {
        *self.phase.lock() = phase;
    }
}

impl Probe for Status {
    fn alive(&self) -> Result<(), String> {
        self.health.failure().map_or(Ok(()), |reason| Err(format!("failed: {reason}")))
    }

    fn ready(&self) -> Result<(), String> {
        match &*self.phase.lock() {
            Phase::Starting => Err("starting: the logs are being recovered".to_owned()),
            Phase::Serving(state) => {
                state.disk_reserve.shortage().map_or(Ok(()), |full| Err(format!("disk full: {full}")))
            }
            Phase::Stopping => Err("stopping".to_owned()),
        }
    }

    fn metrics(&self) -> String {
        self.health.metrics().print()
    }
}
