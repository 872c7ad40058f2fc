//! Segments age: those that are written to roll although nothing is appended, and the oldest leave. After a roll, after a
//! change of limits, and every so often.

use super::Topics;
use crate::background;
use crate::config::settings::LiveSettings;
use std::sync::Arc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

impl Topics {
    /// Asks for a look at all partitions soon.
    pub(crate) fn look_at_retention(&self) {
        self.retention.notify_one();
        self.compaction.notify_one();
    }

    /// Runs until `stop`.
    pub(crate) async fn run_retention(self: Arc<Self>, settings: Arc<LiveSettings>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = self.retention.notified() => {}
                () = settings.passed(Instant::now(), |config| config.retention_check) => {}
                () = stop.cancelled() => return,
            }
            let topics = self.clone();
            let looked = background::blocking(move || {
                topics.roll_old();
                topics.retain_all();
            });
            if looked.await.is_err() {
                tracing::error!("looking at retention failed; it is tried again");
            }
            self.reconcile().await;
            let _ = self.finish_trims().await; // It warned, and is repeated.
            self.finish_configs().await;
        }
    }

    /// Rolls segments that are old, so that compaction and readers of files find them closed.
    fn roll_old(&self) {
        let now = self.clock.steady();
        let mut rolled = 0;
        for partition in self.all() {
            match partition.roll_if_old(now) {
                Ok(did) => rolled += usize::from(did),
                Err(error) => {
                    let (topic, number) = (&partition.topic_name, partition.partition);
                    tracing::warn!(%error, %topic, partition = %number, "an old segment does not roll yet");
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
