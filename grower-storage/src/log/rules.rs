//! Rules that both logs share.

use super::{AppendError, Appended, ChangeError, FenceError, LogOptions, ReadError};
use crate::epochs::EpochHistory;
use crate::producers::{ProducerStates, SequenceCheck};
use grower_protocol::batch::{BatchHeader, UnplacedBatch};
use grower_protocol::ids::{LastWritten, LeaderEpoch, Offset, ProducerId, ProducerIdentity, Timestamp};
use std::ops::Range;

/// Turns the check of a producer's batch into an answer; none means that it is to be appended.
pub(crate) fn check_duplicate(check: SequenceCheck, header: &BatchHeader) -> Result<Option<Appended>, AppendError> {
    let Some(stamp) = header.producer else { return Ok(None) };
    match check {
        SequenceCheck::Accept => Ok(None),
        SequenceCheck::Duplicate(offsets) => Ok(Some(Appended::retry(offsets))),
        SequenceCheck::OutOfOrder { expected } => Err(AppendError::OutOfOrderSequence {
            producer: stamp.id,
            found: stamp.base_sequence.unwrap_or_default(),
            expected,
        }),
        SequenceCheck::Fenced { current } => {
            Err(AppendError::FencedProducer { producer: stamp.id, found: stamp.epoch, current })
        }
    }
}

/// Begins an epoch of a producer. A fence adds a producer as an append does, so their number is bounded.
pub(crate) fn fence_producer(
    producers: &mut ProducerStates,
    (producer, former): (ProducerIdentity, &[ProducerId]),
    now: Timestamp,
    options: &LogOptions,
) -> Result<Option<LastWritten>, FenceError> {
    let last = producers.fence(producer, former, now).map_err(|current| FenceError::Fenced { producer, current })?;
    producers.bound(now, options);
    Ok(last)
}

/// Begins an epoch at the log end and returns the new history; none if it has begun already. An older epoch than the
/// latest is refused.
pub(crate) fn begin_epoch(
    epochs: &EpochHistory,
    epoch: LeaderEpoch,
    end: Offset,
) -> Result<Option<EpochHistory>, ChangeError> {
    match epochs.latest() {
        Some(current) if epoch < current => Err(ChangeError::StaleEpoch { found: epoch, current }),
        Some(current) if epoch == current => Ok(None),
        _ => {
            let mut begun = epochs.clone();
            begun.begin(epoch, end);
            debug_assert_eq!(begun.latest(), Some(epoch), "the epoch that began is the latest");
            Ok(Some(begun))
        }
    }
}

/// The log end after the batch was appended at `end`, if the batch may be appended there.
pub(crate) fn next_offset(end: Offset, batch: &UnplacedBatch) -> Result<Offset, AppendError> {
    if let Some(expected) = batch.expected_end().filter(|expected| *expected != end) {
        return Err(AppendError::UnexpectedEnd { expected, end });
    }
    let records = u64::from(batch.header().last_offset_delta) + 1;
    end.checked_add(records).ok_or(AppendError::NoOffsetsLeft { end })
}

/// Whether a trim to `start` moves the log start. Beyond the log end it is refused.
pub(crate) fn moves_start(start: Offset, span: Range<Offset>) -> Result<bool, ChangeError> {
    if start <= span.start {
        return Ok(false);
    }
    check_in_span(start, span).map(|()| true)
}

/// For truncating and trimming: both ends of the log are allowed.
pub(crate) fn check_in_span(requested: Offset, span: Range<Offset>) -> Result<(), ChangeError> {
    let (log_start, log_end) = (span.start, span.end);
    is_within(requested, &span).then_some(()).ok_or(ChangeError::OffsetOutOfRange { requested, log_start, log_end })
}

/// For reading: the log end is allowed, there is just nothing yet.
pub(crate) fn check_readable(requested: Offset, span: Range<Offset>) -> Result<(), ReadError> {
    let (log_start, log_end) = (span.start, span.end);
    is_within(requested, &span).then_some(()).ok_or(ReadError::OffsetOutOfRange { requested, log_start, log_end })
}

fn is_within(offset: Offset, span: &Range<Offset>) -> bool {
    (span.start..=span.end).contains(&offset)
}

/// Checks what holds in every log between two changes.
pub(crate) fn check_ends(span: &Range<Offset>, durable_end: Offset) {
    debug_assert!(span.start <= durable_end, "{span:?} starts above the durable end {durable_end}");
    debug_assert!(durable_end <= span.end, "{durable_end} is durable in {span:?}");
}
