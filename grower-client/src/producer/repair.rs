//! Finding the way again: who leads a topic's partitions now, and a connection to each.

use super::engine::Engine;
use super::topic::{Partition, Topic};
use crate::backoff;
use crate::error::RequestError;
use grower_protocol::message::{ErrorCode, Failure, TopicMetadata};
use std::sync::Arc;
use tokio::time::{Instant, sleep};

impl Engine {
    /// Refreshes a topic's metadata and connects to its leaders, in the background, until it is done or nobody waits.
    pub(super) fn repair(self: &Arc<Self>, topic: &Arc<Topic>) {
        if topic.begin_repair() {
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
        let metadata = match self.cluster.refresh(&topic.name, self.settings.create_topics).await {
            Err(error) if error.code() == Some(ErrorCode::UnknownTopic) => {
                self.give_up(topic, &error);
                return Ok(());
            }
            result => result?,
        };
        self.learn(&metadata);
        let mut missing = None;
        for partition in topic.partitions() {
            if topic.count() <= partition.number.value() {
                self.fail(&partition, &gone(topic, &partition));
            } else if let Err(error) = self.relink(topic, &metadata, &partition).await {
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
        let link = self.lane(road).link(&leader).await?;
        partition.lock().route.offer(road, link);
        self.drain(topic, partition);
        Ok(())
    }

    /// The topic is gone: everything that was for it fails.
    fn give_up(&self, topic: &Topic, error: &RequestError) {
        self.forget(topic);
        topic.partitions().iter().for_each(|partition| self.fail(partition, error));
    }

    fn fail(&self, partition: &Partition, error: &RequestError) {
        let settled = partition.lock().line.fail_all(error, Instant::now());
        self.settle(settled);
    }
}

/// The topic was made anew, with fewer partitions.
fn gone(topic: &Topic, partition: &Partition) -> RequestError {
    let detail = format_args!("{} has no partition {} any more", topic.name, partition.number);
    Failure::new(ErrorCode::UnknownPartition, detail).into()
}

fn leaderless(topic: &Topic) -> RequestError {
    Failure::new(ErrorCode::NotLeader, format_args!("a partition of {} has no leader now", topic.name)).into()
}
