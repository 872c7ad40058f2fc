//! The state that requests and background jobs share. It names no connection and no answer.

use crate::background::Tasks;
use crate::backup::Backups;
use crate::clock::BrokerClock;
use crate::config::settings::LiveSettings;
use crate::disk_reserve::DiskReserve;
use crate::group::Groups;
use crate::health::Health;
use crate::memory::Memory;
use crate::partition::{SyncPoolOwner, TrafficTotals};
use crate::rates::{Rates, TopicCounters};
use crate::stall_watchdog::StallWatchdog;
use crate::topic::Topics;
use grower_protocol::ids::{NodeId, TopicId};
use grower_protocol::message::Traffic;
use grower_storage::disk::DirLock;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The parts of a running broker.
pub(crate) struct BrokerState {
    pub(crate) node: Node,
    pub(crate) topics: Arc<Topics>,
    pub(crate) groups: Arc<Groups>,
    pub(crate) sync_pool: Arc<SyncPoolOwner>,
    pub(crate) stall_watchdog: Arc<StallWatchdog>,
    pub(crate) disk_reserve: DiskReserve,
    pub(crate) rates: Rates,
    pub(crate) backups: Arc<Backups>,
    pub(crate) memory: Memory,
    pub(crate) health: Health,
    pub(crate) clock: Arc<BrokerClock>,
    pub(crate) settings: Arc<LiveSettings>,
    /// Set when the broker stops: waits end early.
    pub(crate) stop: CancellationToken,
    /// Connections, requests that are answered later, and jobs: a stop waits for them.
    pub(crate) tasks: Tasks,
    /// Keeps the data directory ours as long as any request or job may still write to it.
    pub(crate) _lock: DirLock,
}

/// This broker's identity, as clients learn it.
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) cluster_id: String,
    /// The address for clients; empty if the broker does not listen.
    pub(crate) address: String,
    pub(crate) frame_bytes_max: usize,
}

impl BrokerState {
    /// The counters of all topics.
    pub(crate) fn topic_counters(&self) -> TopicCounters {
        let mut sums: BTreeMap<TopicId, TrafficTotals> = BTreeMap::new();
        for partition in self.topics.all() {
            *sums.entry(partition.topic).or_default() += partition.traffic.totals();
        }
        let traffic = |sum: TrafficTotals| {
            let TrafficTotals { records_in, bytes_in, records_out, bytes_out } = sum;
            Traffic { records_in, bytes_in, records_out, bytes_out }
        };
        sums.into_iter().map(|(topic, sum)| (topic, traffic(sum))).collect()
    }
}
