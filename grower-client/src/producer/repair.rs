//! Finding the way again: who leads a topic's partitions now, and a connection to each.

use super::engine::Engine;
use super::topic::{Partition, Topic};
use crate::backoff;
use crate::error::RequestError;
use grower_protocol::message::{ErrorCode, Failure, TopicMetadata};
use std::sync::Arc;
use tokio::time::sleep;

impl Engine {
    /// Refreshes a topic's metadata and connects to its leaders, in the background, until it is done or nobody waits.
    pub(super) fn repair(self: &Arc<Self>, topic: &Arc<Topic>) {
        if !topic.is_closed() && topic.begin_repair() {
            let (engine, topic) = (self.clone(), topic.clone());
            tokio::spawn(async move {
                engine.repair_until_done(&topic).await;
                topic.end_repair();
                if topic.is_stuck(engine.road()) {
                    engine.repair(&topic); // Something broke just before the end.
                }
            });
        }
    }

    async fn repair_until_done(self: &Arc<Self>, topic: &Arc<Topic>) {
        for failures in 1.. {
            let Err(error) = self.reconnect(topic).await else { return };
            let mut waiting = false;
            for partition in topic.partitions() {
                let mut state = partition.lock();
                waiting |= state.line.is_busy();
                state.line.hindered(error.clone());
            }
            if !waiting {
                return;
            }
            tracing::debug!(topic = %topic.name, %error, "cannot send; trying again");
            sleep(backoff::jittered(failures)).await;
        }
    }

    async fn reconnect(self: &Arc<Self>, topic: &Arc<Topic>) -> Result<(), RequestError> {
        let found = match self.refresh(&topic.name).await {
            Err(error) if error.code() == Some(ErrorCode::UnknownTopic) => return Ok(()), // Given up meanwhile.
            result => result?,
        };
        if topic.is_closed() {
            return Ok(()); // What it held has failed; the topic of that name now has an object of its own.
        }
        let mut missing = None;
        for partition in topic.open_partitions() {
            if let Err(error) = self.relink(topic, &found.metadata, &partition).await {
                missing = Some(error);
            }
        }
        missing.map_or(Ok(()), Err)
    }

    async fn relink(
        self: &Arc<Self>,
        topic: &Arc<Topic>,
        metadata: &TopicMetadata,
        partition: &Arc<Partition>,
    ) -> Result<(), RequestError> {
        let leader = self.cluster.leader(metadata, partition.number).ok_or_else(|| leaderless(topic))?;
        let road = self.road();
        let connection = self.pool(road).connect(&leader).await?;
        partition.lock().route.offer(road, connection);
        self.drain(topic, partition);
        Ok(())
    }
}

fn leaderless(topic: &Topic) -> RequestError {
    Failure::new(ErrorCode::NotLeader, format_args!("a partition of {} has no leader now", topic.name)).into()
}
