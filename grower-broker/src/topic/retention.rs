//! Retention: old active segments roll without an append, and the oldest segments are dropped. Runs after a roll,
//! after a change of limits, and periodically.

use super::Topics;
use crate::background;
use crate::config::settings::LiveSettings;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

impl Topics {
    /// Requests a retention check soon.
    pub(crate) fn request_retention(&self) {
        self.retention.notify_one();
        self.compaction.notify_one();
    }

    /// Runs retention checks until `stop`.
    pub(crate) async fn run_retention(self: Arc<Self>, settings: Arc<LiveSettings>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = self.retention.notified() => {}
                () = settings.passed(|config| config.retention_check) => {}
                () = stop.cancelled() => return,
            }
            let (topics, stopped) = (self.clone(), stop.clone());
            let looked = background::blocking(move || {
                topics.roll_old(&stopped);
                topics.retain_all();
            });
            if looked.await.is_err() {
                tracing::error!("applying retention failed; the broker tries again");
            }
            self.reconcile().await;
            let _ = self.finish_trims().await; // It logged a warning, and is repeated.
            self.finish_configs().await;
        }
    }

    /// Rolls old active segments, so that compaction and readers of files find them closed. A roll takes several
    /// syncs, and many segments may be old at once: a stop does not wait for all of them.
    fn roll_old(&self, stop: &CancellationToken) {
        let now = self.clock.steady();
        let mut rolled = 0;
        for partition in self.all() {
            if stop.is_cancelled() {
                break;
            }
            match partition.roll_if_old(now) {
                Ok(did) => rolled += usize::from(did),
                Err(error) => {
                    let (topic, number) = (&partition.topic_name, partition.partition);
                    tracing::warn!(%error, %topic, partition = %number, "rolling an old segment failed; the broker tries again");
                }
            }
        }
        if 0 < rolled {
            tracing::debug!(rolled, "segments rolled for their age");
            self.compaction.notify_one();
        }
    }

    fn retain_all(&self) {
        let now = self.clock.cautious();
        for partition in self.all() {
            if let Err(error) = partition.retain(now) {
                tracing::warn!(%error, topic = %partition.topic_name, partition = %partition.partition, "retention failed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{BrokerClock, Calendar};
    use crate::config::MetadataLimits;
    use crate::health::Health;
    use crate::logs::MemLogs;
    use crate::memory::Memory;
    use crate::metadata::{Command, MemMetadataStore, MetadataStore, Uuid};
    use crate::metrics::Metrics;
    use crate::topic::IndexKind;
    use grower_protocol::batch::{BatchBuilder, Record, UnplacedBatch};
    use grower_protocol::compression::Codec;
    use grower_protocol::ids::{NodeId, Timestamp, TopicId, TopicName};
    use grower_protocol::message::NewTopic;

    #[tokio::test]
    async fn a_stop_waits_for_no_further_rolls() {
        let (calendar, metadata) = (Arc::new(Calendar::default()), MemMetadataStore::default());
        let uuid = Uuid::from_random([1; 16]);
        metadata.propose(Command::RegisterBroker { node: NodeId::new(1), uuid, address: String::new() }).await.unwrap();
        let (clock, health) = (BrokerClock::new(calendar.clone()), Health::new(Metrics::for_test()));
        let (metadata, logs, memory) = (Arc::new(metadata), Arc::new(MemLogs), Memory::new(1 << 30));
        let topics = Topics::new(metadata, logs, clock.clone(), IndexKind::default(), memory, health);
        let topics = Arc::new(topics);
        let (name, id) = (TopicName::new("events").unwrap(), TopicId::from_random([2; 16]));
        let request = NewTopic { name, partitions: Some(3), replication_factor: None, configs: Vec::new() };
        let create = move |image: &_| {
            Ok(crate::metadata::Image::create_topic(
                image,
                &request,
                id,
                Timestamp::default(),
                &MetadataLimits::default(),
            )?)
        };
        topics.change(create).await.unwrap();
        for partition in topics.all() {
            let mut batch = BatchBuilder::new(Codec::None);
            batch.push(&Record::default());
            partition.append(UnplacedBatch::built(batch.build(None)), clock.steady()).unwrap();
        }
        calendar.pass(2 * 24 * 60 * 60 * 1000);
        let segments = || topics.all().iter().map(|partition| partition.reader().segments().len()).collect::<Vec<_>>();
        let stop = CancellationToken::new();
        stop.cancel();
        topics.roll_old(&stop);
        assert_eq!(segments(), [1, 1, 1]);
        topics.roll_old(&CancellationToken::new());
        assert_eq!(segments(), [2, 2, 2]);
    }
}
