//! Looking topics up: what the broker says of a topic is asked and taken in once at a time, in order.

use super::engine::ProducerEngine;
use super::topic::ProducerTopic;
use crate::error::{ProduceError, RequestError};
use crate::single_flight::SingleFlight;
use grower_protocol::ids::TopicName;
use grower_protocol::message::{ErrorCode, TopicMetadata};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::time::timeout;

type LookupFlight = SingleFlight<Result<FoundTopic, RequestError>>;

/// A topic as it was just now.
#[derive(Clone)]
pub(super) struct FoundTopic {
    pub(super) topic: Arc<ProducerTopic>,
    pub(super) metadata: Arc<TopicMetadata>,
}

/// The look-ups of a producer, by topic. Were two of one topic under way at once, the older answer could arrive last, and
/// bring back the id of a topic that was deleted.
#[derive(Default)]
pub(super) struct TopicLookups {
    by_topic: Mutex<HashMap<TopicName, Arc<LookupFlight>>>,
}

impl TopicLookups {
    fn of(&self, topic: &TopicName) -> Arc<LookupFlight> {
        self.by_topic.lock().entry(topic.clone()).or_default().clone()
    }

    /// Drops what belongs to a topic that is not there, unless another caller waits for it.
    fn forget(&self, topic: &TopicName) {
        let mut by_topic = self.by_topic.lock();
        if by_topic.get(topic).is_some_and(|lookup| Arc::strong_count(lookup) == 1) {
            by_topic.remove(topic);
        }
    }
}

impl ProducerEngine {
    /// Looks a topic up, even if it is known, for no longer than the delivery timeout.
    pub(super) async fn look_up(&self, name: &str) -> Result<Arc<ProducerTopic>, ProduceError> {
        let topic = TopicName::new(name)?;
        let after = self.settings.window.delivery_timeout;
        let found = timeout(after, self.refresh(&topic)).await.unwrap_or(Err(RequestError::TimedOut { after }));
        match found {
            Ok(found) => Ok(found.topic),
            Err(source) => Err(ProduceError::Topic { topic, source }),
        }
    }

    /// The topic as it is now. If it is gone, what was for it fails.
    pub(super) async fn refresh(&self, name: &TopicName) -> Result<FoundTopic, RequestError> {
        let result = self.lookups.of(name).run(self.ask_and_learn(name)).await;
        if result.is_err() {
            self.lookups.forget(name);
        }
        result
    }

    async fn ask_and_learn(&self, name: &TopicName) -> Result<FoundTopic, RequestError> {
        match self.cluster.refresh(name, self.settings.create_topics).await {
            Ok(metadata) => Ok(FoundTopic { topic: self.update_topic(&metadata), metadata }),
            Err(error) => {
                if error.code() == Some(ErrorCode::UnknownTopic) {
                    self.fail_topic(name, &error);
                }
                Err(error)
            }
        }
    }
}
