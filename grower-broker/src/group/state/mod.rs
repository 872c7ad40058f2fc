//! Consumer groups: which member reads which partition, and how far each group has read. Decisions only: no clock, no
//! I/O.
//!
//! Members speak in heartbeats (KIP-848). A heartbeat says what the member knows and reads, its answer what the
//! member may read. A partition moves only after its owner's heartbeat no longer lists it, or the owner left or
//! expired, so two members never read one partition. Every fact behind an answer is first a record in the internal
//! topic [`TOPIC`]: a restart of the coordinator changes nothing for members.
//!
//! # Driving it
//!
//! A group lives in one of [`SHARDS`] shards, chosen by [`shard_of`]. A shard is a partition of the internal topic.
//! The shell keeps a short lock around each [`GroupShard`] and a queue for each group: requests change a group one at
//! a time, in the order of their arrival. For every request the shell
//!
//! 1. waits for its turn in the group's queue, locks the shard, and asks it for a [`GroupDecision`],
//! 2. [takes](GroupDecision::take_records) the records and appends them to the partition without the shard's lock: an
//!    append may take long, and other groups do not wait for it,
//! 3. tells the shard which records were [appended](GroupShard::appended), notes where they end, and leaves the queue,
//! 4. waits until the log is durable up to the newest record *of this group*, and answers. Requests that only read
//!    wait as well: what they saw may not be durable yet.
//!
//! At the start the shell feeds the partition's records to a [`ShardLoader`]. About every 100 ms it asks which groups
//! are [due](GroupShard::due) and [expires](GroupShard::expire) their silent members. After a change of topics it
//! calls [`GroupShard::topics_changed`] and [`GroupShard::topic_deleted`]. It reports the arrival of a heartbeat
//! ([`GroupShard::heartbeat_arrived`]) and its answer ([`GroupShard::heartbeat_answered`]): a session does not end
//! while the broker itself keeps the member waiting.
//!
//! The shell may hold back an answer that brings no [assignment change](is_assignment_change). Each time a decision
//! [changed](GroupDecision::take_changed_groups) the group, it [looks again](GroupShard::assignment_change).
//!
//! # Duties of a member
//!
//! - It sends heartbeats one after the other, and the next one at once after an interval of 0. That heartbeat
//!   confirms a claim to an instance name of another member.
//! - It stops reading what an answer no longer lists, within the rebalance timeout, and only then omits it from
//!   `owned`.
//! - It stops reading everything when it is unknown or fenced, and after a session timeout without an answer. Both
//!   timeouts count from the moment when it sent the heartbeat that was answered last.
//! - With an instance name, it pauses reading after the name's [lease](grower_protocol::message::instance_lease)
//!   without an answer, and leaves when another member has its name.

mod activity;
mod assignor;
mod catalog;
mod committers;
mod decision;
mod group;
mod heartbeat_context;
mod limits;
mod loader;
mod member;
mod membership;
mod offsets;
mod owners;
mod record;
mod refusal;
mod shard;
mod size;
mod topic_id_partition;
mod unanswered;

pub use activity::GroupActivity;
pub use assignor::Assignor;
pub use catalog::{Catalog, CatalogTopic};
pub use decision::GroupDecision;
pub use heartbeat_context::HeartbeatContext;
pub use limits::GroupLimits;
pub use loader::ShardLoader;
pub use membership::is_assignment_change;
pub use offsets::LogEnds;
pub use record::{GroupRecord, GroupRecordError, StoredGroup, StoredMember, StoredOffset};
pub use refusal::GroupRefusal;
pub use shard::GroupShard;
pub use topic_id_partition::TopicIdPartition;
pub use unanswered::UnansweredHeartbeat;

use grower_protocol::batch::crc32c;
use grower_protocol::ids::{GroupId, NameError, PartitionId, TopicName};
use grower_protocol::message::NewTopic;

/// The internal topic's name.
pub const TOPIC: &str = "__consumer_offsets";

/// The number of partitions of the internal topic. It never changes: another number would move groups to other
/// partitions.
pub const SHARDS: u32 = 16;

/// The partition of the internal topic that a group lives in.
pub fn shard_of(group: &GroupId) -> PartitionId {
    PartitionId::new(crc32c(group.as_str().as_bytes()) % SHARDS)
}

/// The internal topic, created on first use. Only the newest record of a key counts, so it is compacted. Small
/// segments keep what a start has to read short.
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
