//! Reading up to an end: each partition hands out what is before its end, and then waits for the others.

use super::{PartitionFetchState, SubscriptionState};
use crate::record::TopicPartition;
use grower_protocol::ids::{Offset, TopicName};
use std::collections::BTreeMap;

impl SubscriptionState {
    /// Hands out only records before these ends. A partition without one waits.
    pub(crate) fn read_up_to(&mut self, ends: &BTreeMap<TopicPartition, Offset>) {
        self.reads_to_end = true;
        self.partitions.update_all(
            |_| true,
            |partition| partition.read_end = Some(ends.get(&partition.topic_partition).copied().unwrap_or_default()),
        );
    }

    /// Hands out all records again.
    pub(crate) fn forget_read_ends(&mut self) {
        self.reads_to_end = false;
        self.partitions.update_all(|_| true, |partition| partition.read_end = None);
    }

    /// Whether all partitions are read up to their ends.
    pub(crate) fn is_at_read_ends(&self) -> bool {
        !self.partitions.iter().any(|partition| partition.is_before_read_end())
    }

    /// The positions of the partitions that have nothing for the reader before their ends.
    pub(crate) fn quiet_before_read_ends(&self) -> Vec<(TopicPartition, Offset)> {
        let quiet = self.partitions.iter().filter(|partition| partition.is_quiet_before_read_end());
        quiet.map(|partition| (partition.topic_partition.clone(), partition.position().offset)).collect()
    }

    /// Reads a partition no further for now.
    pub(crate) fn stop_reading(&mut self, topic_partition: &TopicPartition) {
        if let Some(mut partition) = self.partitions.update(topic_partition) {
            partition.stop_reading();
        }
    }

    /// Reads the partitions of a topic no further for now.
    pub(crate) fn stop_reading_topic(&mut self, topic: &TopicName) {
        let picks = |partition: &PartitionFetchState| partition.topic_partition.topic == *topic;
        self.partitions.update_all(picks, PartitionFetchState::stop_reading);
    }

    /// Reads a partition no further if it is still at `position` and its log has no record before the end: the next one
    /// is at `next`.
    pub(crate) fn stop_reading_behind_last(
        &mut self,
        topic_partition: &TopicPartition,
        position: Offset,
        next: Option<Offset>,
    ) {
        let has_none = |partition: &PartitionFetchState| {
            partition.is_quiet_before_read_end()
                && partition.position().offset == position
                && next.is_none_or(|next| partition.read_end <= Some(next))
        };
        if self.partitions.get(topic_partition).is_some_and(has_none) {
            self.stop_reading(topic_partition);
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test is the shell of what it tests")]
mod tests {
    use super::super::tests::{batches, deliver, shared, take, topic_partition};
    use super::*;
    use crate::consumer::settings::OnDamage;
    use crate::consumer::state::subscription::SharedSubscription;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// Each batch holds three records.
    const BATCH: u32 = 3;

    /// Delivers what a broker has from the next offset to fetch on, in the partition with these batches.
    fn deliver_rest(shared: &SharedSubscription, partition: u32, kept: &[bool]) {
        let mut subscription = shared.lock();
        let next = subscription.partition(&topic_partition(partition)).unwrap().next_fetch().offset.value();
        let rest =
            (0..).step_by(BATCH as usize).zip(kept).filter(|(base, kept)| **kept && next < u64::from(base + BATCH));
        let bytes: Vec<u8> = rest.flat_map(|(base, _)| batches(base, BATCH)).collect();
        if !bytes.is_empty() {
            deliver(&mut subscription, partition, bytes);
        }
    }

    fn take_all(shared: &SharedSubscription, logs: &[Vec<bool>], at_once: usize) -> Vec<(u32, u64)> {
        let mut taken = Vec::new();
        loop {
            (0..).zip(logs).for_each(|(partition, kept)| deliver_rest(shared, partition, kept));
            match take(shared, at_once) {
                records if records.is_empty() => return taken,
                records => taken.extend(records),
            }
        }
    }

    proptest! {
        #[test]
        fn a_reader_gets_exactly_what_is_before_the_ends_and_later_the_rest(
            logs in vec((vec(any::<bool>(), 0..6), 0..20_u64), 1..4),
            at_once in 1..9_usize,
        ) {
            let (logs, ends): (Vec<_>, Vec<_>) = logs.into_iter().unzip();
            let shared = shared(&vec![0; logs.len()], OnDamage::Fail);
            let all = (0..).zip(&logs).flat_map(|(partition, kept)| {
                let bases = (0..).step_by(BATCH as usize).zip(kept).filter(|(_, kept)| **kept);
                bases.flat_map(move |(base, _)| (base..base + u64::from(BATCH)).map(move |offset| (partition, offset)))
            });
            let (before, behind): (Vec<_>, Vec<_>) = all.partition(|(partition, offset)| *offset < ends[*partition as usize]);
            for partition in 0..logs.len() as u32 {
                shared.lock().partition(&topic_partition(partition)).unwrap().gaps_allowed = true;
            }
            let named = (0..).zip(&ends).map(|(partition, end)| (topic_partition(partition), Offset::new(*end)));
            shared.lock().read_up_to(&named.collect());
            let sorted = |mut records: Vec<(u32, u64)>| {
                records.sort();
                records
            };
            prop_assert_eq!(sorted(take_all(&shared, &logs, at_once)), before);
            shared.lock().partitions.check();
            shared.lock().forget_read_ends();
            prop_assert_eq!(sorted(take_all(&shared, &logs, at_once)), behind);
            shared.lock().partitions.check();
        }
    }

    #[test]
    fn a_partition_that_is_added_meanwhile_waits() {
        let shared = shared(&[3], OnDamage::Fail);
        shared.lock().read_up_to(&BTreeMap::from([(topic_partition(0), Offset::new(2))]));
        {
            let mut subscription = shared.lock();
            subscription.add(topic_partition(1), grower_protocol::ids::TopicId::from_random([1; 16]));
            subscription.seek(&topic_partition(1), Offset::ZERO).unwrap();
            deliver(&mut subscription, 1, batches(0, 3));
        }
        assert_eq!(take(&shared, 9), [(0, 0), (0, 1)]);
        assert!(shared.lock().is_at_read_ends());
        shared.lock().forget_read_ends();
        assert_eq!(take(&shared, 9), [(0, 2), (1, 0), (1, 1), (1, 2)]);
    }
}
