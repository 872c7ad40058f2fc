//! The Grower broker: topics, partitions, producers, consumers, groups, on one machine's disk.
//!
//! Use it as a library ([`Broker::start`], then [`Broker::connect`] for connections inside the process) or as the
//! daemon `grower-broker` on the same files. [`operations`] says how to run it. Without the default feature `daemon` the
//! crate is the library alone, and builds nothing that only a process of its own needs.
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
//!
//! # The hot path, counted
//!
//! What one record costs over TCP, from the SDK's `send` to its ack, and to a reader: the daemon's side counted with
//! `strace -c` under `cargo xtask bench --only NAME`, the client's read off its code. Whoever changes the path changes
//! these numbers, or says why not.
//!
//! | | one record at a time, `acks=all` | in batches of 1 MiB, `acks=all` | fetched |
//! | --- | --- | --- | --- |
//! | client | 1 write, 1 read, 1-2 `epoll_wait` | a write for what the socket takes, 1 read a batch | a read for what the socket holds |
//! | broker, network | 1 `recv`, 1 `send`, 1-2 `epoll_wait` | 2 `recv`, 1 `send` a batch | 5 `send` a MiB |
//! | broker, disk | 1 `pwrite`, 1 `fdatasync` | 1 `pwrite` and 0.8 `fdatasync` a batch | 6 `pread` a MiB: 4 for records, 2 for headers |
//! | index | 1 `pwrite` each 4 KiB of log | 1 `pwrite` a batch | 2 `pread` a MiB, far behind in the segment that is written |
//! | copies in user space | 1: value into batch | 1: value into batch | none: a record is a slice of what was received |
//! | copies by the kernel | 3: to and from the socket, to the page cache | the same | 3: from the page cache, to and from the socket |
//! | CRC-32C passes | 1 in the client, 1 in the broker | the same | 1 in the client |
//! | threads woken | 2: the broker's by the request, the client's by the answer | 2 a batch, and a flusher a sync | 2 a fetch |
//!
//! - A record alone hops between no threads in the broker: the task that receives it checks, writes, syncs and answers
//!   it. Several requests at once share syncs on the flushers; the flusher sends their answers itself.
//! - Fifty producers of one client, one record at a time each, share a connection. A record then costs the broker 0.06
//!   `recv`, 0.04 `send`, 1.25 `pwrite` and 0.03 `fdatasync`, and its client 0.15 writes and 0.04 reads.
//! - Beside it, each MiB of space allocated ahead is one `fallocate`, and each 128 KiB one `pwrite` of zeros where syncs are
//!   small and many: a sync of what lands on them takes half of the time. A partition that rests for 100 ms writes its
//!   checkpoint: 2-3 `fsync` and a `rename`, once; while others wait for the disk, after a second.
//! - `sendfile` would save one of a fetch's three copies; over loopback it is slower all the same (`fetch.zero_copy`).
//!
//! Where the daemon's time goes (`perf record`, two cores). One record at a time: 43 % below `fdatasync`, 11 % `send`, 5 %
//! `pwrite`, the rest going to sleep and waking up. Batches of 100-byte records: 12 % each in `recv`, `send` and `pwrite`,
//! 9 % `fdatasync`, and 12 % in walking the records, since a batch is believed only when each record's lengths add up;
//! that is 0.15 microseconds a record beside the client's 0.5, so the client's core is the limit. Batches of 1 KiB records
//! that are read back at once: 22 % `pwrite`, 16 % `send`, 13 % `recv`, 12 % `pread`, 8 % `fdatasync`, 2 % CRC-32C. Fifty
//! producers, a record at a time each: 21 % `fdatasync`, 20 % `pwrite`, 11 % `send`; as much again goes by on the client's
//! side. A thousand partitions, batches of 16 KiB, acks=all: 38 % `fdatasync`, which is one for each batch and mostly going
//! to sleep and waking up, 13 % `pwrite`, 7 % `send`, 4 % `fsync` of checkpoints; both processors are busy from 150 MB/s on,
//! so the slower the disk's answers the longer the tail. With acks=leader their syncs are one thread's work, some 2,000 a
//! second; as many threads as there was work for made 12,000, and took half of a processor from the producers.

pub mod config;
#[cfg(feature = "daemon")]
pub mod flags;
pub mod group;
pub mod metadata;
pub mod offline;

#[doc = include_str!("../docs/operations.md")]
pub mod operations {
    #[doc = include_str!("../docs/metrics.md")]
    pub mod metrics {}
}

/// For fuzzing, and nothing else: no part of it is promised.
#[doc(hidden)]
pub mod fuzzed {
    pub use crate::http::Names;
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
mod stall_watchdog;
mod topic;

pub use broker::{Broker, BrokerBuilder, StartError};
pub use clock::{Clock, SystemClock};
pub use config::BrokerConfig;
pub use logs::{DeletedLogs, IsLive, Logs, MemLogs, PartitionPlace};
pub use placement::Misplaced;
pub use topic::IndexKind;
