use super::*;
use crate::clock::{BrokerClock, Calendar};
use crate::config::BrokerConfig;
use crate::config::MetadataLimits;
use crate::config::settings::{BrokerSettings, LiveSettings};
use crate::group::decide::AppendedRecords;
use crate::group::state::{GroupRecord, SHARDS, StoredOffset, TOPIC, TopicIdPartition, shard_of};
use crate::health::Health;
use crate::logs::DiskLogs;
use crate::memory::{Memory, StateKind};
use crate::metadata::{Command, MemMetadataStore, MetadataStore, Uuid};
use crate::metrics::Metrics;
use crate::partition::{Partition, SyncPoolOwner};
use crate::stall_watchdog::StallWatchdog;
use crate::topic::{IndexKind, Topics};
use grower_protocol::batch::{BatchBuilder, BatchReader, UnplacedBatch};
use grower_protocol::compression::Codec;
use grower_protocol::ids::{GroupId, NodeId, Offset, Timestamp, TopicId, TopicName};
use grower_protocol::message::{CommittedOffset, CommitterIdentity, NewTopic, OffsetCommit, OffsetToCommit, Part};
use grower_storage::disk::MemDisk;
use std::sync::Arc;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// A broker's groups, a topic `events`, and the time of day.
struct World {
    groups: Arc<Groups>,
    calendar: Arc<Calendar>,
    clock: Arc<BrokerClock>,
    memory: Memory,
    metrics: Metrics,
    topic: TopicId,
}

impl World {
    async fn new() -> Self {
        Self::with(Memory::new(1 << 30)).await
    }

    async fn with(memory: Memory) -> Self {
        let (disk, calendar) = (Arc::new(MemDisk::default()), Arc::new(Calendar::default()));
        let (metadata, clock) = (MemMetadataStore::default(), BrokerClock::new(calendar.clone()));
        let uuid = Uuid::from_random([1; 16]);
        let register = Command::RegisterBroker { node: NodeId::new(1), uuid, address: String::new() };
        metadata.propose(register).await.unwrap();
        let logs = Arc::new(DiskLogs::new(disk.clone(), "/data".into()).unwrap());
        let metrics = Metrics::for_test();
        let health = Health::new(metrics.clone());
        let index = IndexKind::default();
        let topics = Topics::new(Arc::new(metadata), logs, clock.clone(), index, memory.clone(), health.clone());
        let topics = Arc::new(topics);
        let (name, topic) = (TopicName::new("events").unwrap(), TopicId::from_random([2; 16]));
        let request = NewTopic { name, partitions: Some(4), replication_factor: None, configs: Vec::new() };
        let now = Timestamp::default();
        topics
            .change(move |image| Ok(image.create_topic(&request, topic, now, &MetadataLimits::default())?))
            .await
            .unwrap();
        let settings = Arc::new(LiveSettings::new(BrokerSettings::of(BrokerConfig::at("/data")), None));
        let stall_watchdog = Arc::new(StallWatchdog::start(&health).unwrap());
        let synced = metrics.clone();
        let on_sync = move |took| synced.synced(took);
        let sync_pool = Arc::new(SyncPoolOwner::start(disk, clock.clone(), health, on_sync, settings, stall_watchdog));
        let groups = Arc::new(Groups::load(topics, sync_pool, clock.clone(), &memory).unwrap());
        Self { groups, calendar, clock, memory, metrics, topic }
    }

    fn reload(&mut self) {
        let (topics, sync_pool) = (self.groups.topics.clone(), self.groups.sync_pool.clone());
        self.groups = Arc::new(Groups::load(topics, sync_pool, self.clock.clone(), &self.memory).unwrap());
    }

    fn wait(&self, millis: i64) {
        self.calendar.pass(millis);
    }

    async fn commit(&self, group: &str, metadata: &str) {
        let parts = self.try_commit(group, metadata).await.unwrap();
        assert!(parts.iter().all(Result::is_ok), "{parts:?}");
    }

    async fn try_commit(&self, group: &str, metadata: &str) -> Result<Vec<Part<()>>, Failure> {
        let offset = |partition| OffsetToCommit {
            topic: self.topic,
            partition: PartitionId::new(partition),
            offset: Offset::ZERO,
            leader_epoch: None,
            metadata: metadata.to_owned(),
        };
        let group = GroupId::new(group).unwrap();
        let commit = OffsetCommit {
            group: group.clone(),
            committer: CommitterIdentity::Anonymous,
            sequence: 0,
            offsets: (0..4).map(offset).collect(),
        };
        let ends = |topic, partition| self.groups.log_end(topic, partition);
        self.groups.decide(self.groups.enter(&group), &group, |shard, _, _| shard.commit_offsets(&commit, &ends)).await
    }

