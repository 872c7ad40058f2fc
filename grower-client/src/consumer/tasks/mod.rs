//! The background tasks of a consumer: fetches, the group membership, commits, new partitions and start lookups.

pub(super) mod commit;
pub(super) mod essential;
mod fetch_recovery;
pub(super) mod fetcher;
pub(super) mod membership;
pub(super) mod new_partitions;
pub(super) mod start;
