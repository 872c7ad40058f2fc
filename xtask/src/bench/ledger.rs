//! Compares the records read back with those written: each once, and those of a writer in order.

use super::values::RecordIdentity;
use anyhow::{Context, ensure};
use grower_client::ConsumerRecord;
use std::collections::{BTreeMap, BTreeSet};

/// The records of one writer: the same number in each partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WriterShare {
    pub(crate) writer: u32,
    /// Records in each partition.
    pub(crate) count: u64,
}

/// Records received of each share.
type ReceivedCounts = Vec<u64>;

/// Takes records in the order of arrival, and knows the missing ones.
///
/// Records of two writers may have the same value. The next records show which writer it was, so every consistent
/// interpretation is kept until a record contradicts it.
pub(crate) struct Ledger {
    partitions: u32,
    size: usize,
    shares: Vec<WriterShare>,
    /// The offset of the first record in each partition.
    base_offset: u64,
    /// For each partition, the consistent interpretations of the records received.
    interpretations: BTreeMap<u32, Vec<ReceivedCounts>>,
    missing: u64,
}

impl Ledger {
    pub(crate) fn new(partitions: u32, size: usize, shares: Vec<WriterShare>) -> Self {
        let missing = shares.iter().map(|share| share.count).sum::<u64>() * u64::from(partitions);
        Self { partitions, size, shares, base_offset: 0, interpretations: BTreeMap::new(), missing }
    }

    /// Expects that each partition holds `base_offset` earlier records.
    pub(crate) fn after(self, base_offset: u64) -> Self {
        Self { base_offset, ..self }
    }

    pub(crate) fn partitions(&self) -> u32 {
        self.partitions
    }

    /// The number of missing records.
    pub(crate) fn missing(&self) -> u64 {
        self.missing
    }

    /// The offset of the first record in each partition.
    pub(crate) fn base_offset(&self) -> u64 {
        self.base_offset
    }

    /// The expected end of each partition.
    pub(crate) fn end(&self) -> u64 {
        self.base_offset + self.shares.iter().map(|share| share.count).sum::<u64>()
    }

    /// Fails unless this is the next record of a writer, at the expected offset.
    pub(crate) fn check_next(&mut self, record: &ConsumerRecord) -> anyhow::Result<()> {
        let partition = record.partition.value();
        let position = format_args!("{}/{partition} at offset {}", record.topic, record.offset.value());
        let value = record.value.as_ref().with_context(|| format!("{position}: no value"))?;
        let interpretations = self.interpretations.entry(partition).or_insert_with(|| vec![vec![0; self.shares.len()]]);
        let received = interpretations[0].iter().sum::<u64>();
        debug_assert!(
            interpretations.iter().all(|counts| counts.iter().sum::<u64>() == received),
            "all interpretations explain the same records"
        );
        ensure!(record.offset.value() == self.base_offset + received, "{position}: earlier offsets are missing");
        let found = ReceivedValue { value, partition, size: self.size };
        let mut extended = BTreeSet::new();
        for counts in interpretations.iter() {
            for (at, share) in self.shares.iter().enumerate() {
                if counts[at] < share.count && found.is(share.writer, counts[at]) {
                    let mut counts = counts.clone();
                    counts[at] += 1;
                    extended.insert(counts);
                }
            }
        }
        ensure!(!extended.is_empty(), "{position}: {}", found.describe_mismatch(&self.shares, &interpretations[0]));
        *interpretations = extended.into_iter().collect();
        self.missing -= 1;
        Ok(())
    }
}

/// A received value.
struct ReceivedValue<'a> {
    value: &'a [u8],
    partition: u32,
    size: usize,
}

impl ReceivedValue<'_> {
    fn is(&self, writer: u32, number: u64) -> bool {
        let Self { value, partition, size } = *self;
        value.len() == size && *value == RecordIdentity { writer, partition, number }.value(size)
    }

    /// Describes a value that is not an expected next record.
    fn describe_mismatch(&self, shares: &[WriterShare], counts: &ReceivedCounts) -> String {
        let next = shares.iter().zip(counts).map(|(share, count)| (share.writer, count)).collect::<Vec<_>>();
        let number = |share: &WriterShare| (0..share.count).find(|number| self.is(share.writer, *number));
        match shares.iter().find_map(|share| Some((share.writer, number(share)?))) {
            Some((writer, number)) => format!("record {number} of writer {writer}; next of each writer are {next:?}"),
            None => "not a record of any writer".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grower_client::ids::{Offset, PartitionId, Timestamp, TopicName};

    fn record(offset: u64, writer: u32, number: u64) -> ConsumerRecord {
        ConsumerRecord {
            topic: TopicName::new("t").unwrap(),
            partition: PartitionId::new(0),
            offset: Offset::new(offset),
            leader_epoch: None,
            timestamp: Timestamp::default(),
            key: None,
            value: Some(RecordIdentity { writer, partition: 0, number }.value(SIZE)),
            headers: Vec::new(),
        }
    }

    const SIZE: usize = 1024;
    /// Found by trying: the two have the same value.
    const ALIKE: [(u32, u64); 2] = [(1, 2), (4, 12_715)];

    #[test]
    fn records_with_the_same_value_are_distinguished_by_the_next_ones() {
        let [(one, number), (other, later)] = ALIKE;
        assert_eq!(record(0, one, number).value, record(0, other, later).value);
        for first in [one, other] {
            let shares = [one, other].map(|writer| WriterShare { writer, count: 20_000 });
            let mut ledger = Ledger::new(1, SIZE, shares.to_vec());
            let mut offset = 0;
            let mut check = |writer, numbers: std::ops::Range<u64>| {
                for number in numbers {
                    ledger.check_next(&record(offset, writer, number)).unwrap();
                    offset += 1;
                }
            };
            check(one, 0..number);
            check(other, 0..later);
            if first == one {
                check(one, number..20_000);
                check(other, later..20_000);
            } else {
                check(other, later..20_000);
                check(one, number..20_000);
            }
            assert_eq!(ledger.missing(), 0);
        }
    }

    fn ledger() -> Ledger {
        Ledger::new(1, SIZE, vec![WriterShare { writer: 1, count: 2 }, WriterShare { writer: 2, count: 1 }])
    }

    #[test]
    fn writers_may_take_turns_as_they_like() {
        let mut ledger = ledger();
        for (offset, (writer, number)) in [(1, 0), (2, 0), (1, 1)].into_iter().enumerate() {
            ledger.check_next(&record(offset as u64, writer, number)).unwrap();
        }
        assert_eq!(ledger.missing(), 0);
    }

    #[test]
    fn earlier_records_do_not_count() {
        let mut ledger = ledger().after(10);
        assert!(ledger.check_next(&record(0, 1, 0)).is_err(), "it lies before");
        ledger.check_next(&record(10, 1, 0)).unwrap();
        ledger.check_next(&record(11, 1, 1)).unwrap();
        assert_eq!((ledger.missing(), ledger.end()), (1, 13));
    }

    #[test]
    fn missing_and_duplicate_records_are_found() {
        let mut ledger = ledger();
        assert!(ledger.check_next(&record(0, 1, 1)).is_err(), "the first is missing");
        ledger.check_next(&record(0, 1, 0)).unwrap();
        assert!(ledger.check_next(&record(1, 1, 0)).is_err(), "twice");
        assert!(ledger.check_next(&record(2, 1, 1)).is_err(), "an offset is missing");
        ledger.check_next(&record(1, 2, 0)).unwrap();
        assert!(ledger.check_next(&record(2, 2, 1)).is_err(), "more than was written");
    }
}
