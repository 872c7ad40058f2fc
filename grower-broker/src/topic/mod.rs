//! The topics that this broker serves.
//!
//! A change is first a durable command in the metadata, then an effect here. The image decides: a failed effect is
//! repeated until the disk and the served topics agree with the image (`reconcile`).

mod changes;
mod configure;
mod named_producers;
mod offline;
mod open;
mod producers;
mod reconcile;
mod retention;
mod served;
mod trim;

pub use crate::config::topic::IndexKind;
pub(crate) use changes::Decide;

use crate::clock::BrokerClock;
use crate::critical::CriticalSection;
use crate::disk_failure::code_of_delay;
use crate::health::Health;
use crate::logs::{DeletedLogs, Logs, PartitionIdentity};
use crate::memory::{Memory, StateKind, StateReservation};
use crate::metadata::{Applied, Command, Image, MetadataStore, ProposeError, Topic};
use crate::partition::Partition;
use arc_swap::ArcSwap;
use changes::ChangeQueue;
use grower_protocol::ids::{PartitionId, Timestamp, TopicId, TopicName};
use grower_protocol::message::{ErrorCode, Failure, Part};
use grower_storage::log::OpenError;
use grower_storage::repair::{AcceptLossError, AcceptedLoss};
use named_producers::RegisteredProducers;
use served::{ServedPartition, ServedTopic};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use tokio::sync::Notify;

/// All partitions, found by topic id without a lock.
pub(crate) struct Topics {
    metadata: Arc<dyn MetadataStore>,
    logs: Arc<dyn Logs>,
    clock: Arc<BrokerClock>,
    index: IndexKind,
    memory: Memory,
    health: Health,
    /// The named producers, for the partitions.
    registered_producers: Arc<RegisteredProducers>,
    named_producers_memory: parking_lot::Mutex<StateReservation>,
    served: ArcSwap<HashMap<TopicId, Arc<ServedTopic>>>,
    /// The time of the last attempt to open offline partitions.
    offline_retried: parking_lot::Mutex<Option<Timestamp>>,
    /// Changes of topics. The lock is held from a command to the end of its effect, so that effects happen in the order
    /// of their commands.
    changes: ChangeQueue,
    /// Claims and deletions of producers' names.
    producer_changes: ChangeQueue,
    /// Wakes the retention check: a segment rolled, or a limit changed.
    retention: Notify,
    /// Wakes compaction at the same times.
    compaction: Notify,
    /// Notifies of topics that were created, deleted or grown.
    changed: Notify,
}

impl Topics {
    pub(crate) fn new(
        metadata: Arc<dyn MetadataStore>,
        logs: Arc<dyn Logs>,
        clock: Arc<BrokerClock>,
        index: IndexKind,
        memory: Memory,
        health: Health,
    ) -> Self {
        let mut named_producers_memory = memory.state_reservation(StateKind::Producers);
        named_producers_memory.set(metadata.image().named_producer_bytes());
        Self {
            registered_producers: Arc::new(RegisteredProducers(metadata.clone())),
            named_producers_memory: parking_lot::Mutex::new(named_producers_memory),
            metadata,
            logs,
            clock,
            index,
            memory,
            health,
            served: ArcSwap::default(),
            offline_retried: parking_lot::Mutex::default(),
            changes: ChangeQueue::default(),
            producer_changes: ChangeQueue::default(),
            retention: Notify::new(),
            compaction: Notify::new(),
            changed: Notify::new(),
        }
    }

    /// The newest metadata image.
    pub(crate) fn image(&self) -> Arc<Image> {
        self.metadata.image()
    }

    /// An online partition, by its topic id and number.
    pub(crate) fn partition(&self, topic: TopicId, partition: PartitionId) -> Part<Arc<Partition>> {
        let served = self.served.load();
        let Some(topic) = served.get(&topic) else {
            return Err(Failure::new(
                ErrorCode::UnknownTopicId,
                format_args!("there is no topic with id {topic}; it may have been deleted"),
            ));
        };
        topic.partition(partition)
    }

    /// Every online partition, sorted by topic name.
    pub(crate) fn all(&self) -> Vec<Arc<Partition>> {
        let served = self.served.load();
        let mut topics: Vec<_> = served.values().collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        topics.into_iter().flat_map(|topic| topic.online()).collect()
    }

    /// The number of offline partitions.
    pub(crate) fn offline_count(&self) -> usize {
        let served = self.served.load();
        served.values().map(|topic| topic.partitions.len() - topic.online().count()).sum()
    }

    /// The online partitions of one topic.
    pub(crate) fn of(&self, topic: TopicId) -> Vec<Arc<Partition>> {
        self.served.load().get(&topic).map(|served| served.online().collect()).unwrap_or_default()
    }

