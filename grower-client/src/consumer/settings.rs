//! The settings of a consumer.

use crate::gap::Gap;
use crate::record::TopicPartition;
use grower_protocol::ids::{Offset, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The start position in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartFrom {
    /// The first record. The default without a group.
    Beginning,
    /// The current end.
    End,
    /// The committed offset of the group; the beginning if there is none. The default with a group.
    Committed,
    /// This offset, in each partition.
    Offset(Offset),
    /// The first record at or after this time; the end if there is none.
    Time(Timestamp),
    /// This number of offsets before the current end of each partition; the first record of a shorter log. Fewer
    /// records come if compaction has removed some.
    Last(u64),
}

/// A change of the assigned partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RebalanceEvent {
    /// The partitions that the consumer now reads.
    pub assigned: Vec<TopicPartition>,
    /// The partitions that the consumer no longer reads. None of their records is handed out any more.
    pub revoked: Vec<TopicPartition>,
}

pub(super) type OnRebalance = Arc<dyn Fn(RebalanceEvent) + Send + Sync>;

/// All settings of a consumer except its topics and partitions.
#[derive(Clone)]
pub(super) struct ConsumerSettings {
    pub(super) from: Option<StartFrom>,
    pub(super) start_at: BTreeMap<TopicPartition, Offset>,
    pub(super) max_poll_records: usize,
    pub(super) max_poll_bytes: usize,
    pub(super) prefetch_bytes: usize,
    pub(super) fetch_max_wait: Duration,
    pub(super) fetch_min_bytes: u32,
    pub(super) session_timeout: Duration,
    /// The session timeout if it is not set.
    pub(super) rebalance_timeout: Option<Duration>,
    pub(super) max_poll_interval: Duration,
    pub(super) assignor: Option<String>,
    pub(super) instance: Option<String>,
    pub(super) auto_commit: Option<Duration>,
    pub(super) on_damage: OnDamage,
    pub(super) on_gap: GapRule,
    pub(super) metadata_max_age: Duration,
    pub(super) on_rebalance: Option<OnRebalance>,
}

impl Default for ConsumerSettings {
    fn default() -> Self {
        Self {
            from: None,
            start_at: BTreeMap::new(),
            max_poll_records: 500,
            max_poll_bytes: 16 << 20,
            prefetch_bytes: 16 << 20,
            fetch_max_wait: Duration::from_millis(500),
            fetch_min_bytes: 1,
            session_timeout: Duration::from_secs(10),
            rebalance_timeout: None,
            max_poll_interval: Duration::from_secs(5 * 60),
            assignor: None,
            instance: None,
            auto_commit: None,
            on_damage: OnDamage::Fail,
            on_gap: Arc::new(|_| OnGap::Continue),
            metadata_max_age: Duration::from_secs(5),
            on_rebalance: None,
        }
    }
}

/// The handling of damaged records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDamage {
    /// Reports them as an error and stays in place; retries after a second.
    #[default]
    Fail,
    /// Logs them and continues behind them.
    Skip,
}

/// The handling of a [`Gap`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnGap {
    /// Logs a warning and continues behind the gap.
    #[default]
    Continue,
    /// Returns the gap once as [`ConsumeError::Gap`](crate::ConsumeError::Gap); the next call continues behind it.
    Report,
}

/// Decides the handling of each gap.
pub(crate) type GapRule = Arc<dyn Fn(&Gap) -> OnGap + Send + Sync>;
