//! Positions of the reader: the next offset, the distance from the end, and seeks.

use super::Consumer;
use super::state::{PartitionFetchState, SubscriptionState};
use super::tasks::start;
use crate::backoff;
use crate::deadline::Deadline;
use crate::error::{ConsumeError, RequestError};
use crate::record::TopicPartition;
use crate::retry::{self, Attempts, StartAction};
use grower_protocol::ids::{Offset, PartitionId, Timestamp};
use grower_protocol::message::OffsetSpec;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The interval at which a call looks whether the starts of partitions are known.
const START_CHECK_EACH: Duration = Duration::from_millis(10);

impl Consumer {
    /// Returns the next offset to hand out; `None` if the partition is not assigned or its start is not known yet.
    pub fn position(&self, topic: impl AsRef<str>, partition: impl Into<PartitionId>) -> Option<Offset> {
        self.inspect(topic, partition, |partition| Some(partition.position().offset))
    }

    /// Returns the high watermark, the first offset that is not committed, as of the last fetch; see
    /// [`Consumer::lag`].
    pub fn high_watermark(&self, topic: impl AsRef<str>, partition: impl Into<PartitionId>) -> Option<Offset> {
        self.inspect(topic, partition, |partition| partition.high_watermark)
    }

    /// Returns the number of offsets between position and high watermark, as of the last fetch.
    ///
    /// It costs nothing and may be old: a paused partition, one whose prefetched records fill the memory, and one whose
    /// broker is away are not fetched, and their high watermark is that of the time before. [`Consumer::total_lag`] asks
    /// the brokers.
    pub fn lag(&self, topic: impl AsRef<str>, partition: impl Into<PartitionId>) -> Option<u64> {
        self.inspect(topic, partition, |partition| {
            partition.high_watermark.map(|end| end.since(partition.position().offset))
        })
    }

    /// Asks the brokers for the high watermarks, and returns the number of offsets between them and the positions of
    /// all assigned partitions. Compacted records count.
    ///
    /// Fails if a broker does not answer within the request timeout, if a partition is offline, or if the start of a
    /// partition is not known by then: a sum without it would be too small.
    pub async fn total_lag(&self) -> Result<u64, ConsumeError> {
        let assigned = self.assignment();
        let deadline = self.cluster.deadline();
        let lookups = assigned.iter().map(|topic_partition| (topic_partition, OffsetSpec::End));
        let ends = self.look_up_all(lookups, deadline).await?;
        let positions = self.known_positions(deadline).await?;
        let lag = |(topic_partition, end): (&TopicPartition, Offset)| {
            let position = positions.get(topic_partition)?; // It moved to another member meanwhile.
            Some(end.value().saturating_sub(position.value()))
        };
        Ok(assigned.iter().zip(ends).filter_map(lag).fold(0, u64::saturating_add))
    }

    /// Continues at `offset`. Fails with [`ConsumeError::NotAssigned`] if the partition is not assigned.
    pub fn seek(
        &self,
        topic: impl AsRef<str>,
        partition: impl Into<PartitionId>,
        offset: Offset,
    ) -> Result<(), ConsumeError> {
        let topic_partition = TopicPartition::new(topic, partition)?;
        self.shared.lock().seek(&topic_partition, offset)
    }

    /// Continues, in each assigned partition, at the first record at or after `time`, or at the end if there is none.
    pub async fn seek_to_time(&self, time: Timestamp) -> Result<(), ConsumeError> {
        let topic_partitions = self.assignment();
        let lookups = topic_partitions.iter().map(|name| (name, OffsetSpec::AtOrAfter(time)));
        let found = self.look_up_all(lookups, self.cluster.deadline()).await?;
        for (topic_partition, offset) in topic_partitions.iter().zip(found) {
            drop(self.shared.lock().seek(topic_partition, offset)); // A revoked partition needs no seek.
        }
        Ok(())
    }

