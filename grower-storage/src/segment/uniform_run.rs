//! Direct lookup of one batch, where the index says that its neighbours are uniform.
//!
//! Otherwise a lookup scans from an index entry: a read of some KiB, and most of the time is spent waiting for
//! uncached memory. The index is a hint: the batch found is validated; on a mismatch we scan.

use super::scanner::{FoundBatch, HEADERS_READ};
use super::{LogPosition, Segment};
use crate::disk::{DiskError, FileOnDemand};
use bytes::Bytes;
use grower_index::Interval;
use grower_protocol::batch::{BatchHeader, HEADER_LENGTH};
use grower_protocol::ids::{Offset, Timestamp};
use std::ops::Range;

/// How much is read on either side of the estimated position of a time.
const AROUND_A_TIME: u64 = 128;

/// Neighbouring batches of one length and one number of offsets.
pub(super) struct UniformRun<'a> {
    file: &'a FileOnDemand,
    start: LogPosition,
    /// Length of each batch, in bytes.
    length: u64,
    /// Offsets of each batch.
    offsets: u64,
    batches: u64,
    /// The maximum timestamps before the run and at its end, if they never fall.
    times: Option<Range<i64>>,
}

impl<'a> UniformRun<'a> {
    /// The batches of an interval, if its index entries say that they are uniform.
    pub(super) fn of(segment: &'a Segment, interval: &Interval) -> Option<Self> {
        let until = interval.until?;
        let batches = u64::from(until.uniform.batches);
        let (start, end) = (segment.log_position(interval.start()), segment.log_position(until.into()));
        let each = |all: u64| (all.checked_rem(batches)? == 0 && batches <= all).then(|| all / batches);
        let length = each(end.bytes.checked_sub(start.bytes)?)?;
        let offsets = each(end.offset.since(start.offset))?;
        let times = interval
            .since
            .filter(|_| until.uniform.in_time_order)
            .map(|since| since.max_timestamp..until.max_timestamp);
        Some(Self { file: &segment.file, start, length, offsets, batches, times })
    }

    /// Reads the batch that holds an offset.
    pub(super) fn at_offset(&self, offset: Offset) -> Result<Option<FoundBatch>, DiskError> {
        let number = offset.since(self.start.offset) / self.offsets;
        if self.batches <= number {
            return Ok(None);
        }
        let mut bytes = [0; HEADER_LENGTH];
        let read = self.file.get()?.read_at(&mut bytes, self.position(number))?;
        Ok(self.validate(number, &bytes[..read]))
    }

    /// Reads the first batch with a record of a time, or later; none if it is not where a steady clock would have put
    /// it.
    pub(super) fn at_time(&self, timestamp: Timestamp) -> Result<Option<Bytes>, DiskError> {
        let Some(guess) = self.times.as_ref().and_then(|times| share(times, timestamp, self.batches)) else {
            return Ok(None);
        };
        let reach = AROUND_A_TIME.div_ceil(self.length);
        let numbers = guess.saturating_sub(reach)..(guess + reach + 1).min(self.batches);
        let length = usize::try_from((numbers.end - numbers.start) * self.length).unwrap_or(usize::MAX);
        if HEADERS_READ < length {
            return Ok(None); // Scanning headers reads less.
        }
        let mut bytes = vec![0; length];
        let read = self.file.get()?.read_at(&mut bytes, self.position(numbers.start))?;
        bytes.truncate(read);
        Ok(self.first_of_time(timestamp, numbers.start, &bytes))
    }

    /// Compares neighbours: an earlier batch without the time proves that none before it has it.
    fn first_of_time(&self, timestamp: Timestamp, first: u64, bytes: &[u8]) -> Option<Bytes> {
        let length = usize::try_from(self.length).ok()?;
        for (number, batch) in (first..).zip(bytes.chunks(length)) {
            if timestamp <= self.validate(number, batch)?.header.max_timestamp {
                let proven = number == 0 || first < number;
                return proven.then(|| Bytes::copy_from_slice(batch));
            }
        }
        None
    }

    /// The batch of a number, if it is the expected one.
    fn validate(&self, number: u64, bytes: &[u8]) -> Option<FoundBatch> {
        let header = BatchHeader::parse(bytes).ok()?;
        let prefix = *bytes.first_chunk()?;
        let base = self.start.offset.saturating_add(number * self.offsets);
        let position = self.position(number);
        let as_told = header.base_offset == base
            && header.next_offset() == base.saturating_add(self.offsets)
            && header.total_length as u64 == self.length;
        as_told.then_some(FoundBatch { bytes: position..position + self.length, header, prefix })
    }

    fn position(&self, number: u64) -> u64 {
        self.start.bytes + number * self.length
    }
}

/// Which of `batches` batches has a time, if they came at regular intervals within `times`.
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

    /// The batch in which a run finds an offset, and how many batches the answer for its last time has.
    fn check(of: impl FnOnce(&mut UniformRun<'_>), offset: u64) -> (Option<u64>, Option<u64>) {
        let (file, length) = file();
        let file = FileOnDemand::held(file);
        let start = LogPosition::start_of(Offset::ZERO);
        let mut run = UniformRun { file: &file, start, length, offsets: 1, batches: 4, times: Some(9..13) };
        of(&mut run);
        let found = run.at_offset(Offset::new(offset)).unwrap();
        let timed = run.at_time(Timestamp::from_millis(13)).unwrap();
        (found.map(|found| found.bytes.start / length), timed.map(|bytes| bytes.len() as u64 / length))
    }

    #[test]
    fn a_uniform_run_finds_its_batches() {
        assert_eq!(check(|_| {}, 0), (Some(0), Some(1)));
        assert_eq!(check(|_| {}, 3), (Some(3), Some(1)));
    }

    #[test]
    fn a_batch_that_differs_from_its_run_is_not_returned() {
        assert_eq!(check(|_| {}, 4), (None, Some(1)), "past the run");
        assert_eq!(check(|run| run.start.offset = Offset::new(1), 2), (None, None), "another base offset");
        assert_eq!(check(|run| (run.offsets, run.batches) = (2, 2), 1), (None, None), "fewer offsets");
        assert_eq!(check(|run| (run.start.bytes, run.offsets) = (run.length, 2), 0), (None, None), "more offsets");
        assert_eq!(check(|run| (run.length, run.batches) = (run.length * 2, 2), 0), (None, None), "shorter");
        assert_eq!(check(|run| run.start.bytes = 30, 0), (None, None), "not at the start of a batch");
        assert_eq!(check(|run| run.times = None, 1), (Some(1), None), "in no order of time");
        assert_eq!(check(|run| run.times = Some(9..9), 1), (Some(1), None), "in no time");
        assert_eq!(check(|run| run.times = Some(i64::MIN..i64::MAX), 1), (Some(1), None), "in a time without end");
    }
}
