//! Straight to one batch, where the index says that those around it are alike.
//!
//! Otherwise a batch is found by going through those before it, from an index entry on: a read of some KiB, and most of
//! a lookup's time is spent waiting for memory that is in no cache. What is said of such a row is believed of the places
//! where batches begin, as an index entry is. What is found there is looked at, and when it is something else there is
//! no answer: the way through the batches before it is still open.

use super::walk::{Found, HEADERS_READ};
use super::{Extent, Segment};
use crate::disk::{DiskError, FileOnDemand};
use bytes::Bytes;
use grower_index::Stretch;
use grower_protocol::batch::{BatchHeader, HEADER_LENGTH};
use grower_protocol::ids::{Offset, Timestamp};
use std::ops::Range;

/// How much is read on either side of where a time should be.
const AROUND_A_TIME: u64 = 128;

/// Batches of one length and one number of offsets, side by side.
pub(super) struct Row<'a> {
    file: &'a FileOnDemand,
    start: Extent,
    /// Of each batch.
    length: u64,
    /// Of each batch.
    offsets: u64,
    batches: u64,
    /// The maximum timestamps before the row and at its end, if they never fall.
    times: Option<Range<i64>>,
}

impl<'a> Row<'a> {
    /// The batches of a stretch, if its index entries say that they are alike.
    pub(super) fn of(segment: &'a Segment, stretch: &Stretch) -> Option<Self> {
        let until = stretch.until?;
        let batches = u64::from(until.even.batches);
        let (start, end) = (segment.extent_at(stretch.start()), segment.extent_at(until.into()));
        let each = |all: u64| (all.checked_rem(batches)? == 0 && batches <= all).then(|| all / batches);
        let length = each(end.position.checked_sub(start.position)?)?;
        let offsets = each(end.end.since(start.end))?;
        let times = stretch.since.filter(|_| until.even.timed).map(|since| since.max_timestamp..until.max_timestamp);
        Some(Self { file: &segment.file, start, length, offsets, batches, times })
    }

    /// The batch that holds an offset.
    pub(super) fn at_offset(&self, offset: Offset) -> Result<Option<Found>, DiskError> {
        let number = offset.since(self.start.end) / self.offsets;
        if self.batches <= number {
            return Ok(None);
        }
        let mut bytes = [0; HEADER_LENGTH];
        let read = self.file.get()?.read_at(&mut bytes, self.position(number))?;
        Ok(self.judge(number, &bytes[..read]))
    }

    /// The bytes of the first batch with a record of a time, or later; none if it is not where a steady clock would have
    /// put it.
    pub(super) fn at_time(&self, timestamp: Timestamp) -> Result<Option<Bytes>, DiskError> {
        let Some(guess) = self.times.as_ref().and_then(|times| share(times, timestamp, self.batches)) else {
            return Ok(None);
        };
        let reach = AROUND_A_TIME.div_ceil(self.length);
        let numbers = guess.saturating_sub(reach)..(guess + reach + 1).min(self.batches);
        let length = usize::try_from((numbers.end - numbers.start) * self.length).unwrap_or(usize::MAX);
        if HEADERS_READ < length {
            return Ok(None); // Going through headers reads less.
        }
        let mut bytes = vec![0; length];
        let read = self.file.get()?.read_at(&mut bytes, self.position(numbers.start))?;
        bytes.truncate(read);
        Ok(self.first_of_time(timestamp, numbers.start, &bytes))
    }

    /// Looks at neighbours: an earlier one without the time proves that none before it has it.
    fn first_of_time(&self, timestamp: Timestamp, first: u64, bytes: &[u8]) -> Option<Bytes> {
        let length = usize::try_from(self.length).ok()?;
        for (number, batch) in (first..).zip(bytes.chunks(length)) {
            if timestamp <= self.judge(number, batch)?.header.max_timestamp {
                let proven = number == 0 || first < number;
                return proven.then(|| Bytes::copy_from_slice(batch));
            }
        }
        None
    }

