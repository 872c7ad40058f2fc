//! What a consumer knows: the partitions that it reads, and of each what it has fetched and handed out.

mod checked_batches;
mod gap;
mod partition;
mod subscription;

pub use gap::{Gap, GapCause, OnGap};

pub(super) use checked_batches::{FetchDamage, check_batches, end_by_headers};
pub(super) use gap::GapRule;
pub(super) use partition::{FetchVersion, PartitionFetchState};
pub(super) use subscription::{SharedSubscription, TakeLimits};
