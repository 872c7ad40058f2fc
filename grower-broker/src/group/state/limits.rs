//! Limits on the size of groups, and timeouts of members.

use grower_protocol::message::{SESSION_MAX, SESSION_MIN, heartbeat_interval};
use std::time::Duration;

/// The largest size of groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupLimits {
    /// Groups in one shard.
    pub groups: usize,
    /// Members of one group.
    pub members: usize,
    /// Subscribed topics of one member.
    pub topics: usize,
    /// Subscribed topics of all members in one shard; a member counts as at least one.
    pub subscriptions: usize,
    /// Committers outside the membership that one shard remembers.
    pub committers: usize,
    /// Bytes of the metadata text of one offset.
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

/// A claimant is told to send its next heartbeat at once. After this time it has to join again.
const CLAIM_MAX: Duration = Duration::from_secs(10);

/// A session or rebalance timeout, held within 1 s to 30 min.
pub(super) fn timeout(requested_ms: u32) -> Duration {
    Duration::from_millis(requested_ms.into()).clamp(SESSION_MIN, SESSION_MAX)
}

/// The time for a claimant to confirm its claim to an instance name.
pub(super) fn claim_timeout(session_timeout_ms: u32) -> Duration {
    timeout(session_timeout_ms).min(CLAIM_MAX)
}

/// The interval to the next heartbeat: short enough to survive four lost ones, shorter while partitions move.
pub(super) fn interval_ms(session_timeout_ms: u32, reconciling: bool) -> u32 {
    let quiet = heartbeat_interval(timeout(session_timeout_ms));
    let interval = if reconciling { quiet.min(INTERVAL_RECONCILING) } else { quiet };
    u32::try_from(interval.as_millis()).unwrap_or(u32::MAX)
}
