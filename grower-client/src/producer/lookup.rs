//! Looks topics up. Lookups of one topic run one at a time, so their answers are applied in order.

use super::engine::ProducerEngine;
use super::topic::ProducerTopic;
use crate::deadline::Deadline;
use crate::error::{ProduceError, RequestError};
use crate::retry;
use crate::single_flight::{AttemptLost, SingleFlight};
use futures_core::future::BoxFuture;
use grower_protocol::ids::TopicName;
use grower_protocol::message::TopicMetadata;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

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
    /// Looks a topic up, even a known one, until the deadline.
    pub(super) async fn look_up(
        self: &Arc<Self>,
        name: &str,
        deadline: Deadline,
    ) -> Result<Arc<ProducerTopic>, ProduceError> {
        let topic = TopicName::new(name)?;
        match self.refresh(&topic, deadline).await {
            Ok(found) => Ok(found.topic),
            Err(source) => Err(ProduceError::Topic { topic, source }),
        }
    }

    /// Refreshes a topic and retries until the deadline. If the topic no longer exists, its records fail.
    pub(super) async fn refresh(
        self: &Arc<Self>,
        name: &TopicName,
        deadline: Deadline,
    ) -> Result<FoundTopic, RequestError> {
        let result = self.cluster.retrying(deadline, || self.share_refresh(name, deadline)).await;
        if result.is_err() {
            self.lookups.forget(name);
        }
        result
    }

    /// Waits for an attempt of all callers that look the topic up now, until the deadline.
    async fn share_refresh(self: &Arc<Self>, name: &TopicName, deadline: Deadline) -> Result<FoundTopic, RequestError> {
        let attempt = || -> BoxFuture<'static, _> {
            let (engine, name) = (self.clone(), name.clone());
            Box::pin(async move { engine.refresh_once(&name).await })
        };
        match deadline.wait(self.lookups.of(name).run(attempt)).await {
            Some(Ok(outcome)) => outcome,
            Some(Err(AttemptLost)) => self.refresh_once(name).await,
            None => Err(RequestError::TimedOut { after: deadline.limit() }),
        }
    }

    async fn refresh_once(self: &Arc<Self>, name: &TopicName) -> Result<FoundTopic, RequestError> {
        match self.cluster.refresh_once(name, self.settings.create_topics, self.cluster.deadline()).await {
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
