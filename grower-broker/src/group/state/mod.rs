//! Consumer groups: who reads what, and how far they came. Decisions only: no clock, no I/O.
//!
//! Members speak in heartbeats (KIP-848): each says what it knows and holds, each answer what it may read. A
//! partition changes hands only after the old owner's heartbeat no longer lists it, or the owner left or died:
//! never do two members read one partition. Everything that an answer relies on is a record in the internal topic
//! [`TOPIC`] first, so groups survive a restart of the coordinator without anybody noticing.
//!
//! # How it is driven
//!
//! A group lives in one of [`SHARDS`] shards, [`shard_of`] says which; each is a partition of the internal
//! topic. The shell keeps a short lock around each [`GroupShard`], and a queue for each group, so that requests change a group
//! one after the other, in the order in which they came. For every request it:
//!
//! 1. waits for its turn in the group's queue, takes the shard's lock, and asks the shard for a [`GroupDecision`],
//! 2. [takes](GroupDecision::take_records) the records and appends them to the partition, without the shard's lock: that may take
//!    long, and other groups do not wait for it,
//! 3. tells the shard what was [appended](GroupShard::appended), and notes where the records end; then the next request of the
//!    group has its turn,
//! 4. waits until the log is durable up to where the newest record *of this group* ends, and answers. That goes for requests
//!    that only look, too: what they see may not be durable yet.
//!
//! At start it feeds the partition's records to a [`ShardLoader`]. It asks about every 100 ms which groups are
//! [due](GroupShard::due) and [expires](GroupShard::expire) members in them, and calls [`GroupShard::topics_changed`] and
//! [`GroupShard::topic_deleted`] after such a command was applied. From when a heartbeat arrives until it is answered the shell
//! says so ([`GroupShard::heartbeat_arrived`]): a session does not end while the broker itself keeps the member waiting.
//!
//! A heartbeat may wait for its answer: while it brings [no news](is_assignment_change) the shell holds it back, and each time that a
//! step [stirred](GroupDecision::take_changed_groups) the group it looks [for news](GroupShard::news) again.
//!
//! # What a member must do
//!
//! Send heartbeats one after the other, and the next one at once when told so (an interval of 0): it confirms a claim to an
//! instance name that somebody else has. Stop reading what an answer no longer lists, within the rebalance timeout,
//! and only then leave it out of `owned`. Stop reading everything when told that it is unknown or fenced, and when there was
//! no answer for a session timeout. Both times count from when the heartbeat was sent that was answered. With an instance name: pause
//! reading when there was no answer for the name's [lease](grower_protocol::message::instance_lease), and leave when told that
//! somebody else has the name.

mod activity;
mod assignor;
mod catalog;
mod commit;
mod committers;
mod decision;
#[expect(clippy::module_inception, reason = "a group is what this module is about")]
mod group;
mod heartbeat_context;
mod limits;
mod loader;
mod member;
mod membership;
mod offsets;
mod owners;
mod partition_key;
mod record;
mod refusal;
mod shard;
mod size;
mod unanswered;

pub use activity::GroupActivity;
pub use assignor::Assignor;
pub use catalog::{Catalog, CatalogTopic};
pub use commit::GroupCommit;
pub use decision::GroupDecision;
pub use heartbeat_context::HeartbeatContext;
pub use limits::GroupLimits;
pub use loader::ShardLoader;
pub use membership::is_assignment_change;
pub use offsets::LogEnds;
pub use partition_key::PartitionKey;
pub use record::{GroupRecord, GroupRecordError, StoredGroup, StoredMember, StoredOffset};
pub use refusal::GroupRefusal;
pub use shard::GroupShard;
pub use unanswered::UnansweredHeartbeat;

use grower_protocol::batch::crc32c;
use grower_protocol::ids::{GroupId, NameError, PartitionId, TopicName};
use grower_protocol::message::NewTopic;

/// The internal topic's name.
pub const TOPIC: &str = "__consumer_offsets";

/// Partitions of the internal topic, for ever: another number would lead groups elsewhere.
pub const SHARDS: u32 = 16;

/// In which partition of the internal topic a group lives.
pub fn shard_of(group: &GroupId) -> PartitionId {
    PartitionId::new(crc32c(group.as_str().as_bytes()) % SHARDS)
}

/// The internal topic, to be created on first use. Of each fact the newest counts, so it is compacted; small segments keep
/// what a start has to read short.
pub fn internal_topic() -> Result<NewTopic, NameError> {
    let configs = [("cleanup.policy", "compact"), ("segment.bytes", "4MiB"), ("max.message.bytes", "64MiB")];
    Ok(NewTopic {
        name: TopicName::new(TOPIC)?,
        partitions: Some(SHARDS),
        replication_factor: None,
        configs: configs.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec(),
    })
}

#[cfg(test)]
mod tests;
