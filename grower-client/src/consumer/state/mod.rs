//! The state of a consumer: its partitions, and for each the fetched and handed-out records.

mod checked_batches;
mod fetch_session;
mod offset_and_epoch;
mod partition;
mod subscription;

pub(super) use checked_batches::{CheckedBatches, FetchDamage, check_batches};
pub(super) use fetch_session::{ClientFetchSession, ReceivedAnswer, RequestLimits, SessionMismatch};
pub(super) use offset_and_epoch::OffsetAndEpoch;
pub(super) use partition::{EventNumber, FetchVersion, PartitionFetchState, RevocationNotice};
pub use subscription::AssignedPartition;
pub(super) use subscription::{
    FetchPlacement, PartitionIndex, SessionKey, SharedSubscription, SubscriptionEvent, SubscriptionState, TakeLimits,
};
