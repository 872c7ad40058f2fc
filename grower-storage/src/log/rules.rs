//! Rules that both logs share.

use super::{AppendError, Appended, ChangeError, ReadError};
use crate::epochs::EpochHistory;
use crate::producers::SequenceCheck;
use grower_protocol::batch::BatchHeader;
use grower_protocol::ids::{LeaderEpoch, Offset};
use std::ops::Range;

/// Turns the check of a producer's batch into an answer; none means that it is to be appended.
pub(crate) fn check_duplicate(check: SequenceCheck, header: &BatchHeader) -> Result<Option<Appended>, AppendError> {
    let Some(stamp) = header.producer else { return Ok(None) };
    match check {
        SequenceCheck::Accept => Ok(None),
        SequenceCheck::Duplicate(offsets) => {
            Ok(Some(Appended { base_offset: offsets.start, next_offset: offsets.end, rolled: false, duplicate: true }))
        }
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

/// Checks that an epoch does not fall. The error is the present one.
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

/// For truncating and trimming: both ends of the log are allowed.
pub(crate) fn check_in_span(requested: Offset, span: Range<Offset>) -> Result<(), ChangeError> {
    let (log_start, log_end) = (span.start, span.end);
    if requested < log_start || log_end < requested {
        return Err(ChangeError::OffsetOutOfRange { requested, log_start, log_end });
    }
    Ok(())
}

/// For reading: the log end is allowed, there is just nothing yet.
pub(crate) fn check_readable(requested: Offset, span: Range<Offset>) -> Result<(), ReadError> {
    let (log_start, log_end) = (span.start, span.end);
    if requested < log_start || log_end < requested {
        return Err(ReadError::OffsetOutOfRange { requested, log_start, log_end });
    }
    Ok(())
}
