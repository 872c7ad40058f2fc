//! A start: every partition that the metadata knows is opened and recovered, and deletions are finished.

use super::served::concerns_one;
use super::{Place, Served, Topics};
use crate::memory::StateKind;
use crate::metadata::{Command, Topic};
use crate::partition::Partition;
use grower_protocol::ids::{LeaderEpoch, PartitionId, TopicId};
use grower_storage::log::OpenError;
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

/// Recovery reads the tails of logs: a few at a time keep the disk busy.
const THREADS: usize = 8;

impl Topics {
    /// Opens everything. Nothing is served before all of it is open.
    pub(crate) fn open_all(&self) -> Result<(), StartError> {
        let image = self.image();
        let names: BTreeSet<_> = image.topics().map(|topic| topic.name.clone()).collect();
        for (id, deleted) in image.deleted() {
            self.logs.set_aside(id, &deleted.name, deleted.partitions)?;
        }
        for dir in self.logs.quarantine(&names)? {
            tracing::warn!(dir = %dir.display(), "a directory that no topic owns was moved aside; nothing of it was deleted");
        }
        let topics: Vec<Arc<Topic>> = image.topics().cloned().collect();
        let mut opened = self.open_parallel(&topics)?;
        let served = topics.iter().map(|topic| {
            let partitions = opened.remove(&topic.id).unwrap_or_default();
            (topic.id, Arc::new(Served { name: topic.name.clone(), partitions }))
        });
        self.served.store(Arc::new(served.collect()));
        if image.trims().len() != 0 {
            self.trim_pending(); // Before anybody reads.
            self.look_at_retention(); // Which lets the metadata forget it.
        }
        Ok(())
    }

    fn open_parallel(&self, topics: &[Arc<Topic>]) -> Result<HashMap<TopicId, Vec<Place>>, OpenError> {
        let work: VecDeque<_> = topics
            .iter()
            .flat_map(|topic| topic.numbered().map(move |(number, p)| (topic, number, p.leader_epoch)))
            .collect();
        let threads = THREADS.min(work.len());
        let (work, opened) = (Mutex::new(work), Mutex::new(Vec::new()));
        let open_some = || -> Result<(), OpenError> {
            loop {
                let Some((topic, number, epoch)) = work.lock().pop_front() else { return Ok(()) };
                let place = self.open(topic, number, epoch)?;
                opened.lock().push((topic.id, number, place));
            }
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(open_some)).collect();
            workers.into_iter().try_for_each(|worker| match worker.join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })?;
        let mut opened = opened.into_inner();
        opened.sort_by_key(|(_, number, _)| *number);
        let mut by_topic: HashMap<TopicId, Vec<Place>> = HashMap::new();
        for (topic, _, place) in opened {
            by_topic.entry(topic).or_default().push(place);
        }
        Ok(by_topic)
    }

    /// Opens one partition. Whose files cannot be opened is shut, unless that says that nothing will work, or it is the
    /// broker's own: without what it keeps there it would tell groups something false.
    pub(super) fn open(&self, topic: &Topic, number: PartitionId, epoch: LeaderEpoch) -> Result<Place, OpenError> {
        let options = topic.config.log_options(&self.index);
        match self.logs.open(&Self::place(topic, number), options, self.clock.now()) {
            Ok(log) => {
                let whose = (topic.id, topic.name.clone(), number);
                let producers = self.memory.remember(StateKind::Producers);
                Ok(Place::Open(Arc::new(Partition::lead(whose, log, epoch, topic.config.clone(), producers))))
            }
            Err(error) if concerns_one(&error) && !topic.name.is_internal() => {
                tracing::error!(topic = %topic.name, partition = %number, %error, "a partition cannot be opened and is not served");
                Ok(Place::Shut(error.to_string().into()))
            }
            Err(error) => Err(error),
        }
    }

    /// Removes the files of deleted topics, then lets the metadata forget them. Repeated until it works.
    pub(crate) async fn remove_deleted(&self) {
        let deleted: Vec<_> = self.image().deleted().map(|(id, topic)| (id, topic.partitions)).collect();
        if deleted.is_empty() {
            return;
        }
        let logs = self.logs.clone();
        let removed = tokio::task::spawn_blocking(move || {
            let gone = deleted.into_iter().filter(|(id, partitions)| match logs.remove(*id, *partitions) {
                Ok(()) => true,
                Err(error) => {
                    tracing::warn!(%error, topic = %id, "cannot remove the files of a deleted topic yet");
                    false
                }
            });
            gone.map(|(id, _)| id).collect::<Vec<_>>()
        });
        let ids = removed.await.unwrap_or_default();
        if !ids.is_empty()
            && let Err(error) = self.propose(Command::ForgetDeleted { ids }).await
        {
            tracing::warn!(%error, "deleted topics are not forgotten yet");
        }
    }
}

/// Why the topics of a data directory cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Disk(#[from] grower_storage::disk::DiskError),
}
