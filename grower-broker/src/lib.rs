//! The Grower broker: topics, partitions, producers, consumers, groups, on one machine's disk.
//!
//! A program embeds it ([`Broker::start`], then [`Broker::connect`] for connections inside the process), or runs the
//! daemon `grower-broker` on the same files. Without the default feature `daemon` the crate is the library alone.
//!
//! - [`architecture`]: the path of one record, and the file that owns each step.
//! - [`promises`]: each guarantee, and the test that would prove it wrong.
//! - [`figures`]: measured rates, and the cost of one record.
//! - [`operations`]: sizing, durability, alerts, recovery, backup.
//!
//! ```
//! use grower_broker::{Broker, BrokerConfig};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! let broker = Broker::start(BrokerConfig::at(dir.path())).await?; // No sockets unless the config names addresses.
//! let connect = broker.connector(); // For `grower_client::transport::in_process`.
//! # drop(connect);
//! broker.stop().await?; // Everything is durable, and the directory is free.
//! # Ok(())
//! # }
//! ```

pub mod config;
#[cfg(feature = "daemon")]
pub mod flags;
pub mod group;
pub mod metadata;
pub mod offline;

#[doc = include_str!("../docs/architecture.md")]
pub mod architecture {}

#[doc = include_str!("../docs/promises.md")]
pub mod promises {}

#[doc = include_str!("../docs/figures.md")]
pub mod figures {}

#[doc = include_str!("../docs/operations.md")]
pub mod operations {
    #[doc = include_str!("../docs/metrics.md")]
    pub mod metrics {}
}

/// For fuzzing, and nothing else: no part of it is promised.
#[doc(hidden)]
pub mod fuzzed {
    pub use crate::api::fetch_session_actions;
    pub use crate::http::ServerNames;
    pub use crate::logs::begun::written_again as begun_written_again;
}

mod api;
mod background;
mod backup;
mod broker;
mod clock;
mod compaction;
mod critical;
mod descriptors;
mod disk_failure;
mod disk_reserve;
mod fail_stop_disk;
mod health;
mod http;
mod jobs;
mod listener;
mod log_pace;
mod logs;
mod memory;
mod metrics;
mod partition;
mod placement;
mod random;
mod rates;
mod replica;
mod reserve_file;
mod scrape;
mod stall_watchdog;
mod state;
mod topic;

pub use broker::{Broker, BrokerBuilder, StartError};
pub use clock::{Clock, SystemClock};
pub use config::BrokerConfig;
pub use config::topic::topic_config_help;
pub use logs::{DeletedLogs, IsLive, Logs, MemLogs, PartitionIdentity};
pub use placement::Misplaced;
pub use topic::IndexKind;
