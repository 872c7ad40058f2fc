//! How a broker is doing, and what it is set to.

use crate::ids::{NodeId, Timestamp, TopicId};
use serde::{Deserialize, Serialize};

/// A broker at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokerDescription {
    /// Which one.
    pub node: NodeId,
    /// Its version.
    pub version: String,
    /// What its clock says.
    pub now: Timestamp,
    /// How long it has been serving.
    pub uptime_ms: u64,
    /// Open connections of clients.
    pub connections: u64,
    /// Bytes of its memory budget in use.
    pub memory_used: u64,
    /// The budget in bytes.
    pub memory_budget: u64,
    /// Syncs since the start, and how long the latest of them took.
    pub fsync: FsyncDescription,
    /// Its disk; none if the system does not tell.
    pub disk: Option<DiskDescription>,
    /// Traffic of every topic, the internal ones included, by id.
    pub topics: Vec<TopicTraffic>,
}

/// How fast the disk makes things durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FsyncDescription {
    /// Syncs since the start.
    pub count: u64,
    /// Half of the latest ones were at most this long.
    pub p50_micros: u64,
    /// 99 of 100 of the latest ones were at most this long.
    pub p99_micros: u64,
}

/// The volume of the data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskDescription {
    /// Its size in bytes.
    pub total: u64,
    /// Bytes that may still be written to it.
    pub free: u64,
    /// Bytes of these that producers do not get.
    pub reserve: u64,
    /// By how much `free` went down in the time watched; none so soon after a start that nothing can be said.
    pub used_up: Option<UsedUp>,
}

/// A change of free space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsedUp {
    /// Bytes that are free no more; negative if more are.
    pub bytes: i64,
    /// In how long.
    pub over_ms: u64,
}

/// What went through a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicTraffic {
    /// The topic.
    pub topic: TopicId,
    /// Since the broker started.
    pub total: Traffic,
    /// Of late.
    pub recent: Traffic,
    /// How long "of late" is: a minute, or less after a start.
    pub recent_ms: u64,
}

/// Records and bytes of batches, in and out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Records appended.
    pub records_in: u64,
    /// Bytes appended.
    pub bytes_in: u64,
    /// Records sent to readers.
    pub records_out: u64,
    /// Bytes sent to readers.
    pub bytes_out: u64,
}

/// One setting of a broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingEntry {
    /// `section.key`.
    pub key: String,
    /// Its value as people write it; none if it is not set.
    pub value: Option<String>,
    /// Who set it.
    pub source: SettingSource,
    /// What it would be without changes made since the start.
    pub started_with: Option<String>,
    /// It cannot be changed while the broker runs.
    pub needs_restart: bool,
    /// What it means.
    pub about: String,
    /// What it takes.
    pub accepts: String,
}

/// Where a setting's value comes from; the later ones go before the earlier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SettingSource {
    /// Nobody set it.
    Default,
    /// The start: a line of a file, a variable, a flag.
    Start(String),
    /// Changed while the broker ran, and kept.
    Changed,
}
