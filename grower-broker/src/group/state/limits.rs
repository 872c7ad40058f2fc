//! How large groups may grow, and how long members may be silent.

use grower_protocol::message::{SESSION_MAX, SESSION_MIN, heartbeat_interval};
use std::time::Duration;

/// How much of the coordinator groups may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupLimits {
    /// Groups of one shard.
    pub groups: usize,
    /// Members of one group.
    pub members: usize,
    /// Topics that one member subscribes to.
    pub topics: usize,
    /// Topics that all members of one shard subscribe to; a member counts as one at least.
    pub subscriptions: usize,
    /// Committers outside memberships that one shard remembers.
    pub committers: usize,
    /// Bytes of the text that is committed with an offset.
    pub metadata_bytes: usize,
}

impl Default for GroupLimits {
    fn default() -> Self {
        Self {
            groups: 5_000,
            members: 1_000,
            topics: 1_000,
            subscriptions: 100_000,
            committers: 1_000,
            metadata_bytes: 4096,
        }
    }
}

const INTERVAL_RECONCILING: Duration = Duration::from_millis(200);

/// A claimant is told to speak at once: who takes longer joins again.
const CLAIM_MAX: Duration = Duration::from_secs(10);

/// A session or rebalance timeout as it counts: 1 s to 30 min.
pub(super) fn timeout(wished_ms: u32) -> Duration {
    Duration::from_millis(wished_ms.into()).clamp(SESSION_MIN, SESSION_MAX)
}

/// How long a claim to an instance name waits to be confirmed.
pub(super) fn claim_timeout(session_timeout_ms: u32) -> Duration {
    timeout(session_timeout_ms).min(CLAIM_MAX)
}

/// When the next heartbeat is due: often enough to survive four lost ones, and soon while partitions move.
pub(super) fn interval_ms(session_timeout_ms: u32, reconciling: bool) -> u32 {
    let quiet = heartbeat_interval(timeout(session_timeout_ms));
    let interval = if reconciling { quiet.min(INTERVAL_RECONCILING) } else { quiet };
    u32::try_from(interval.as_millis()).unwrap_or(u32::MAX)
}
