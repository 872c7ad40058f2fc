//! The state of a consumer: its partitions, and for each the fetched and handed-out records.

mod checked_batches;
mod offset_and_epoch;
mod partition;
mod subscription;

pub(super) use checked_batches::{FetchDamage, check_batches, end_by_headers};
pub(super) use offset_and_epoch::OffsetAndEpoch;
pub(super) use partition::{FetchVersion, PartitionFetchState};
pub(super) use subscription::{SharedSubscription, TakeLimits};
