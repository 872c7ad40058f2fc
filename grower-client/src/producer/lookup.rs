//! Looks topics up. Lookups of one topic run one at a time, so their answers are applied in order.

use super::engine::ProducerEngine;
use super::topic::ProducerTopic;
use crate::error::{ProduceError, RequestError};
use crate::retry;
use crate::single_flight::SingleFlight;
use grower_protocol::ids::TopicName;
use grower_protocol::message::TopicMetadata;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::time::timeout;

type LookupFlight = SingleFlight<Result<FoundTopic, RequestError>>;

/// A topic with the metadata just received.
#[derive(Clone)]
pub(super) struct FoundTopic {
    pub(super) topic: Arc<ProducerTopic>,
    pub(super) metadata: Arc<TopicMetadata>,
}

/// The lookups of a producer, by topic. If two lookups of one topic ran at once, the older answer could arrive last and
/// restore the id of a deleted topic.
#[derive(Default)]
pub(super) struct TopicLookups {
    by_topic: Mutex<HashMap<TopicName, Arc<LookupFlight>>>,
}

impl TopicLookups {
    fn of(&self, topic: &TopicName) -> Arc<LookupFlight> {
        self.by_topic.lock().entry(topic.clone()).or_default().clone()
    }

    /// Removes the entry of a missing topic, unless another caller waits for it.
    fn forget(&self, topic: &TopicName) {
        let mut by_topic = self.by_topic.lock();
        if by_topic.get(topic).is_some_and(|lookup| Arc::strong_count(lookup) == 1) {
            by_topic.remove(topic);
        }
    }
}

impl ProducerEngine {
    /// Looks a topic up, even a known one, for at most the delivery timeout.
    pub(super) async fn look_up(&self, name: &str) -> Result<Arc<ProducerTopic>, ProduceError> {
        let topic = TopicName::new(name)?;
        let after = self.settings.window.delivery_timeout;
        let found = timeout(after, self.refresh(&topic)).await.unwrap_or(Err(RequestError::TimedOut { after }));
        match found {
            Ok(found) => Ok(found.topic),
            Err(source) => Err(ProduceError::Topic { topic, source }),
        }
    }

    /// Refreshes a topic. If it no longer exists, its records fail.
    pub(super) async fn refresh(&self, name: &TopicName) -> Result<FoundTopic, RequestError> {
        let result = self.lookups.of(name).run(self.refresh_once(name)).await;
        if result.is_err() {
            self.lookups.forget(name);
        }
        result
    }

    async fn refresh_once(&self, name: &TopicName) -> Result<FoundTopic, RequestError> {
        match self.cluster.refresh(name, self.settings.create_topics).await {
            Ok(metadata) => Ok(FoundTopic { topic: self.update_topic(&metadata), metadata }),
            Err(error) => {
                if retry::is_topic_deleted(&error) {
                    self.fail_topic(name, &error);
                }
                Err(error)
            }
        }
    }
}