    /// Continues at the first records of these partitions, which the brokers are asked for. Moves none if one of them is
    /// not assigned.
    ///
    /// ```no_run
    /// # async fn example(consumer: grower_client::Consumer) -> Result<(), Box<dyn std::error::Error>> {
    /// use grower_client::TopicPartition;
    ///
    /// consumer.seek_to_beginning([TopicPartition::new("events", 0)?]).await?;
    /// consumer.seek_to_beginning(consumer.assignment()).await?; // All.
    /// # Ok(())
    /// # }
    /// ```
    pub async fn seek_to_beginning(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<(), ConsumeError> {
        self.seek_to(partitions.into_iter().collect(), OffsetSpec::Beginning).await
    }

    /// Continues at the high watermarks of these partitions, which the brokers are asked for. Moves none if one of them
    /// is not assigned.
    pub async fn seek_to_end(&self, partitions: impl IntoIterator<Item = TopicPartition>) -> Result<(), ConsumeError> {
        self.seek_to(partitions.into_iter().collect(), OffsetSpec::End).await
    }

    async fn seek_to(&self, partitions: Vec<TopicPartition>, spec: OffsetSpec) -> Result<(), ConsumeError> {
        let are_assigned = |subscription: &mut SubscriptionState| {
            partitions.iter().try_for_each(|name| subscription.partition(name).map(drop))
        };
        are_assigned(&mut self.shared.lock())?;
        let lookups = partitions.iter().map(|topic_partition| (topic_partition, spec));
        let found = self.look_up_all(lookups, self.cluster.deadline()).await?;
        let mut subscription = self.shared.lock();
        are_assigned(&mut subscription)?;
        partitions.iter().zip(found).try_for_each(|(name, offset)| subscription.seek(name, offset))
    }

    /// Looks up an offset of each partition. An unreachable broker is asked again until the deadline.
    #[expect(clippy::disallowed_methods, reason = "a shell reads the clock")]
    pub(super) async fn look_up<'a>(
        &self,
        lookups: impl IntoIterator<Item = (&'a TopicPartition, OffsetSpec)>,
        deadline: Deadline,
    ) -> Result<Vec<Result<Offset, RequestError>>, ConsumeError> {
        let lookups: Vec<_> = lookups.into_iter().collect();
        let mut attempts = Attempts::until(deadline.end());
        loop {
            let found = start::look_up_offsets(&self.cluster, &lookups, deadline).await;
            let cause = match &found {
                Ok(found) => found.iter().find_map(|found| found.as_ref().err().filter(|error| is_transient(error))),
                Err(error) => Some(error).filter(|error| is_transient(error)),
            };
            match cause.and_then(|cause| attempts.next_wait(cause, Instant::now(), backoff::random())) {
                Some(wait) => sleep(wait).await,
                None => return found.map_err(ConsumeError::Start),
            }
        }
    }

    /// Looks up an offset of each partition; fails if one is unknown.
    async fn look_up_all<'a>(
        &self,
        lookups: impl IntoIterator<Item = (&'a TopicPartition, OffsetSpec)>,
        deadline: Deadline,
    ) -> Result<Vec<Offset>, ConsumeError> {
        let lookups: Vec<_> = lookups.into_iter().collect();
        let found = self.look_up(lookups.iter().copied(), deadline).await?;
        let named = |((topic_partition, _), found): ((&TopicPartition, _), Result<_, _>)| {
            found.map_err(|source| ConsumeError::Failed { topic_partition: topic_partition.clone(), source })
        };
        lookups.into_iter().zip(found).map(named).collect()
    }

    /// Returns the positions of all assigned partitions once they are known.
    #[expect(clippy::disallowed_methods, reason = "a shell reads the clock")]
    async fn known_positions(&self, deadline: Deadline) -> Result<BTreeMap<TopicPartition, Offset>, ConsumeError> {
        loop {
            let unknown = {
                let subscription = self.shared.lock();
                let assigned = || subscription.partitions.iter().filter(|partition| !partition.is_revoking());
                match assigned().find(|partition| partition.is_starting) {
                    Some(partition) => partition.topic_partition.clone(),
                    None => {
                        let position = |of: &PartitionFetchState| (of.topic_partition.clone(), of.position().offset);
                        return Ok(assigned().map(position).collect());
                    }
                }
            };
            if deadline.end() <= Instant::now() {
                let source = RequestError::TimedOut { after: deadline.limit() };
                return Err(ConsumeError::Failed { topic_partition: unknown, source });
            }
            sleep(START_CHECK_EACH).await;
        }
    }

    fn inspect<T>(
        &self,
        topic: impl AsRef<str>,
        partition: impl Into<PartitionId>,
        inspect: impl FnOnce(&PartitionFetchState) -> Option<T>,
    ) -> Option<T> {
        let topic_partition = TopicPartition::new(topic, partition).ok()?;
        self.shared.lock().partitions.get(&topic_partition).filter(|partition| !partition.is_starting).and_then(inspect)
    }
}

/// Whether another lookup may find the offset soon.
fn is_transient(error: &RequestError) -> bool {
    retry::after_start_lookup(error) == StartAction::Retry
}
