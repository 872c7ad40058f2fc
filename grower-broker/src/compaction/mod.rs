//! Schedules compaction: after a roll, after a change of configs, and at intervals; one pass at a time.
//!
//! A pass reads and writes files while the partition is in use. It holds a reference to the broker: the data directory
//! is unlocked only when nothing writes to it. Its keys and batches count against the memory budget: see [`work`].

mod work;

use crate::background;
use crate::partition::{CompactError, Partition};
use crate::state::BrokerState;
use grower_protocol::ids::{PartitionId, TopicId};
use grower_storage::compaction::{Compaction, CompactionError};
use grower_storage::log::ChangeError;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use work::WorkMemory;

/// The most memory that the keys of one pass take.
const KEYS_BYTES_MAX: usize = 128 << 20;
/// A pass waits for at most this part of the memory budget, which connections and state leave free.
const PART_OF_MEMORY: usize = 4;
/// How long a damaged log is left alone: reading it again finds the same damage.
const REST: Duration = Duration::from_secs(600);

/// Partitions in which a pass met damage, and when, on the monotonic clock. They rest for [`REST`].
#[derive(Debug, Default)]
struct DamagedPartitions(BTreeMap<(TopicId, PartitionId), Duration>);

impl DamagedPartitions {
    fn insert(&mut self, partition: &Partition, now: Duration) {
        self.0.insert((partition.topic, partition.partition), now);
    }

    /// Whether a partition rests. Forgets those that have rested long enough.
    fn rests(&mut self, partition: &Partition, now: Duration) -> bool {
        self.0.retain(|_, since| now.saturating_sub(*since) < REST);
        self.0.contains_key(&(partition.topic, partition.partition))
    }
}

/// Runs until `stop`, or until the broker is dropped.
pub(crate) async fn run(broker: Weak<BrokerState>, stop: CancellationToken) {
    let mut damaged = DamagedPartitions::default();
    while let Some((topics, settings)) = broker.upgrade().map(|state| (state.topics.clone(), state.settings.clone())) {
        tokio::select! {
            () = topics.compaction_wanted() => {}
            () = settings.passed(|config| config.retention_check) => {}
            () = stop.cancelled() => return,
        }
        for partition in topics.all().into_iter().filter(|partition| partition.config().cleanup_policy.compacts()) {
            let Some(state) = broker.upgrade() else { return };
            let clock = state.clock.clone();
            if damaged.rests(&partition, clock.monotonic()) {
                continue;
            }
            if compact_if_due(state, partition.clone(), &stop).await == CompactionOutcome::Damage {
                damaged.insert(&partition, clock.monotonic());
            }
        }
    }
}

/// The outcome for one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CompactionOutcome {
    /// Nothing was due, a pass is done, or a pass can be retried at any time.
    Fine,
    /// A file is damaged: compaction is impossible until it is repaired.
    Damage,
}

async fn compact_if_due(
    state: Arc<BrokerState>,
    partition: Arc<Partition>,
    stop: &CancellationToken,
) -> CompactionOutcome {
    let (now, work_bytes) = (state.clock.cautious(), work::bytes_at_first(&state.memory));
    let keys_bytes = KEYS_BYTES_MAX.min(state.memory.total() / PART_OF_MEMORY - work_bytes);
    let (looked, stopped) = (partition.clone(), stop.clone());
    let due = background::blocking(move || looked.compaction(now, keys_bytes, &|| !stopped.is_cancelled())).await;
    let Ok(Some(compaction)) = due else { return CompactionOutcome::Fine };
    let reserved = tokio::select! {
        reserved = state.memory.reserve(compaction.keys_bytes() + work_bytes) => reserved,
        () = stop.cancelled() => return CompactionOutcome::Fine,
    };
    let stop = stop.clone();
    let ran = background::blocking(move || {
        let work = WorkMemory::new((reserved, work_bytes), state.memory.clone(), state.clock.clone(), stop);
        compact(&state, &partition, compaction, &work)
    });
    ran.await.unwrap_or_else(|error| {
        tracing::error!(%error, "compaction failed");
        CompactionOutcome::Damage
    })
}

fn compact(state: &BrokerState, partition: &Partition, compaction: Compaction, work: &WorkMemory) -> CompactionOutcome {
    // New files are written before old ones are removed, and must not use up the disk reserve.
    let go_on = |bytes| work.charge(bytes) && state.disk_reserve.admit(0).is_ok();
    let (topic, number) = (&partition.topic_name, partition.partition);
    match partition.compact(compaction, &go_on) {
        Ok(shrunk) => {
            state.health.metrics().compacted(shrunk.before, shrunk.after);
            tracing::debug!(%topic, partition = %number, before = shrunk.before, after = shrunk.after, "compacted");
            CompactionOutcome::Fine
        }
        Err(CompactError::Pass(CompactionError::Stopped)) => CompactionOutcome::Fine,
        Err(CompactError::Log(ChangeError::Failed(error))) => {
            state.health.log_failed(&error);
            CompactionOutcome::Fine
        }
        Err(error) => {
            tracing::warn!(%topic, partition = %number, %error, "compaction failed; it is retried later");
            match error {
                CompactError::Pass(CompactionError::Damaged { .. }) => CompactionOutcome::Damage,
                _ => CompactionOutcome::Fine,
            }
        }
    }
}
