//! The rule for the records behind one that failed: continue, or stop the partition.

use super::Producer;
use super::accumulator::UnsentBatch;
use super::in_flight::SettledRecords;
use super::queue::PartitionQueue;
use crate::error::{ProduceError, actual_end};
use grower_protocol::ids::PartitionId;

/// The rule for the later records of a partition after one failed; see [`crate::ProducerBuilder::on_failure`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnFailure {
    /// Later records are written: most do not depend on others, and one failure harms no other caller. A failed record
    /// that is sent again comes behind them.
    #[default]
    Continue,
    /// The other records fail with [`ProduceError::Stopped`] and are not written, so that none overtakes the failed one,
    /// until [`Producer::resume_partition`]. These are all that are not sent yet, also those of the same batch and those
    /// handed in before the failed one, and all handed in later. A batch that was on its way already may still be
    /// acknowledged.
    ///
    /// A record that is not queued, because it is too large or found no memory in time, stops its partition too, but
    /// those handed in before it are still written. If its topic is unknown, only later records of the topic in the same
    /// call fail. An [`append_at`](Producer::append_at) that finds another end does not stop its partition.
    StopPartition,
}

/// The stop of one partition.
#[derive(Debug, Default)]
pub(super) struct PartitionStop {
    pub(super) on_failure: OnFailure,
    /// The first failure since the partition was resumed.
    pub(super) first: Option<ProduceError>,
    /// That failure was at hand-in: the records queued before it are still written.
    spares_queued: bool,
}

impl PartitionStop {
    /// Stops the partition at the first failure among these records.
    fn note(&mut self, settled: &[SettledRecords]) {
        if self.on_failure == OnFailure::StopPartition && (self.first.is_none() || self.spares_queued) {
            let mut failures = settled.iter().filter_map(|settled| settled.outcome.as_ref().err());
            if let Some(first) = failures.find(|error| stops(error)) {
                (self.first, self.spares_queued) = (Some(first.clone()), false);
            }
        }
    }
}

/// Whether a failure stops its partition.
fn stops(error: &ProduceError) -> bool {
    !matches!(error, ProduceError::Failed { source, .. } if actual_end(source).is_some())
}

impl PartitionQueue {
    /// Sets what happens behind a failed record.
    pub(super) fn stopping(mut self, on_failure: OnFailure) -> Self {
        self.stop.on_failure = on_failure;
        self
    }

    /// Whether the partition accepts no records after a failure.
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.first.is_some()
    }

    /// Ends a stop; returns the failure that began it.
    pub(super) fn resume(&mut self) -> Option<ProduceError> {
        self.stop.first.take()
    }

    /// Stops the partition at a record that could not be queued. Those before it are written, without a linger.
    pub(super) fn stop_at_hand_in(&mut self, error: &ProduceError) {
        if self.stop.on_failure == OnFailure::StopPartition && self.stop.first.is_none() {
            (self.stop.first, self.stop.spares_queued) = (Some(error.clone()), true);
            self.accumulator.spare_queued();
        }
    }

    /// Adds the records that fail because of these ones.
    pub(super) fn with_stopped(&mut self, mut settled: Vec<SettledRecords>) -> Vec<SettledRecords> {
        self.stop.note(&settled);
        settled.extend(self.fail_stopped());
        settled
    }

    /// Fails all records of a stopped partition that are certainly not in the log.
    pub(super) fn fail_stopped(&mut self) -> Vec<SettledRecords> {
        let Some(first) = &self.stop.first else { return Vec::new() };
        let spares_queued = self.stop.spares_queued;
        let mut settled = if spares_queued { Vec::new() } else { self.window.stop_behind(first) };
        settled.extend(self.accumulator.take_stopped(spares_queued).into_iter().map(|batch: UnsentBatch| {
            let error = ProduceError::stopped(batch.promise.topic_partition(), first);
            batch.fail(error)
        }));
        settled
    }
}

impl Producer {
    /// Accepts records again for a partition that stopped after a failure; returns the failure that stopped it. See
    /// [`OnFailure::StopPartition`].
    pub fn resume_partition(&self, topic: impl AsRef<str>, partition: impl Into<PartitionId>) -> Option<ProduceError> {
        let topic = self.handle.engine.known_topic(topic.as_ref())?;
        topic.partition(partition.into())?.lock().queue.resume()
    }
}
