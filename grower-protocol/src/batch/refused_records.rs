//! The records that are the reason why a batch is refused.

use std::fmt;
use std::ops::Range;

/// The records of a batch that break the same rule, counted from 0. There is at least one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RefusedRecords {
    ranges: Vec<Range<u32>>,
    /// How many records `ranges` leaves out.
    more: u32,
}

impl RefusedRecords {
    /// The most ranges that are named.
    pub const RANGES_MAX: usize = 64;

    /// Adds a record. They come in order.
    pub(super) fn push(&mut self, record: u32) {
        debug_assert!(self.ranges.last().is_none_or(|last| last.end <= record), "records come in order");
        let full = self.ranges.len() == Self::RANGES_MAX;
        match self.ranges.last_mut() {
            Some(last) if last.end == record && self.more == 0 => last.end += 1,
            _ if full => self.more += 1,
            _ => self.ranges.push(record..record + 1),
        }
    }

    /// The first [`RefusedRecords::RANGES_MAX`] ranges of records, in order.
    pub fn ranges(&self) -> &[Range<u32>] {
        &self.ranges
    }
}

/// `record 3`, or `record 3 and 4 more`.
impl fmt::Display for RefusedRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.ranges.first().map_or(0, |range| range.start);
        let named: u32 = self.ranges.iter().map(|range| range.end - range.start).sum();
        match (named + self.more).saturating_sub(1) {
            0 => write!(f, "record {first}"),
            others => write!(f, "record {first} and {others} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_share_a_range_and_ranges_beyond_the_limit_are_only_counted() {
        let mut records = RefusedRecords::default();
        [3, 5, 6, 7, 9].into_iter().for_each(|record| records.push(record));
        assert_eq!(records.ranges(), [3..4, 5..8, 9..10]);
        assert_eq!(records.to_string(), "record 3 and 4 more");
        (20..220).step_by(2).for_each(|record| records.push(record));
        assert_eq!((records.ranges().len(), records.ranges()[63].clone()), (64, 140..141));
        records.push(220);
        assert_eq!(records.ranges()[63], 140..141, "a record after those left out is left out");
        assert_eq!(records.to_string(), "record 3 and 105 more");
    }
}
