//! What a consumer knows: the partitions that it reads, and of each what it has fetched and handed out.

mod checked_batches;
mod gap;
mod partition;
mod subscription;

pub use gap::{Gap, GapCause, OnGap};

pub(super) use checked_batches::{Damage, foresee, take_in};
pub(super) use gap::GapRule;
pub(super) use partition::{Slot, Version};
pub(super) use subscription::{Shared, TakeLimits};
