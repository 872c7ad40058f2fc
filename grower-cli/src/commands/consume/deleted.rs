//! Tracks topics that are deleted while they are read; the others are still read.

use crate::output::stderr_line;
use grower_client::{ConsumeError, ErrorCode};
use std::collections::BTreeSet;

/// The topics to read, and those that were deleted since.
pub(super) struct DeletedTopics {
    read: BTreeSet<String>,
    deleted: BTreeSet<String>,
}

impl DeletedTopics {
    pub(super) fn new(topics: &[String]) -> Self {
        Self { read: topics.iter().cloned().collect(), deleted: BTreeSet::new() }
    }

    /// Records the deletion of a topic and returns its name, if the error reports one and other topics are left.
    /// Returns any other error.
    pub(super) fn handle_error(&mut self, error: ConsumeError) -> Result<String, ConsumeError> {
        let ConsumeError::Topic { topic, .. } = &error else { return Err(error) };
        let topic = topic.as_str().to_owned();
        if error.code() != Some(ErrorCode::UnknownTopic) {
            return Err(error);
        }
        let is_new = self.deleted.insert(topic.clone());
        if self.deleted.len() == self.read.len() {
            return Err(error);
        }
        if is_new {
            stderr_line(format_args!("topic {topic} was deleted: still reading the others"));
        }
        Ok(topic)
    }

    /// Records of the topic arrive: it was created again.
    pub(super) fn topic_returned(&mut self, topic: &str) {
        if !self.deleted.is_empty() {
            self.deleted.remove(topic);
        }
    }
}
