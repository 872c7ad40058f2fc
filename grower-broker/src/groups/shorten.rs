//! Keeps the logs of groups short: commits repeat the same keys for ever, and each start reads all of them.
//!
//! A shard that says everything it knows once more needs nothing from before. Those records are appended while the shard
//! is held, so no step comes between them; only when they are durable is the log trimmed to where they begin. After a crash
//! in between they are there besides the old ones, which changes nothing.

use super::Groups;
use crate::group::GroupRecord;
use crate::partition::Partition;
use grower_protocol::batch::{BatchBuilder, UnplacedBatch};
use grower_protocol::compression::Codec;
use grower_protocol::ids::{Offset, PartitionId, Timestamp};
use grower_protocol::message::{ErrorCode, Failure};
use std::sync::Arc;
use std::time::Duration;

/// How often logs are looked at.
pub(super) const EACH: Duration = Duration::from_secs(10);
/// A log with fewer records is short enough.
pub(super) const RECORDS_MAX: u64 = 20_000;
/// A log that holds each fact this often is long.
const REPEATED: u64 = 4;
/// Where a batch of the repetition ends.
const BATCH_BYTES: usize = 1 << 20;

impl Groups {
    /// Shortens the logs that are longer than `records_max` and mostly say what later records say again.
    pub(super) async fn shorten_all(&self, records_max: u64) {
        for number in (0..).map(PartitionId::new).take(self.shards.len()) {
            let Some(log) = self.log_of(number) else { return };
            if let Err(failure) = self.shorten(number, &log, records_max).await {
                tracing::warn!(%failure, shard = %number, "the log of groups could not be shortened; it is tried again");
            }
        }
    }

    async fn shorten(&self, number: PartitionId, log: &Arc<Partition>, records_max: u64) -> Result<(), Failure> {
        let start = {
            let shard = self.shard(number).lock();
            let span = log.span();
            let records = span.log_end.since(span.log_start);
            if records <= records_max.max(REPEATED * shard.facts() as u64) {
                return Ok(());
            }
            self.repeat(log, &shard.snapshot())?
        };
        self.flushers.durable(log).await?;
        let trimming = log.clone();
        let trimmed = tokio::task::spawn_blocking(move || trimming.trim(start)).await;
        let failed = |error: &dyn std::fmt::Display| Failure::new(ErrorCode::StorageFailed, error);
        trimmed.map_err(|error| failed(&error))?.map_err(|error| failed(&error))
    }

    /// Appends everything once more; where that begins.
    fn repeat(&self, log: &Partition, facts: &[GroupRecord]) -> Result<Offset, Failure> {
        let now = self.clock.now();
        let start = log.span().log_end;
        for batch in batches(facts, now) {
            log.append(batch, now)?;
        }
        Ok(start)
    }
}

/// In their order, as few batches as is sensible.
fn batches(facts: &[GroupRecord], now: Timestamp) -> Vec<UnplacedBatch> {
    let mut batches = Vec::new();
    let mut batch = BatchBuilder::new(Codec::None);
    for fact in facts {
        batch.push(&fact.to_record(now));
        if BATCH_BYTES <= batch.size() {
            let full = std::mem::replace(&mut batch, BatchBuilder::new(Codec::None));
            batches.push(UnplacedBatch::built(full.build(None)));
        }
    }
    if !batch.is_empty() {
        batches.push(UnplacedBatch::built(batch.build(None)));
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::config::BrokerConfig;
    use crate::config::settings::{LiveSettings, Settings};
    use crate::health::Health;
    use crate::logs::DiskLogs;
    use crate::metadata::{Command, Limits, MemMetadataStore, MetadataStore, Uuid};
    use crate::metrics::Metrics;
    use crate::partition::Flushers;
    use crate::topic::{IndexKind, Topics};
    use grower_protocol::ids::{GroupId, NodeId, TopicId, TopicName};
    use grower_protocol::message::{CommittedOffset, NewTopic, OffsetCommit, OffsetToCommit};
    use grower_storage::disk::MemDisk;

    /// A broker's groups, and a topic `events` whose id is returned.
    async fn groups() -> (Groups, TopicId) {
        let (disk, clock) = (Arc::new(MemDisk::default()), Arc::new(SystemClock));
        let metadata = MemMetadataStore::default();
        let uuid = Uuid::from_random([1; 16]);
        let register = Command::RegisterBroker { node: NodeId::new(1), uuid, address: String::new() };
        metadata.propose(register).await.unwrap();
        let logs = Arc::new(DiskLogs::new(disk.clone(), "/data".into()));
        let topics = Arc::new(Topics::new(Arc::new(metadata), logs, clock.clone(), IndexKind::default()));
        let (name, id) = (TopicName::new("events").unwrap(), TopicId::from_random([2; 16]));
        let wish = NewTopic { name, partitions: Some(4), replication_factor: None, configs: Vec::new() };
        let now = Timestamp::default();
        topics.change(|image| Ok(image.create_topic(&wish, id, now, &Limits::default())?)).await.unwrap();
        let health = Health::new(Metrics::new());
        let settings = Arc::new(LiveSettings::new(Settings::of(BrokerConfig::at("/data")), None));
        let flushers = Arc::new(Flushers::start(disk, clock.clone(), health, settings));
        (Groups::load(topics, flushers, clock).unwrap(), id)
    }

    fn group() -> GroupId {
        GroupId::new("g").unwrap()
    }

    async fn commit(groups: &Groups, topic: TopicId, metadata: &str) {
        let offset = |partition| OffsetToCommit {
            topic,
            partition: PartitionId::new(partition),
            offset: Offset::ZERO,
            metadata: metadata.to_owned(),
        };
        let commit = OffsetCommit { group: group(), member: None, offsets: (0..4).map(offset).collect() };
        let ends = |topic, partition| groups.log_end(topic, partition);
        let parts = groups.step(&group(), |shard, _, _| shard.commit_offsets(&commit, &ends)).await.unwrap();
        assert!(parts.iter().all(Result::is_ok), "{parts:?}");
    }

    async fn fetch(groups: &Groups) -> Vec<CommittedOffset> {
        groups.look(&group(), |shard, _| shard.fetch_offsets(&group(), None)).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_long_log_is_shortened_and_says_the_same() {
        let (groups, topic) = groups().await;
        for number in 0..20 {
            commit(&groups, topic, &format!("commit {number}")).await;
        }
        let before = fetch(&groups).await;
        let log = groups.log_of(crate::group::shard_of(&group())).unwrap();
        groups.shorten_all(1_000).await;
        assert_eq!(log.span().log_start, Offset::ZERO, "short enough");
        groups.shorten_all(50).await;
        let span = log.span();
        assert_eq!(span.log_end.since(span.log_start), 6, "{span:?}"); // The floor, the group, four offsets.
        commit(&groups, topic, "the last").await;
        let again = Groups::load(groups.topics.clone(), groups.flushers.clone(), groups.clock.clone()).unwrap();
        let after = fetch(&again).await;
        assert_eq!(before.len(), after.len());
        assert!(after.iter().all(|committed| committed.metadata == "the last"));
    }

    #[test]
    fn a_large_repetition_is_cut_into_batches() {
        let facts: Vec<_> = (0..200_000).map(|epoch| GroupRecord::Floor { epoch }).collect();
        let batches = batches(&facts, Timestamp::default());
        assert!(2 < batches.len());
        let records: u32 = batches.iter().map(|batch| batch.header().record_count).sum();
        assert_eq!(records, 200_000);
    }
}
