//! Topics that were deleted while they were read: the others are read on.

use crate::output::stderr_line;
use grower_client::{ConsumeError, ErrorCode};
use std::collections::BTreeSet;

/// The topics that are read, and those of them that are not there any more.
pub(super) struct DeletedTopics {
    read: BTreeSet<String>,
    deleted: BTreeSet<String>,
}

impl DeletedTopics {
    pub(super) fn none_of(topics: &[String]) -> Self {
        Self { read: topics.iter().cloned().collect(), deleted: BTreeSet::new() }
    }

    /// Takes note if the error says that a topic is gone while others are left, and returns its name; any other error is
    /// returned.
    pub(super) fn note(&mut self, error: ConsumeError) -> Result<String, ConsumeError> {
        let ConsumeError::Topic { topic, .. } = &error else { return Err(error) };
        let topic = topic.as_str().to_owned();
        if error.code() != Some(ErrorCode::UnknownTopic) {
            return Err(error);
        }
        let is_news = self.deleted.insert(topic.clone());
        if self.deleted.len() == self.read.len() {
            return Err(error);
        }
        if is_news {
            stderr_line(format_args!("topic {topic} was deleted: still reading the others"));
        }
        Ok(topic)
    }

    /// Its records come: it is there, for it was created again.
    pub(super) fn is_read(&mut self, topic: &str) {
        if !self.deleted.is_empty() {
            self.deleted.remove(topic);
        }
    }
}
