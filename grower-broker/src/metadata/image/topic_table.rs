//! The topics of an image, found by name, by id, and by what a name looks like to metrics and file systems.
//!
//! All of it follows from the topics, so none of it is stored: a command and a snapshot give the same table.

use super::Topic;
use grower_protocol::ids::{TopicId, TopicName};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Topics by name; finding one, and the checks of a new one, look at few of them.
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

    /// A topic whose name is another one, and would not be told apart from this.
    pub(super) fn colliding(&self, name: &TopicName) -> Option<&TopicName> {
        self.folded.get(&name.folded()).filter(|existing| *existing != name)
    }

    /// How many partitions all of them have together.
    pub(super) fn partition_count(&self) -> u64 {
        self.partitions
    }

    /// Whether no topic has this name, and none this id.
    pub(super) fn are_free(&self, name: &TopicName, id: TopicId) -> bool {
        !self.by_name.contains_key(name) && !self.names.contains_key(&id)
    }

    /// Adds a topic whose name and id are free.
    pub(super) fn insert(&mut self, topic: Arc<Topic>) {
        self.partitions += u64::from(topic.partition_count());
        self.names.insert(topic.id, topic.name.clone());
        self.folded.insert(topic.name.folded(), topic.name.clone());
        let before = self.by_name.insert(topic.name.clone(), topic);
        debug_assert!(before.is_none(), "a topic takes the place of another");
    }

    pub(super) fn remove(&mut self, id: TopicId) -> Option<Arc<Topic>> {
        let topic = self.by_name.remove(&self.names.remove(&id)?)?;
        self.folded.remove(&topic.name.folded());
        self.partitions -= u64::from(topic.partition_count());
        Some(topic)
    }

    /// Changes a topic, though neither its name nor its id; as it is then.
    pub(super) fn change(&mut self, id: TopicId, change: impl FnOnce(&mut Topic)) -> Option<Arc<Topic>> {
        let topic = self.by_name.get_mut(self.names.get(&id)?)?;
        self.partitions -= u64::from(topic.partition_count());
        let changed = Arc::make_mut(topic);
        change(changed);
        self.partitions += u64::from(changed.partition_count());
        debug_assert_eq!(self.names.get(&changed.id), Some(&changed.name), "a topic keeps its name");
        Some(topic.clone())
    }

    /// Changes partitions of those topics in which `has` finds any.
    pub(super) fn change_all(
        &mut self,
        has: impl Fn(&Topic) -> bool,
        mut change: impl FnMut(&mut super::PartitionRegistration),
    ) {
        for topic in self.by_name.values_mut().filter(|topic| has(topic)) {
            Arc::make_mut(topic).partitions.iter_mut().for_each(&mut change);
        }
    }
}
