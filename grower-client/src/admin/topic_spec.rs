//! The specification of a new topic.

use grower_protocol::ids::TopicName;
use grower_protocol::message::{NewTopic, TopicConfigs};

/// The specification of a new topic; unset values take the broker's defaults.
///
/// ```
/// # use grower_client::TopicSpec;
/// let spec = TopicSpec::partitions(3).replication_factor(1).config("retention.ms", "86400000");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicSpec {
    partitions: Option<u32>,
    replication_factor: Option<u32>,
    configs: TopicConfigs,
}

impl TopicSpec {
    /// Creates a specification with `count` partitions; [`TopicSpec::default`] has one.
    pub fn partitions(count: u32) -> Self {
        Self { partitions: Some(count), ..Self::default() }
    }

    /// Sets the number of brokers that store each partition; by default 3, or all if there are fewer.
    pub fn replication_factor(mut self, count: u32) -> Self {
        self.replication_factor = Some(count);
        self
    }

    /// Sets a config by its dotted key.
    pub fn config(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.configs.push((key.into(), value.into()));
        self
    }

    pub(super) fn named(self, name: TopicName) -> NewTopic {
        let Self { partitions, replication_factor, configs } = self;
        NewTopic { name, partitions, replication_factor, configs }
    }
}
