//! Fences partitions: begins the producer's next epoch where the outcome of a batch is unknown.

use super::engine::ProducerEngine;
use super::in_flight::{FenceAttempt, FenceResult};
use super::topic::{ProducerPartition, ProducerTopic};
use crate::connection::{BrokerAnswer, BrokerConnection};
use crate::error::{ProduceError, RequestError, single_part, unexpected_response};
use crate::retry;
use bytes::Bytes;
use grower_protocol::message::{FenceProducer, Request, Response};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

impl ProducerEngine {
    /// Fences a partition over its connection. Sending waits for the answer.
    pub(super) fn fence(
        self: &Arc<Self>,
        topic: &Arc<ProducerTopic>,
        partition: &Arc<ProducerPartition>,
        connection: &BrokerConnection,
        attempt: FenceAttempt,
    ) {
        let (engine, topic, partition) = (self.clone(), topic.clone(), partition.clone());
        if let Err(error) = connection.require("producer-fences") {
            return engine.fenced(&topic, &partition, attempt, Err(error.into()));
        }
        let partitions = vec![(attempt.topic, partition.number)];
        let request = Request::FenceProducer(FenceProducer { producer: attempt.producer, partitions });
        let address = connection.address().clone();
        let done = Box::new(move |answer: Result<BrokerAnswer, RequestError>| {
            let result = answer.and_then(|answer| last_written(&address, answer.response));
            engine.fenced(&topic, &partition, attempt, result);
        });
        connection.submit(&request, Bytes::new(), Duration::ZERO, done);
    }

    fn fenced(
        self: &Arc<Self>,
        topic: &Arc<ProducerTopic>,
        partition: &Arc<ProducerPartition>,
        attempt: FenceAttempt,
        result: FenceResult,
    ) {
        tracing::debug!(topic = %topic.name, partition = %partition.number, ?attempt, ?result, "fenced the partition");
        let metadata_outdated = result.as_ref().is_err_and(retry::suggests_outdated_metadata);
        self.release(partition.fenced(attempt, result, super::engine::now));
        self.epoch_changed.notify_waiters();
        if metadata_outdated {
            self.reconnect(topic);
        }
        self.drain(topic, partition);
    }

    /// Waits until no batch that was given up in doubt can reach the log any more, at most until `deadline`.
    pub(super) async fn end_doubt(&self, deadline: Instant) -> Result<(), ProduceError> {
        loop {
            let changed = self.epoch_changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable(); // Before the look, so that no change is missed.
            let Some(error) = self.open_doubt() else { return Ok(()) };
            if timeout_at(deadline, changed).await.is_err() {
                return Err(error);
            }
        }
    }

    /// The error for a partition with a batch that was given up in doubt and may still reach the log.
    fn open_doubt(&self) -> Option<ProduceError> {
        let after = self.settings.delivery_timeout;
        self.topics().into_iter().find_map(|topic| {
            topic.partitions().into_iter().find_map(|partition| {
                let queue = &partition.lock().queue;
                let topic_partition = topic.topic_partition(partition.number);
                let error = || ProduceError::timed_out(&topic_partition, after, true, queue.last_error());
                queue.has_open_doubt().then(error)
            })
        })
    }
}

fn last_written(address: &Arc<str>, response: Response) -> FenceResult {
    match response {
        Response::FenceProducer(parts) => Ok(single_part(address, "fence producer", parts)?.last),
        other => Err(unexpected_response(address, "fence producer", other)),
    }
}
