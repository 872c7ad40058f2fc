//! Makes the disk and the served topics agree with the image, after failures and crashes.
//!
//! | the image | disk or broker | effect |
//! | --- | --- | --- |
//! | a topic was deleted | serves it | stop serving it |
//! | a topic was deleted | has files under `topics/` | move them to `deleted/` |
//! | a topic was deleted | has files in `deleted/` | remove them |
//! | a topic was deleted | has no files | remove it from the metadata |
//! | a topic has a partition | does not serve it | open and serve it |
//! | a topic has a partition | has it offline: its files are unusable | try again every few seconds (`offline`) |
//! | a topic has a config | has a partition with another one | apply it |
//!
//! A start does the first two before it opens anything. A running broker reconciles after each command that could not
//! be carried out, and with each retention check. Trims have their own loop (`trim`).

use super::Topics;
use crate::background;
use crate::logs::DeletedLogs;
use crate::metadata::{Command, Topic};
use grower_protocol::ids::{TopicId, TopicName};
use grower_storage::disk::DiskError;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Topics {
    /// Carries out pending effects, and removes finished deletions from the metadata. Failures are repeated with the
    /// next check.
    pub(crate) async fn reconcile(self: &Arc<Self>) {
        let topics = self.clone();
        let in_order = self.changes.order.lock().await;
        let moved = background::blocking(move || topics.reconcile_served()).await.unwrap_or_default();
        self.reconcile_configs().await;
        drop(in_order);
        let topics = self.clone();
        let gone = background::blocking(move || topics.remove_deleted(moved)).await.unwrap_or_default();
        if gone.is_empty() {
            return;
        }
        if let Err(error) = self.propose(Command::ForgetDeleted { ids: gone }).await {
            tracing::warn!(%error, "the metadata still lists deleted topics");
        }
    }

    /// Carries out pending effects. Returns the deleted topics without files under `topics/`.
    fn reconcile_served(&self) -> BTreeSet<TopicId> {
        let image = self.image();
        let served: Vec<TopicId> = self.served.load().keys().copied().collect();
        for topic in served.into_iter().filter(|topic| image.topic_by_id(*topic).is_none()) {
            self.close(topic);
        }
        let (moved, failure) = self.move_deleted_topics(None);
        if let Some(error) = failure {
            tracing::warn!(%error, "cannot move the files of a deleted topic yet");
        }
        let unserved: Vec<Arc<Topic>> = image.topics().filter(|topic| !self.serves_all(topic)).cloned().collect();
        for (topic, served) in unserved.iter().zip(self.serve_now(&unserved)) {
            match served {
                Ok(()) => tracing::info!(topic = %topic.name, "a topic is online again"),
                Err(failure) => tracing::warn!(%failure, topic = %topic.name, "a topic cannot be opened yet"),
            }
        }
        self.retry_offline(&image, self.clock.steady());
        moved
    }

    async fn reconcile_configs(&self) {
        for topic in self.image().topics() {
            let differs = self.of(topic.id).iter().any(|partition| *partition.config() != topic.config);
            if differs && let Err(failure) = self.configure(topic).await {
                tracing::warn!(%failure, topic = %topic.name, "a config is not applied to all partitions yet");
            }
        }
    }

    fn serves_all(&self, topic: &Topic) -> bool {
        self.served.load().get(&topic.id).is_some_and(|served| topic.partitions.len() <= served.partitions.len())
    }

    /// Moves the files of deleted topics to `deleted/`: of all, or of those with one name. Returns the topics without
    /// files under `topics/`, and the first failure.
    pub(super) fn move_deleted_topics(&self, name: Option<&TopicName>) -> (BTreeSet<TopicId>, Option<DiskError>) {
        let image = self.image();
        let (mut moved, mut failure) = (BTreeSet::new(), None);
        for (topic, deleted) in image.deleted().filter(|(_, deleted)| name.is_none_or(|name| *name == deleted.name)) {
            let (name, partitions) = (&deleted.name, deleted.partitions);
            let name_is_free = image.topic(name).is_none();
            match self.logs.move_deleted(&DeletedLogs { topic, name, partitions, name_is_free }) {
                Ok(()) => drop(moved.insert(topic)),
                Err(error) => drop(failure.get_or_insert(error)),
            }
        }
        (moved, failure)
    }

    /// Names under which deleted topics still have files, which a later topic must not take for its own.
    pub(super) fn names_of_remaining_files(&self) -> BTreeSet<TopicName> {
        let (moved, failure) = self.move_deleted_topics(None);
        if let Some(error) = failure {
            tracing::warn!(%error, "cannot move the files of a deleted topic yet");
        }
        let image = self.image();
        image.deleted().filter(|(topic, _)| !moved.contains(topic)).map(|(_, deleted)| deleted.name.clone()).collect()
    }

    /// Removes the files in `deleted/`. Returns those of these topics that have no files left.
    fn remove_deleted(&self, moved: BTreeSet<TopicId>) -> Vec<TopicId> {
        match self.logs.purge_deleted(&|topic| self.image().topic_by_id(topic).is_some()) {
            Ok(left) => moved.difference(&left).copied().collect(),
            Err(error) => {
                tracing::warn!(%error, "cannot remove the files of deleted topics yet");
                Vec::new()
            }
        }
    }
}