    async fn committed(&self, group: &str) -> Vec<CommittedOffset> {
        let group = GroupId::new(group).unwrap();
        self.groups.read(&group, |shard, _| shard.fetch_offsets(&group, None)).await.unwrap()
    }

    async fn delete_inactive(&self, retention: Duration) {
        for number in (0..SHARDS).map(PartitionId::new) {
            self.groups.delete_inactive(number, retention).await;
        }
    }

    fn log(&self, group: &str) -> Arc<Partition> {
        self.groups.log_of(shard_of(&GroupId::new(group).unwrap())).unwrap()
    }

    /// Makes the internal topic as another version or another hand may have made it.
    async fn configure(&self, key: &str, value: Option<&str>) {
        let name = TopicName::new(TOPIC).unwrap();
        let configs = vec![(key.to_owned(), value.map(str::to_owned))];
        let changed = self.groups.topics.change(move |image| Ok(image.alter_any_topic(&name, &configs)?)).await;
        changed.unwrap();
    }
}

fn records(log: &Partition) -> u32 {
    let span = log.reader().span();
    let slices = log.reader().read(span.start, 1 << 20, span.end).unwrap();
    let batches = slices.iter().flat_map(|slice| BatchReader::new(slice.read().unwrap()));
    batches.map(|batch| batch.unwrap().header().record_count).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compacted_log_restores_the_same_offsets() {
    let mut world = World::new().await;
    world.commit("g", "first").await;
    world.configure("segment.messages", Some("20")).await;
    for number in 0..40 {
        world.commit("g", &format!("commit {number}")).await;
    }
    let (before, log) = (world.committed("g").await, world.log("g"));
    let all = records(&log);
    let pass = log.compaction(Timestamp::default(), 1 << 20, &|| true).expect("a pass is due");
    let shrunk = log.compact(pass, &|_| true).unwrap();
    assert!(shrunk.after < shrunk.before / 4, "{shrunk:?}");
    assert!(records(&log) < all / 4, "{} of {all} records", records(&log));
    world.reload();
    assert_eq!(world.committed("g").await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_groups_cost_no_syncs() {
    let world = World::new().await;
    world.commit("g", "x").await;
    let (log, before) = (world.log("g"), world.metrics.latest_syncs().count);
    assert!(world.groups.live(shard_of(&GroupId::new("g").unwrap())).shard.lock().due(world.groups.now()).is_empty());
    world.delete_inactive(Duration::MAX).await;
    assert!(!log.is_to_be_synced());
    world.groups.sync_pool.sync_later(&log); // Asked for nothing, it is none.
    world.wait(60_000);
    while log.is_to_be_synced() {
        tokio::task::yield_now().await;
    }
    world.commit("g", "y").await; // After whatever was to be synced before.
    assert_eq!(world.metrics.latest_syncs().count, before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inactive_group_is_deleted_after_the_retention_time() {
    let mut world = World::new().await;
    let week = Duration::from_secs(7 * 86_400);
    world.commit("old", "x").await;
    world.wait(DAY_MS);
    world.commit("new", "x").await;
    world.wait(6 * DAY_MS);
    world.delete_inactive(week).await;
    assert_eq!((world.committed("old").await.len(), world.committed("new").await.len()), (4, 4), "not yet");
    world.reload();
    world.wait(GRACE_MS as i64 - 1);
    world.delete_inactive(week).await;
    assert_eq!(world.committed("old").await.len(), 4, "after a start its members have time to come back");
    world.wait(1);
    world.delete_inactive(week).await;
    assert_eq!((world.committed("old").await.len(), world.committed("new").await.len()), (0, 4));
    world.reload();
    assert_eq!((world.committed("old").await.len(), world.committed("new").await.len()), (0, 4), "it stays forgotten");
    world.commit("old", "again").await;
    world.delete_inactive(week).await;
    assert_eq!(world.committed("old").await.len(), 4, "used again, it has its time again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shorter_retention_deletes_groups_at_once() {
    let world = World::new().await;
    world.commit("oldest", "x").await;
    world.wait(11 * DAY_MS);
    world.commit("old", "x").await;
    world.wait(2 * DAY_MS);
    let retention = |text: &str| [("groups.offsets_retention".to_owned(), text.to_owned())].into();
    let settings = Arc::new(LiveSettings::new(BrokerSettings::of(BrokerConfig::at("/data")), None));
    settings.take(|| retention("10d"));
    let stop = CancellationToken::new();
    let running = tokio::spawn(world.groups.clone().run(settings.clone(), stop.clone()));
    let forgets = async |group| {
        while !world.committed(group).await.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    // The look at the start; the next is a minute later.
    tokio::time::timeout(INACTIVE_INTERVAL / 3, forgets("oldest")).await.expect("it is looked at the start");
    assert_eq!(world.committed("old").await.len(), 4);
    settings.take(|| retention("1d"));
    tokio::time::timeout(INACTIVE_INTERVAL / 3, forgets("old")).await.expect("the change is noticed");
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wall_clock_jump_deletes_no_active_group() {
    let world = World::new().await;
    world.commit("g", "x").await;
    world.calendar.jump(30 * DAY_MS);
    for _ in 0..3 {
        world.clock.observe();
        world.wait(GRACE_MS as i64);
        world.delete_inactive(Duration::from_secs(7 * 86_400)).await;
        assert_eq!(world.committed("g").await.len(), 4, "also once the new date is believed");
    }
    world.wait(7 * DAY_MS);
    world.delete_inactive(Duration::from_secs(7 * 86_400)).await;
    assert_eq!(world.committed("g").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_internal_topic_of_an_earlier_version_becomes_compacted() {
    let world = World::new().await;
    world.commit("g", "x").await;
    world.configure("cleanup.policy", None).await;
    let log = world.log("g");
    let low = [GroupRecord::MinimumEpoch { epoch: 9 }, GroupRecord::MinimumEpoch { epoch: 2 }];
    for record in low {
        let mut batch = BatchBuilder::new(Codec::None);
        batch.push(&record.to_record(Timestamp::default()));
        log.append(UnplacedBatch::built(batch.build(None)), Timestamp::default()).unwrap();
    }
    let mut world = world;
    world.reload();
    assert!(!log.config().cleanup_policy.compacts());
    let before = log.span().log_end;
    world.groups.update_internal_topic().await.unwrap();
    assert!(log.config().cleanup_policy.compacts());
    assert_eq!(log.span().log_end.since(before), 1, "the largest minimum epoch is the last");
    let end = log.span().log_end;
    world.groups.update_internal_topic().await.unwrap();
    assert_eq!(log.span().log_end, end, "once is enough");
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_refused_while_their_memory_is_used_up() {
    let mut world = World::with(Memory::new(16 << 20)).await;
    let most = world.memory.state_bytes_max(StateKind::Groups);
    let text = "x".repeat(4_096);
    let mut groups = 0;
    let refused = loop {
        match world.try_commit(&format!("g{groups}"), &text).await {
            Ok(_) => groups += 1,
            Err(failure) => break failure,
        }
    };
    assert_eq!(refused.code, ErrorCode::MemoryFull);
    let used = world.memory.state_bytes(StateKind::Groups);
    assert!(most / 10 * 9 < used && used <= most, "{groups} groups take {used}");
    assert!(used <= world.memory.used());
    world.reload();
    assert_eq!(world.memory.state_bytes(StateKind::Groups), used, "as much as before the restart");
    world.commit("g0", "shorter").await;
    world.commit("another", &text).await;
    world.wait(8 * DAY_MS);
    world.delete_inactive(Duration::from_secs(7 * 86_400)).await;
    assert_eq!(world.memory.state_bytes(StateKind::Groups), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_of_any_size_is_written_in_batches_that_a_start_can_load() {
    let mut world = World::new().await;
    world.commit("g", "x").await;
    let (group, log) = (GroupId::new("g").unwrap(), world.log("g"));
    let before = log.reader().span().end;
    let metadata = "x".repeat(4_096);
    let offset = |partition| GroupRecord::Offset {
        group: group.clone(),
        partition: TopicIdPartition { topic: world.topic, partition: PartitionId::new(partition) },
        state: Some(StoredOffset { offset: Offset::ZERO, leader_epoch: None, metadata: metadata.clone() }),
    };
    let written =
        AppendedRecords::append(&log, (0..5_000).map(offset).collect(), Timestamp::default(), Timestamp::default());
    assert_eq!((written.records.len(), written.failure), (5_000, None));
    let slices = log.reader().read(before, 64 << 20, log.reader().span().end).unwrap();
    let batches = slices.iter().flat_map(|slice| BatchReader::new(slice.read().unwrap()));
    let lengths: Vec<usize> = batches.map(|batch| batch.unwrap().bytes().len()).collect();
    assert!(4 < lengths.len() && lengths.iter().all(|length| *length < 5 << 20), "{lengths:?}");
    world.reload();
    assert_eq!(world.committed("g").await.len(), 5_000);
}

#[tokio::test]
async fn a_panic_in_a_decision_about_a_group_ends_the_broker() {
    let world = World::new().await;
    world.commit("g", "").await;
    let groups = Arc::new(world.groups);
    let stepping = groups.clone();
    let step = async move {
        let group = GroupId::new("g").unwrap();
        stepping
            .decide(stepping.enter(&group), &group, |_, _, _| -> GroupDecision<()> {
                panic!("a bug, as the test wants it")
            })
            .await
    };
    assert!(tokio::spawn(step).await.unwrap_err().is_panic());
    let reason = groups.sync_pool.health().failure().unwrap();
    assert!(reason.contains("panicked"), "{reason}");
}
