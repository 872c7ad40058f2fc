//! What a topic shall be like.

use grower_protocol::ids::TopicName;
use grower_protocol::message::{NewTopic, TopicConfigs};

/// What a new topic shall be like; whatever is not said takes the broker's default.
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
    /// With this many partitions; [`TopicSpec::default`] has one.
    pub fn partitions(count: u32) -> Self {
        Self { partitions: Some(count), ..Self::default() }
    }

    /// How many brokers store each partition; by default 3, or as many as there are.
    pub fn replication_factor(mut self, count: u32) -> Self {
        self.replication_factor = Some(count);
        self
    }

    /// Sets one config, by its dotted key.
    pub fn config(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.configs.push((key.into(), value.into()));
        self
    }

    pub(super) fn named(self, name: TopicName) -> NewTopic {
        let Self { partitions, replication_factor, configs } = self;
        NewTopic { name, partitions, replication_factor, configs }
    }
}
