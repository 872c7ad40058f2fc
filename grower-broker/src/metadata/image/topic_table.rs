//! The topics of an image, by name, by id, and by folded name.
//!
//! The table follows from the topics, so it is not stored: commands and a snapshot give the same one.

use super::Topic;
use grower_protocol::ids::{TopicId, TopicName};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Topics by name, with indexes for lookups and for checks of new topics.
///
/// Invariants: each index has an entry for each topic, and `partitions` is the sum of their partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TopicTable {
    by_name: BTreeMap<TopicName, Arc<Topic>>,
    names: BTreeMap<TopicId, TopicName>,
    folded: BTreeMap<String, TopicName>,
    partitions: u64,
}

impl TopicTable {
    /// All topics, sorted by name.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Topic>> {
        self.by_name.values()
    }

    pub(super) fn by_name(&self, name: &TopicName) -> Option<&Arc<Topic>> {
        self.by_name.get(name)
    }

    pub(super) fn by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.by_name.get(self.names.get(&id)?)
    }

    /// An existing topic with a different name that folds to the same: metrics or file systems could not tell them
    /// apart.
    pub(super) fn colliding(&self, name: &TopicName) -> Option<&TopicName> {
        self.folded.get(&name.folded()).filter(|existing| *existing != name)
    }

    /// The number of partitions of all topics.
    pub(super) fn partition_count(&self) -> u64 {
        self.partitions
    }

    /// Whether both this name and this id are unused.
    pub(super) fn are_free(&self, name: &TopicName, id: TopicId) -> bool {
        !self.by_name.contains_key(name) && !self.names.contains_key(&id)
    }

    /// Adds a topic with an unused name and id.
    pub(super) fn insert(&mut self, topic: Arc<Topic>) {
        self.partitions += u64::from(topic.partition_count());
        self.names.insert(topic.id, topic.name.clone());
        self.folded.insert(topic.name.folded(), topic.name.clone());
        let before = self.by_name.insert(topic.name.clone(), topic);
        debug_assert!(before.is_none(), "an inserted topic has an unused name");
    }

    pub(super) fn remove(&mut self, id: TopicId) -> Option<Arc<Topic>> {
        let topic = self.by_name.remove(&self.names.remove(&id)?)?;
        self.folded.remove(&topic.name.folded());
        self.partitions -= u64::from(topic.partition_count());
        Some(topic)
    }

    /// Changes a topic, but neither its name nor its id. Returns the changed topic.
    pub(super) fn change(&mut self, id: TopicId, change: impl FnOnce(&mut Topic)) -> Option<Arc<Topic>> {
        let topic = self.by_name.get_mut(self.names.get(&id)?)?;
        self.partitions -= u64::from(topic.partition_count());
        let before = cfg!(debug_assertions).then(|| Topic::clone(topic));
        let changed = Arc::make_mut(topic);
        change(changed);
        check_change(before.as_ref(), changed);
        self.partitions += u64::from(changed.partition_count());
        debug_assert_eq!(self.names.get(&changed.id), Some(&changed.name), "a topic keeps its name");
        Some(topic.clone())
    }

    /// Changes the partitions of the topics that `has` selects.
    pub(super) fn change_all(
        &mut self,
        has: impl Fn(&Topic) -> bool,
        mut change: impl FnMut(&mut super::PartitionRegistration),
    ) {
        for topic in self.by_name.values_mut().filter(|topic| has(topic)) {
            let before = cfg!(debug_assertions).then(|| Topic::clone(topic));
            let changed = Arc::make_mut(topic);
            changed.partitions.iter_mut().for_each(&mut change);
            check_change(before.as_ref(), changed);
        }
    }
}

/// Asserts what no command may do: remove partitions, lower a leader epoch, or let a replica lead that is not in sync.
/// A snapshot's bytes come from outside, so a topic that was unsound before may stay so.
fn check_change(before: Option<&Topic>, after: &Topic) {
    let Some(before) = before else { return }; // Only debug builds keep it.
    debug_assert!(before.partitions.len() <= after.partitions.len(), "partitions are only added");
    let mut epochs = before.partitions.iter().zip(&after.partitions);
    debug_assert!(epochs.all(|(before, after)| before.leader_epoch <= after.leader_epoch), "leader epochs only rise");
    let is_sound = |partition: &super::PartitionRegistration| {
        partition.leader.is_none_or(|leader| partition.in_sync.contains(&leader))
            && partition.in_sync.iter().all(|replica| partition.replicas.contains(replica))
    };
    let stays_sound = !before.partitions.iter().all(is_sound) || after.partitions.iter().all(is_sound);
    debug_assert!(stays_sound, "a leader is in sync, and an in-sync replica is a replica");
}