    /// Runs `work` while topics are neither created, deleted nor changed. Blocks.
    pub(crate) fn while_unchanged<T>(&self, work: impl FnOnce(&Image, &dyn MetadataStore) -> T) -> T {
        let _in_order = self.changes.order.blocking_lock();
        let _whole = CriticalSection::enter(&self.health, "a consistent view of the topics");
        work(&self.image(), &*self.metadata)
    }

    /// Proposes a command that changes no served topic.
    pub(crate) async fn propose(&self, command: Command) -> Result<Applied, ProposeError> {
        let _whole = CriticalSection::enter(&self.health, "a change of the metadata");
        self.metadata.propose(command).await
    }

    /// Resolves when topics are created, deleted or grown after this call.
    pub(crate) fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    /// Returns when there may be something to compact.
    pub(crate) async fn compaction_wanted(&self) {
        self.compaction.notified().await;
    }

    /// Serves topics that were created or grown, after the files of deleted topics with their names were moved away.
    /// Returns the result for each.
    fn serve_now(&self, topics: &[Arc<Topic>]) -> Vec<Result<(), Failure>> {
        let image = self.image();
        let remaining: BTreeSet<&TopicName> = image.deleted().map(|(_, deleted)| &deleted.name).collect();
        let mut served = Vec::with_capacity(topics.len());
        let opened = topics.iter().map(|topic| {
            if remaining.contains(&topic.name)
                && let (_, Some(error)) = self.move_deleted_topics(Some(&topic.name))
            {
                return Err(not_opened(topic, &error.into()));
            }
            let partitions = self.open(topic).map_err(|error| not_opened(topic, &error))?;
            served.push((topic.id, Arc::new(ServedTopic { name: topic.name.clone(), partitions })));
            Ok(())
        });
        let opened = opened.collect();
        self.put_all(served);
        opened
    }

    /// Opens the partitions of a topic that are not served yet, and returns all of them. A partition without records
    /// needs no disk.
    fn open(&self, topic: &Topic) -> Result<Vec<ServedPartition>, OpenError> {
        let served = self.served.load().get(&topic.id).cloned();
        let mut partitions = served.map(|served| served.partitions.clone()).unwrap_or_default();
        for (number, partition) in topic.numbered().skip(partitions.len()) {
            let log = self.open_log(topic, number)?;
            partitions.push(self.lead(topic, number, partition.leader_epoch, log));
        }
        Ok(partitions)
    }

    fn put(&self, topic: &Topic, partitions: Vec<ServedPartition>) {
        self.put_all(vec![(topic.id, Arc::new(ServedTopic { name: topic.name.clone(), partitions }))]);
    }

    fn put_all(&self, served: Vec<(TopicId, Arc<ServedTopic>)>) {
        if served.is_empty() {
            return;
        }
        self.served.rcu(|map| {
            let mut map = HashMap::clone(map);
            map.extend(served.iter().cloned());
            map
        });
    }

    /// Stops serving a topic after its deletion is durable: the topic is gone, whatever happens to its files.
    fn stop_serving(&self, topic: &Topic) -> Result<(), Failure> {
        self.close(topic.id);
        let moved = self.logs.move_deleted(&DeletedLogs {
            topic: topic.id,
            name: &topic.name,
            partitions: topic.partition_count(),
            name_is_free: self.image().topic(&topic.name).is_none(),
        });
        moved.map_err(|error| {
            let detail = format_args!(
                "{} is deleted, but its files are not removed yet: {error}; the broker tries again",
                topic.name
            );
            Failure::new(code_of_delay(&error), detail)
        })
    }

    fn close(&self, topic: TopicId) {
        let served = self.served.load().get(&topic).cloned();
        self.served.rcu(|map| {
            let mut map = HashMap::clone(map);
            map.remove(&topic);
            map
        });
        for partition in served.iter().flat_map(|served| served.led()) {
            partition.delete();
        }
    }

    /// The accepted losses of a partition. Reads the disk.
    pub(crate) fn losses(&self, topic: &Topic, partition: PartitionId) -> Result<Vec<AcceptedLoss>, AcceptLossError> {
        self.logs.losses(&Self::identity(topic, partition))
    }

    fn identity(topic: &Topic, partition: PartitionId) -> PartitionIdentity {
        PartitionIdentity { topic: topic.id, name: topic.name.clone(), partition }
    }
}

fn not_opened(topic: &Topic, error: &OpenError) -> Failure {
    let code = match error {
        OpenError::Disk(error) => code_of_delay(error),
        _ => ErrorCode::StorageFailed,
    };
    let name = &topic.name;
    let detail = format_args!("{name} exists, but cannot be opened yet: {error}; the broker tries again");
    Failure::new(code, detail)
}