    /// The batch of a number, if it is what it should be.
    fn judge(&self, number: u64, bytes: &[u8]) -> Option<Found> {
        let header = BatchHeader::parse(bytes).ok()?;
        let prefix = *bytes.first_chunk()?;
        let base = self.start.end.saturating_add(number * self.offsets);
        let position = self.position(number);
        let as_told = header.base_offset == base
            && header.next_offset() == base.saturating_add(self.offsets)
            && header.total_length as u64 == self.length;
        as_told.then_some(Found { bytes: position..position + self.length, header, prefix })
    }

    fn position(&self, number: u64) -> u64 {
        self.start.position + number * self.length
    }
}

/// Which of so many batches has a time, if they came at regular intervals after the first moment and up to the last.
fn share(times: &Range<i64>, timestamp: Timestamp, batches: u64) -> Option<u64> {
    let since = |later: i64| Some(later.checked_sub(times.start)? as f64);
    let share = since(timestamp.as_millis())? / since(times.end)?;
    ((0.0..=1.0).contains(&share)).then(|| ((share * batches as f64).ceil() as u64).clamp(1, batches) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, MemDisk, SharedFile};
    use grower_protocol::batch::{BatchBuilder, Record, UnplacedBatch};
    use grower_protocol::compression::Codec;
    use grower_protocol::ids::LeaderEpoch;
    use std::path::Path;

    /// Four batches of one record each; the length of one.
    fn file() -> (SharedFile, u64) {
        let file = MemDisk::default().create(Path::new("log")).unwrap();
        let mut end = 0;
        for number in 0..4 {
            let mut builder = BatchBuilder::new(Codec::None);
            builder.push(&Record { timestamp: Timestamp::from_millis(10 + number), ..Record::default() });
            let batch = UnplacedBatch::built(builder.build(None));
            let batch = batch.place(Offset::new(number as u64), LeaderEpoch::new(1));
            file.write_all_at(batch.bytes(), end).unwrap();
            end += batch.bytes().len() as u64;
        }
        (file, end / 4)
    }

    /// Where a row says that the batch of an offset is, and how many bytes the one of its last time has.
    fn check(of: impl FnOnce(&mut Row<'_>), offset: u64) -> (Option<u64>, Option<u64>) {
        let (file, length) = file();
        let file = FileOnDemand::held(file);
        let start = Extent { position: 0, end: Offset::ZERO };
        let mut row = Row { file: &file, start, length, offsets: 1, batches: 4, times: Some(9..13) };
        of(&mut row);
        let found = row.at_offset(Offset::new(offset)).unwrap();
        let timed = row.at_time(Timestamp::from_millis(13)).unwrap();
        (found.map(|found| found.bytes.start / length), timed.map(|bytes| bytes.len() as u64 / length))
    }

    #[test]
    fn a_batch_is_where_the_row_says() {
        assert_eq!(check(|_| {}, 0), (Some(0), Some(1)));
        assert_eq!(check(|_| {}, 3), (Some(3), Some(1)));
    }

    #[test]
    fn what_is_not_as_the_row_says_is_no_answer() {
        assert_eq!(check(|_| {}, 4), (None, Some(1)), "past the row");
        assert_eq!(check(|row| row.start.end = Offset::new(1), 2), (None, None), "another base offset");
        assert_eq!(check(|row| (row.offsets, row.batches) = (2, 2), 1), (None, None), "fewer offsets");
        assert_eq!(check(|row| (row.start.position, row.offsets) = (row.length, 2), 0), (None, None), "more offsets");
        assert_eq!(check(|row| (row.length, row.batches) = (row.length * 2, 2), 0), (None, None), "shorter");
        assert_eq!(check(|row| row.start.position = 30, 0), (None, None), "not at the start of a batch");
        assert_eq!(check(|row| row.times = None, 1), (Some(1), None), "in no order of time");
        assert_eq!(check(|row| row.times = Some(9..9), 1), (Some(1), None), "in no time");
        assert_eq!(check(|row| row.times = Some(i64::MIN..i64::MAX), 1), (Some(1), None), "in a time without end");
    }
}
