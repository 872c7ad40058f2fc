//! How a consumer behaves.

use super::state::GapRule;
use crate::record::TopicPartition;
use grower_protocol::ids::{Offset, Timestamp};
use std::sync::Arc;
use std::time::Duration;

/// Where to begin in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartFrom {
    /// At the first record there is.
    Beginning,
    /// Behind the last record that is there now.
    End,
    /// Where the group has committed to; at the beginning where it has not. The default with a group.
    Committed,
    /// At this offset, in each partition.
    Offset(Offset),
    /// At the first record that is not earlier; at the end if there is none.
    Time(Timestamp),
}

/// Partitions came or went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RebalanceEvent {
    /// Read from now on.
    pub assigned: Vec<TopicPartition>,
    /// No longer read. None of their records is handed out any more.
    pub revoked: Vec<TopicPartition>,
}

pub(super) type OnRebalance = Arc<dyn Fn(RebalanceEvent) + Send + Sync>;

/// All of a consumer's settings but what it reads.
#[derive(Clone)]
pub(super) struct ConsumerSettings {
    pub(super) from: Option<StartFrom>,
    pub(super) max_poll_records: usize,
    pub(super) max_poll_bytes: usize,
    pub(super) prefetch_bytes: usize,
    pub(super) fetch_max_wait: Duration,
    pub(super) fetch_min_bytes: u32,
    pub(super) session_timeout: Duration,
    pub(super) max_poll_interval: Duration,
    pub(super) assignor: Option<String>,
    pub(super) instance: Option<String>,
    pub(super) auto_commit: Option<Duration>,
    pub(super) on_damage: OnDamage,
    pub(super) on_gap: GapRule,
    pub(super) metadata_max_age: Duration,
    pub(super) on_rebalance: Option<OnRebalance>,
}

/// What a consumer does about damaged records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDamage {
    /// Reports them as an error and stays there; the next attempt is made a second later.
    #[default]
    Fail,
    /// Logs them and goes on behind them.
    Skip,
}
