//! The start: moves files of deleted topics away, and opens and recovers every partition in the metadata.

use super::served::concerns_one_partition;
use super::{ServedPartition, ServedTopic, Topics};
use crate::background;
use crate::memory::StateKind;
use crate::metadata::{ProposeError, Topic, raise_minimum_ids};
use crate::partition::Partition;
use grower_protocol::ids::{LeaderEpoch, PartitionId, TopicId};
use grower_storage::log::{Log, OpenError};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Threads for recovery, which reads the tails of logs: a few keep the disk busy.
const THREADS: usize = 8;

/// A partition's log, or the reason why its files cannot be opened.
pub(super) type OpenedLog = Result<Box<dyn Log>, Arc<str>>;

/// The logs of all partitions, by topic and number.
type OpenedLogs = BTreeMap<(TopicId, PartitionId), OpenedLog>;

impl Topics {
    /// Opens all partitions, and serves none before all are open.
    pub(crate) async fn open_all(self: &Arc<Self>) -> Result<(), OpenTopicsError> {
        let logs = self.blocking(Self::open_logs).await?;
        if let Some(latest) = self.latest_unknown_epoch(&logs) {
            self.raise_minimum_ids(latest).await?;
        }
        self.blocking(move |topics| {
            topics.lead_all(logs);
            Ok(())
        })
        .await
    }

    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, OpenTopicsError> + Send + 'static,
    ) -> Result<T, OpenTopicsError> {
        let topics = self.clone();
        background::blocking(move || work(&topics)).await.map_err(|error| OpenTopicsError::Panic(error.to_string()))?
    }

    fn open_logs(&self) -> Result<OpenedLogs, OpenTopicsError> {
        let image = self.image();
        let remaining = self.names_of_remaining_files();
        let known = image.topics().map(|topic| topic.name.clone()).chain(remaining.iter().cloned()).collect();
        for dir in self.logs.quarantine(&known)? {
            tracing::warn!(dir = %dir.display(), "moved a directory of no known topic to quarantine; nothing was deleted");
        }
        // A topic is opened after the files of a deleted one with its name are gone (`reconcile`).
        let topics: Vec<Arc<Topic>> =
            image.topics().filter(|topic| !remaining.contains(&topic.name)).cloned().collect();
        let logs = self.open_parallel(&topics)?;
        match self.logs.opened(&image.topics().map(|topic| topic.id).collect()) {
            Err(error) if error.is_full() => {
                tracing::warn!(%error, "the list of begun partitions could not be written yet");
            }
            done => done?,
        }
        Ok(logs)
    }

    fn open_parallel(&self, topics: &[Arc<Topic>]) -> Result<OpenedLogs, OpenError> {
        let work: VecDeque<_> =
            topics.iter().flat_map(|topic| topic.numbered().map(move |(number, _)| (topic, number))).collect();
        let threads = THREADS.min(work.len());
        let (work, opened) = (Mutex::new(work), Mutex::new(BTreeMap::new()));
        let open_some = || -> Result<(), OpenError> {
            loop {
                let Some((topic, number)) = work.lock().pop_front() else { return Ok(()) };
                let log = self.open_log(topic, number)?;
                opened.lock().insert((topic.id, number), log);
            }
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(open_some)).collect();
            workers.into_iter().try_for_each(|worker| match worker.join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })?;
        Ok(opened.into_inner())
    }

    /// Opens one partition's log. A partition with unusable files goes offline; an error that concerns all partitions
    /// fails the start. That holds for internal topics too: groups of an offline partition are unavailable, and the
    /// others are served.
    pub(super) fn open_log(&self, topic: &Topic, number: PartitionId) -> Result<OpenedLog, OpenError> {
        let options = topic.config.log_options(&self.index);
        match self.logs.open(&Self::identity(topic, number), options, self.clock.steady()) {
            Ok(log) => Ok(Ok(log)),
            Err(error) if concerns_one_partition(&error) => {
                tracing::error!(topic = %topic.name, partition = %number, %error, "a partition cannot be opened and is offline");
                Ok(Err(error.to_string().into()))
            }
            Err(error) => Err(error),
        }
    }

    /// The latest epoch of a log that is ahead of the metadata: it has begun the epoch of this start, or a later one.
    fn latest_unknown_epoch(&self, logs: &OpenedLogs) -> Option<LeaderEpoch> {
        let image = self.image();
        let partitions = image.topics().flat_map(|topic| topic.numbered().map(|(number, p)| (topic.id, number, p)));
        let ahead = partitions.filter_map(|(topic, number, partition)| {
            let log = logs.get(&(topic, number))?.as_ref().ok()?;
            latest_epoch(&**log).filter(|latest| partition.leader_epoch <= *latest)
        });
        ahead.max()
    }

    /// Raises all numbers durably before any partition is led: metadata behind the logs is an older copy, and clients
    /// may hold numbers that it does not know.
    async fn raise_minimum_ids(&self, latest: LeaderEpoch) -> Result<(), ProposeError> {
        tracing::warn!(leader_epoch = %latest, "the metadata is older than the logs: new producer ids and leader epochs start above all that may be in use");
        self.propose(raise_minimum_ids(&self.image(), Some(latest), self.clock.wall())).await.map(drop)
    }

    fn lead_all(&self, mut logs: OpenedLogs) {
        let image = self.image();
        let opened: BTreeSet<TopicId> = logs.keys().map(|(topic, _)| *topic).collect();
        let served = image.topics().filter(|topic| opened.contains(&topic.id)).map(|topic| {
            let logs = topic.numbered().filter_map(|(number, p)| Some((number, p, logs.remove(&(topic.id, number))?)));
            let partitions = logs.map(|(number, p, log)| self.lead(topic, number, p.leader_epoch, log)).collect();
            (topic.id, Arc::new(ServedTopic { name: topic.name.clone(), partitions }))
        });
        self.served.store(Arc::new(served.collect()));
        if image.trims().len() != 0 {
            self.trim_pending(); // Before the first read.
            self.request_retention(); // It removes finished trims from the metadata.
        }
    }

    /// Leads a partition with the leader epoch of the metadata. A log that is ahead of the metadata is not led.
    pub(super) fn lead(
        &self,
        topic: &Topic,
        number: PartitionId,
        epoch: LeaderEpoch,
        log: OpenedLog,
    ) -> ServedPartition {
        let log = match log {
            Ok(log) => log,
            Err(why) => return ServedPartition::Offline(why),
        };
        if let Some(latest) = ahead_of(&*log, epoch) {
            let why = format!("its log has begun leader epoch {latest}, and the metadata gives it {epoch}");
            tracing::error!(topic = %topic.name, partition = %number, why, "a partition is offline");
            return ServedPartition::Offline(why.into());
        }
        let whose = (topic.id, topic.name.clone(), number);
        let producers = self.memory.state_reservation(StateKind::Producers);
        ServedPartition::Online(Arc::new(Partition::lead(
            whose,
            &self.health,
            log,
            epoch,
            topic.config.clone(),
            producers,
            self.registered_producers.clone(),
        )))
    }
}

/// The latest epoch of a log that is ahead of the metadata: not below the epoch that it should begin.
pub(super) fn ahead_of(log: &dyn Log, epoch: LeaderEpoch) -> Option<LeaderEpoch> {
    latest_epoch(log).filter(|latest| epoch <= *latest)
}

/// The latest epoch of a log.
fn latest_epoch(log: &dyn Log) -> Option<LeaderEpoch> {
    log.reader().end_of_epoch(LeaderEpoch::new(u32::MAX)).map(|latest| latest.epoch)
}

/// The reason why the topics of a data directory cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenTopicsError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Disk(#[from] grower_storage::disk::DiskError),
    #[error(transparent)]
    Metadata(#[from] ProposeError),
    #[error("opening a log ended unexpectedly: {0}")]
    Panic(String),
}
