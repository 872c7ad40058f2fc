//! What both logs decide in the same way.

use super::{AppendError, Appended, ChangeError, LogOptions, ReadError, TimedOffset};
use crate::epochs::EpochHistory;
use crate::producers::{ProducerStates, Verdict};
use grower_protocol::batch::{Batch, BatchHeader};
use grower_protocol::ids::{LeaderEpoch, Offset, Timestamp};
use std::ops::Range;

/// The most a batch may grow to when a lookup by time decompresses it; larger ones were refused on their way in.
pub(crate) const RECORDS_LENGTH_MAX: usize = 256 << 20;

/// What decides whether a segment takes another batch, and whether it rolls without one.
pub(crate) struct Shape {
    pub(crate) bytes: u64,
    pub(crate) records: u64,
    /// Since its first append.
    pub(crate) age_ms: u64,
    /// Since its last append.
    pub(crate) quiet_ms: u64,
}

impl Shape {
    /// An empty segment takes anything: a batch larger than the limit gets one of its own.
    pub(crate) fn takes(&self, batch: &BatchHeader, options: &LogOptions) -> bool {
        let bytes = self.bytes + batch.total_length as u64;
        let records = self.records + u64::from(batch.last_offset_delta) + 1;
        self.bytes == 0
            || (bytes <= u64::from(options.segment_bytes)
                && records <= options.segment_messages.unwrap_or(u64::MAX)
                && records <= u64::from(u32::MAX) // The index counts offsets from the segment's base in 32 bits.
                && self.age_ms < options.segment_ms)
    }

    /// Whether it rolls although nothing is appended. An empty one never does, so that a quiet log rolls once.
    pub(crate) fn is_old(&self, options: &LogOptions) -> bool {
        0 < self.bytes && (options.segment_ms <= self.age_ms || options.segment_quiet_ms <= self.quiet_ms)
    }
}

/// Turns the verdict on a producer's batch into an answer: none means append it.
pub(crate) fn admit(verdict: Verdict, header: &BatchHeader) -> Result<Option<Appended>, AppendError> {
    let Some(stamp) = header.producer else { return Ok(None) };
    match verdict {
        Verdict::Accept => Ok(None),
        Verdict::Duplicate(offsets) => {
            Ok(Some(Appended { base_offset: offsets.start, next_offset: offsets.end, rolled: false, duplicate: true }))
        }
        Verdict::OutOfOrder { expected } => Err(AppendError::OutOfOrderSequence {
            producer: stamp.id,
            found: stamp.base_sequence.unwrap_or_default(),
            expected,
        }),
        Verdict::Fenced { current } => {
            Err(AppendError::FencedProducer { producer: stamp.id, found: stamp.epoch, current })
        }
    }
}

/// Keeps the producers within their limit. Forgetting some at once, it need not look at all of them often.
pub(crate) fn bound(producers: &mut ProducerStates, now: Timestamp, options: &LogOptions) {
    let most = options.producers_max;
    if most < producers.len() {
        producers.expire(now, options.producer_expiry_ms, most - most / 8);
    }
}

/// An epoch never falls back. The error is the present one.
pub(crate) fn check_epoch(epochs: &EpochHistory, found: LeaderEpoch) -> Result<(), LeaderEpoch> {
    match epochs.latest() {
        Some(current) if found < current => Err(current),
        _ => Ok(()),
    }
}

/// The log end after a batch was appended at `end`.
pub(crate) fn next_offset(end: Offset, batch: &BatchHeader) -> Result<Offset, AppendError> {
    end.checked_add(u64::from(batch.last_offset_delta) + 1).ok_or(AppendError::NoOffsetsLeft { end })
}

/// For truncating and trimming: both ends of the log are fine.
pub(crate) fn check_in_span(requested: Offset, span: Range<Offset>) -> Result<(), ChangeError> {
    let (log_start, log_end) = (span.start, span.end);
    if requested < log_start || log_end < requested {
        return Err(ChangeError::OffsetOutOfRange { requested, log_start, log_end });
    }
    Ok(())
}

/// For reading: the log end is fine, there is just nothing yet.
pub(crate) fn check_readable(requested: Offset, span: Range<Offset>) -> Result<(), ReadError> {
    let (log_start, log_end) = (span.start, span.end);
    if requested < log_start || log_end < requested {
        return Err(ReadError::OffsetOutOfRange { requested, log_start, log_end });
    }
    Ok(())
}

/// The first record of `batch` within `offsets` that is not earlier than `timestamp`. Records that cannot be read are
/// passed over: finding a later one is better than finding none.
pub(crate) fn find_time(batch: &Batch, timestamp: Timestamp, offsets: &Range<Offset>) -> Option<TimedOffset> {
    let records = batch.records(RECORDS_LENGTH_MAX).ok()?;
    let record = records
        .map_while(Result::ok)
        .find(|record| timestamp <= record.timestamp && offsets.contains(&record.offset))?;
    Some(TimedOffset { offset: record.offset, timestamp: record.timestamp, leader_epoch: batch.header().leader_epoch })
}
