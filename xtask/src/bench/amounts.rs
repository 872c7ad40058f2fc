//! The amounts of a run.

use std::time::Duration;

/// The amounts of one round, and the number of rounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Amounts {
    pub(super) rounds: u32,
    /// Records of 1 KiB.
    pub(super) large: u64,
    /// Records of 100 bytes.
    pub(super) small: u64,
    /// Records sent one at a time, by one producer, and by each of fifty that share a connection.
    pub(super) single: u32,
    pub(super) single_shared: u32,
    /// Idle connections, and stalled readers.
    pub(super) idle: usize,
    pub(super) stalled: usize,
    /// Duration of loads with a fixed rate.
    pub(super) paced: Duration,
    pub(super) partitions: u32,
    /// Rounds that share a topic with this many partitions, because creating its files takes longer than the
    /// measurement.
    pub(super) topic_rounds: u32,
    /// Batches of 16 KiB from each of eight producers into each partition.
    pub(super) batches: u64,
    /// Partitions of the largest topic, records in it and in the topics that it is compared with, and rounds.
    pub(super) many: u32,
    pub(super) many_records: u64,
    pub(super) many_rounds: u32,
    /// Records sent one at a time to a reader of many partitions.
    pub(super) many_singles: u64,
    /// Duration of ten records a second.
    pub(super) trickle: Duration,
    /// Starts, and restarts.
    pub(super) starts: u32,
    /// Size of the log at a restart.
    pub(super) restart_gib: u64,
    /// Size of the segment for lookups.
    pub(super) lookup_mib: u64,
}

impl Amounts {
    /// Under a minute.
    pub(super) fn quick() -> Self {
        Self {
            rounds: 3,
            large: 150_000,
            small: 750_000,
            single: 500,
            single_shared: 300,
            idle: 2000,
            stalled: 200,
            paced: Duration::from_secs(1),
            partitions: 1000,
            topic_rounds: 3,
            batches: 1,
            many: 10_000,
            many_records: 240_000,
            many_rounds: 1,
            many_singles: 500,
            trickle: Duration::from_secs(5),
            starts: 5,
            restart_gib: 1,
            lookup_mib: 1024,
        }
    }

    /// Amounts for stable figures.
    pub(super) fn full() -> Self {
        Self {
            rounds: 5,
            large: 1_000_000,
            small: 5_000_000,
            single: 3_000,
            single_shared: 2_000,
            paced: Duration::from_secs(5),
            topic_rounds: 1,
            batches: 6,
            many_records: 480_000,
            many_rounds: 3,
            many_singles: 2_000,
            trickle: Duration::from_secs(10),
            starts: 11,
            restart_gib: 10,
            ..Self::quick()
        }
    }

    #[cfg(test)]
    pub(super) fn tiny() -> Self {
        Self {
            rounds: 1,
            large: 300,
            small: 300,
            single: 5,
            single_shared: 2,
            idle: 4,
            stalled: 2,
            paced: Duration::from_millis(20),
            partitions: 5,
            topic_rounds: 1,
            batches: 1,
            many: 7,
            many_records: 72,
            many_rounds: 1,
            many_singles: 3,
            trickle: Duration::from_millis(200),
            starts: 1,
            restart_gib: 0,
            lookup_mib: 0,
        }
    }
}
