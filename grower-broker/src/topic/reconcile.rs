//! Makes disk and served topics agree with the image, whatever failed or was cut short before.
//!
//! | the image says | disk and broker do not agree yet | what is done |
//! | --- | --- | --- |
//! | a topic was deleted | it is served | it is served no more |
//! | a topic was deleted | its files lie under `topics/` | they move to `deleted/` |
//! | a topic was deleted | its files lie in `deleted/` | they are removed |
//! | a topic was deleted | its files are seen gone | the metadata forgets it |
//! | a topic has a partition | it is not served | it is opened and served |
//! | a topic has a partition | it is shut: its files cannot be used | it is tried again, every few seconds (`shut`) |
//! | a topic has a config | a partition works by another one | it takes it over |
//!
//! A start does the first two before it opens anything. A running broker looks after each command that could not be
//! carried out, and with each look at retention. Trims have a loop of their own (`trim`).

use super::Topics;
use crate::background;
use crate::logs::DeletedLogs;
use crate::metadata::{Command, Topic};
use grower_protocol::ids::{TopicId, TopicName};
use grower_storage::disk::DiskError;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Topics {
    /// Carries out what is not done yet, and lets the metadata forget deletions that are. What fails is repeated with the
    /// next look.
    pub(crate) async fn reconcile(self: &Arc<Self>) {
        let topics = self.clone();
        let in_order = self.changing.lock().await;
        let aside = background::blocking(move || topics.reconcile_served()).await.unwrap_or_default();
        self.reconcile_configs().await;
        drop(in_order);
        let topics = self.clone();
        let gone = background::blocking(move || topics.remove_deleted(aside)).await.unwrap_or_default();
        if gone.is_empty() {
            return;
        }
        if let Err(error) = self.propose(Command::ForgetDeleted { ids: gone }).await {
            tracing::warn!(%error, "the metadata still lists deleted topics");
        }
    }

    /// Which deleted topics have nothing left where topics are served from.
    fn reconcile_served(&self) -> BTreeSet<TopicId> {
        let image = self.image();
        let served: Vec<TopicId> = self.served.load().keys().copied().collect();
        for topic in served.into_iter().filter(|topic| image.topic_by_id(*topic).is_none()) {
            self.close(topic);
        }
        let (aside, failure) = self.move_deleted_topics(None);
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
        aside
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

    /// Moves the files of deleted topics away: of all, or of those that had one name. Says of which topics nothing is left
    /// there, and what failed first.
    pub(super) fn move_deleted_topics(&self, name: Option<&TopicName>) -> (BTreeSet<TopicId>, Option<DiskError>) {
        let image = self.image();
        let (mut aside, mut failure) = (BTreeSet::new(), None);
        for (topic, deleted) in image.deleted().filter(|(_, deleted)| name.is_none_or(|name| *name == deleted.name)) {
            let (name, partitions) = (&deleted.name, deleted.partitions);
            let name_is_free = image.topic(name).is_none();
            match self.logs.move_deleted(&DeletedLogs { topic, name, partitions, name_is_free }) {
                Ok(()) => drop(aside.insert(topic)),
                Err(error) => drop(failure.get_or_insert(error)),
            }
        }
        (aside, failure)
    }

    /// Names that deleted topics still have files under, which must not be taken for those of a later topic.
    pub(super) fn names_of_remaining_files(&self) -> BTreeSet<TopicName> {
        let (aside, failure) = self.move_deleted_topics(None);
        if let Some(error) = failure {
            tracing::warn!(%error, "cannot move the files of a deleted topic yet");
        }
        let image = self.image();
        image.deleted().filter(|(topic, _)| !aside.contains(topic)).map(|(_, deleted)| deleted.name.clone()).collect()
    }

    /// Removes what lies in `deleted/`. Which of these topics, whose files were moved there, are seen to have none left.
    fn remove_deleted(&self, aside: BTreeSet<TopicId>) -> Vec<TopicId> {
        match self.logs.purge_deleted(&|topic| self.image().topic_by_id(topic).is_some()) {
            Ok(left) => aside.difference(&left).copied().collect(),
            Err(error) => {
                tracing::warn!(%error, "cannot remove the files of deleted topics yet");
                Vec::new()
            }
        }
    }
}
