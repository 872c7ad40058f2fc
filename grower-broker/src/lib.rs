//! The Grower broker: topics, partitions, producers, consumers, groups, on one machine's disk.
//!
//! Use it as a library ([`Broker::start`], then [`Broker::connect`] for connections inside the process) or as the
//! daemon `grower-broker` on the same files.

pub mod config;
pub mod flags;
pub mod group;
pub mod metadata;
pub mod offline;

mod api;
mod backup;
mod broker;
mod clock;
mod groups;
mod health;
mod http;
mod listener;
mod logs;
mod memory;
mod metrics;
mod partition;
mod random;
mod rates;
mod space;
mod topic;
mod watched_disk;

pub use broker::{Broker, BrokerBuilder, StartError};
pub use clock::{Clock, SystemClock};
pub use config::BrokerConfig;
pub use logs::{Logs, MemLogs, PartitionPlace};
pub use topic::IndexKind;
