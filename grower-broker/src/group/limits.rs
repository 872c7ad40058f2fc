//! How large groups may grow, and how long members may be silent.

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
    /// Bytes of the text that is committed with an offset.
    pub metadata_bytes: usize,
}

impl Default for GroupLimits {
    fn default() -> Self {
        Self { groups: 5_000, members: 1_000, topics: 1_000, metadata_bytes: 4096 }
    }
}

const SESSION_MIN_MS: u32 = 1_000;
const SESSION_MAX_MS: u32 = 30 * 60 * 1_000;
const INTERVAL_MAX_MS: u32 = 1_000;
const INTERVAL_RECONCILING_MS: u32 = 200;

/// A session or rebalance timeout as it counts: 1 s to 30 min.
pub(super) fn timeout(wished_ms: u32) -> Duration {
    Duration::from_millis(wished_ms.clamp(SESSION_MIN_MS, SESSION_MAX_MS).into())
}

/// When the next heartbeat is due: often enough to survive four lost ones, and at once while partitions move.
pub(super) fn interval_ms(session_timeout_ms: u32, reconciling: bool) -> u32 {
    let quiet = (session_timeout_ms.clamp(SESSION_MIN_MS, SESSION_MAX_MS) / 5).min(INTERVAL_MAX_MS);
    if reconciling { quiet.min(INTERVAL_RECONCILING_MS) } else { quiet }
}
