//! What a consumer does in the background: fetch, keep up its membership, commit, look for partitions and their starts.

pub(super) mod commit;
mod fetch_recovery;
mod fetch_response;
pub(super) mod fetcher;
pub(super) mod membership;
pub(super) mod new_partitions;
pub(super) mod start;
