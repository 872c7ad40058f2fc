//! Reconnects a topic: finds the leaders of its partitions and connects to them.

use super::engine::ProducerEngine;
use super::topic::{ProducerPartition, ProducerTopic};
use crate::backoff;
use crate::error::RequestError;
use crate::retry;
use grower_protocol::message::{ErrorCode, Failure, TopicMetadata};
use std::sync::Arc;
use tokio::time::sleep;

impl ProducerEngine {
    /// Refreshes a topic's metadata and connects to its leaders, in the background, until that succeeds or no record
    /// waits.
    pub(super) fn reconnect(self: &Arc<Self>, topic: &Arc<ProducerTopic>) {
        if !topic.is_closed() && topic.begin_reconnect() {
            let (engine, topic) = (self.clone(), topic.clone());
            self.runtime.spawn(async move {
                engine.reconnect_until_done(&topic).await;
                topic.end_reconnect();
                if topic.lacks_connection(engine.connection_kind()) {
                    engine.reconnect(&topic); // A connection broke just before the end.
                }
            });
        }
    }

    async fn reconnect_until_done(self: &Arc<Self>, topic: &Arc<ProducerTopic>) {
        for failures in 1.. {
            let Err(error) = self.reconnect_once(topic).await else { return };
            let mut waiting = false;
            for partition in topic.partitions() {
                let mut state = partition.lock();
                waiting |= state.queue.needs_connection();
                state.queue.note_error(error.clone());
            }
            if !waiting {
                return;
            }
            tracing::debug!(topic = %topic.name, %error, "cannot send; trying again");
            sleep(retry::wait(Some(&error), failures, backoff::random())).await;
        }
    }

    async fn reconnect_once(self: &Arc<Self>, topic: &Arc<ProducerTopic>) -> Result<(), RequestError> {
        let found = match self.refresh(&topic.name, self.cluster.deadline()).await {
            // The refresh failed its records.
            Err(error) if retry::is_topic_deleted(&error) => return Ok(()),
            result => result?,
        };
        if topic.is_closed() {
            return Ok(()); // Its records have failed; a new topic with this name has its own object.
        }
        let mut missing = None;
        for partition in topic.open_partitions() {
            if let Err(error) = self.connect_partition(topic, &found.metadata, &partition).await {
                missing = Some(error);
            }
        }
        missing.map_or(Ok(()), Err)
    }

    async fn connect_partition(
        self: &Arc<Self>,
        topic: &Arc<ProducerTopic>,
        metadata: &TopicMetadata,
        partition: &Arc<ProducerPartition>,
    ) -> Result<(), RequestError> {
        let leader = self.cluster.leader(metadata, partition.number).ok_or_else(|| leaderless(topic))?;
        let kind = self.connection_kind();
        let connection = self.pool(kind).connect(&leader, self.cluster.deadline()).await?;
        partition.lock().selector.offer(kind, connection);
        self.drain(topic, partition);
        Ok(())
    }
}

fn leaderless(topic: &ProducerTopic) -> RequestError {
    Failure::new(ErrorCode::NotLeader, format_args!("a partition of {} has no leader now", topic.name)).into()
}
