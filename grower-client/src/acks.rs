//! The acks of many records, by ranges.

use crate::record::{Ack, TopicPartition};
use grower_protocol::ids::{Offset, PartitionId, Timestamp, TopicName};
use grower_protocol::message::Durability;
use std::collections::BTreeMap;
use std::ops::Range;

/// The acks of the records of one call of [`Producer::send_all`](crate::Producer::send_all), in the order of the input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordAcks {
    ranges: Vec<AckRange>,
}

/// The ack of consecutive records of the input that have consecutive offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AckRange {
    /// The records, counted from 0 in the input.
    pub records: Range<usize>,
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: PartitionId,
    /// The offset of the first record; `None` with acks `none`.
    pub base_offset: Option<Offset>,
    /// The timestamp of each record.
    pub timestamp: Timestamp,
    /// The durability that the records have. Lower than requested if the topic sets `flush=os`.
    pub durability: Durability,
}

impl RecordAcks {
    pub(crate) fn push(&mut self, range: AckRange) {
        debug_assert!(!range.records.is_empty());
        debug_assert!(self.ranges.last().is_none_or(|last| last.records.end <= range.records.start));
        match self.ranges.last_mut().filter(|last| last.is_continued_by(&range)) {
            Some(last) => last.records.end = range.records.end,
            None => self.ranges.push(range),
        }
    }

    /// The number of acknowledged records.
    pub fn len(&self) -> usize {
        self.ranges.iter().map(|range| range.records.len()).sum()
    }

    /// Whether no record is acknowledged.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The acks by ranges.
    pub fn ranges(&self) -> &[AckRange] {
        &self.ranges
    }

    /// Iterates over the ack of each record.
    pub fn iter(&self) -> impl Iterator<Item = Ack> {
        self.ranges.iter().flat_map(AckRange::iter)
    }

    /// Returns the offsets of the records in each partition, in the order of the input; none with acks `none`.
    pub fn offsets(&self) -> BTreeMap<TopicPartition, Vec<Range<Offset>>> {
        let mut offsets = BTreeMap::<_, Vec<Range<Offset>>>::new();
        for range in &self.ranges {
            let Some(start) = range.base_offset else { continue };
            let end = start.saturating_add(range.records.len() as u64);
            let topic_partition = TopicPartition { topic: range.topic.clone(), partition: range.partition };
            let of_partition = offsets.entry(topic_partition).or_default();
            match of_partition.last_mut().filter(|last| last.end == start) {
                Some(last) => last.end = end,
                None => of_partition.push(start..end),
            }
        }
        offsets
    }
}

impl AckRange {
    /// Returns the ack of a record, by its index in the input; `None` if the range does not hold it.
    pub fn get(&self, record: usize) -> Option<Ack> {
        let at = record.checked_sub(self.records.start).filter(|_| record < self.records.end)?;
        Some(Ack {
            topic: self.topic.clone(),
            partition: self.partition,
            offset: self.base_offset.map(|base| base.saturating_add(at as u64)),
            timestamp: self.timestamp,
            durability: self.durability,
        })
    }

    /// Iterates over the ack of each record.
    pub fn iter(&self) -> impl Iterator<Item = Ack> {
        self.records.clone().filter_map(|record| self.get(record))
    }

    /// Whether one range can stand for both.
    fn is_continued_by(&self, next: &Self) -> bool {
        let length = self.records.len() as u64;
        self.records.end == next.records.start
            && self.base_offset.map(|base| base.saturating_add(length)) == next.base_offset
            && (self.partition, self.timestamp, self.durability) == (next.partition, next.timestamp, next.durability)
            && self.topic == next.topic
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(records: Range<usize>, partition: u32, base: u64) -> AckRange {
        AckRange {
            records,
            topic: TopicName::new("t").unwrap(),
            partition: PartitionId::new(partition),
            base_offset: Some(Offset::new(base)),
            timestamp: Timestamp::default(),
            durability: Durability::Fsynced,
        }
    }

    fn acks(ranges: impl IntoIterator<Item = AckRange>) -> RecordAcks {
        let mut acks = RecordAcks::default();
        ranges.into_iter().for_each(|range| acks.push(range));
        acks
    }

    #[test]
    fn ranges_merge_if_records_and_offsets_continue() {
        let merged = acks([range(0..3, 0, 10), range(3..5, 0, 13), range(5..6, 0, 20), range(7..8, 0, 21)]);
        assert_eq!(merged.ranges(), [range(0..5, 0, 10), range(5..6, 0, 20), range(7..8, 0, 21)]);
        assert_eq!(merged.len(), 7);
        assert!(merged.iter().map(|ack| ack.offset.unwrap().value()).eq([10, 11, 12, 13, 14, 20, 21]));
    }

    #[test]
    fn offsets_stand_together_by_partition() {
        let mixed = acks([range(0..2, 1, 5), range(2..3, 0, 7), range(3..4, 1, 7), range(4..5, 1, 9)]);
        let offsets = mixed.offsets().into_iter().map(|(of, offsets)| (of.partition.value(), offsets));
        let at = |range: Range<u64>| Offset::new(range.start)..Offset::new(range.end);
        assert!(offsets.eq([(0, vec![at(7..8)]), (1, vec![at(5..8), at(9..10)])]));
    }
}
