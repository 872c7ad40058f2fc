//! The topics that this broker serves: metadata made real.
//!
//! A change is first a command that is durable in the metadata, then an effect here. The image is the truth: an effect
//! that failed is repeated until disk and served topics agree with it (`reconcile`).

mod changes;
mod configure;
mod offline;
mod open;
mod policy;
mod producers;
mod reconcile;
mod retention;
mod served;
mod trim;

pub(crate) use changes::Decide;
pub use policy::IndexKind;

use crate::clock::BrokerClock;
use crate::critical::CriticalSection;
use crate::disk_failure::code_of_delay;
use crate::health::Health;
use crate::logs::{DeletedLogs, Logs, PartitionIdentity};
use crate::memory::Memory;
use crate::metadata::{Applied, Command, Image, MetadataStore, ProposeError, Topic};
use crate::partition::Partition;
use arc_swap::ArcSwap;
use changes::ChangeQueue;
use grower_protocol::ids::{PartitionId, Timestamp, TopicId, TopicName};
use grower_protocol::message::{ErrorCode, Failure, Part};
use grower_storage::log::OpenError;
use grower_storage::repair::{AcceptedLoss, RepairError};
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
    served: ArcSwap<HashMap<TopicId, Arc<ServedTopic>>>,
    /// When partitions that are shut were last tried.
    offline_retried: parking_lot::Mutex<Option<Timestamp>>,
    /// Those that wait to be made.
    changes: ChangeQueue,
    /// Held from a command to the end of its effect: effects happen in the order of their commands.
    changing: Arc<tokio::sync::Mutex<()>>,
    /// A segment rolled, or a limit changed: old ones may have to go.
    retention: Notify,
    /// The same moments, for compaction.
    compaction: Notify,
    /// Topics came, went or grew.
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
        Self {
            metadata,
            logs,
            clock,
            index,
            memory,
            health,
            served: ArcSwap::default(),
            offline_retried: parking_lot::Mutex::default(),
            changes: ChangeQueue::default(),
            changing: Arc::default(),
            retention: Notify::new(),
            compaction: Notify::new(),
            changed: Notify::new(),
        }
    }

    /// The metadata as of now.
    pub(crate) fn image(&self) -> Arc<Image> {
        self.metadata.image()
    }

    /// A partition, by what requests call it.
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

    /// Every partition that is open.
    pub(crate) fn all(&self) -> Vec<Arc<Partition>> {
        let served = self.served.load();
        let mut topics: Vec<_> = served.values().collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        topics.into_iter().flat_map(|topic| topic.online()).collect()
    }

    /// How many partitions could not be opened.
    pub(crate) fn offline_count(&self) -> usize {
        let served = self.served.load();
        served.values().map(|topic| topic.partitions.len() - topic.online().count()).sum()
    }

    /// The partitions of one topic that are open.
    pub(crate) fn of(&self, topic: TopicId) -> Vec<Arc<Partition>> {
        self.served.load().get(&topic).map(|served| served.online().collect()).unwrap_or_default()
    }

    /// Lets topics neither come, go nor change until `work` has returned. Blocks.
    pub(crate) fn stand_still<T>(&self, work: impl FnOnce(&Image, &dyn MetadataStore) -> T) -> T {
        let _in_order = self.changing.blocking_lock();
        let _whole = CriticalSection::enter(&self.health, "a look at the topics and their metadata");
        work(&self.image(), &*self.metadata)
    }

    /// Makes a command durable that changes no topic.
    pub(crate) async fn propose(&self, command: Command) -> Result<Applied, ProposeError> {
        let _whole = CriticalSection::enter(&self.health, "a change of the metadata");
        self.metadata.propose(command).await
    }

    /// Returns when topics came, went or grew after this was called.
    pub(crate) fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    /// Returns when there may be something to compact.
    pub(crate) async fn compaction_wanted(&self) {
        self.compaction.notified().await;
    }

    /// Serves topics that were just created or grown, once the files of deleted topics of their names are out of the way;
    /// what came of each.
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

    /// Opens the partitions of a topic that are not open yet; all it has then. Those never written to need no disk.
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

    /// The command is durable: from here on the topic is gone, whatever happens to its files.
    fn stop_serving(&self, topic: &Topic) -> Result<(), Failure> {
        self.close(topic.id);
        let aside = self.logs.move_deleted(&DeletedLogs {
            topic: topic.id,
            name: &topic.name,
            partitions: topic.partition_count(),
            name_is_free: self.image().topic(&topic.name).is_none(),
        });
        aside.map_err(|error| {
            let told =
                format_args!("{} is deleted, but its files are not removed yet: {error}; the broker tries again", topic.name);
            Failure::new(code_of_delay(&error), told)
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

    /// What somebody gave up of a partition. Reads the disk.
    pub(crate) fn losses(&self, topic: &Topic, partition: PartitionId) -> Result<Vec<AcceptedLoss>, RepairError> {
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
    let told = format_args!("{name} exists, but cannot be opened yet: {error}; the broker tries again");
    Failure::new(code, told)
}
