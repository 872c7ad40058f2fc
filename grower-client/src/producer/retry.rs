//! What an error means for the batch that met it: a table, and the tools for its rows.

use crate::error::RequestError;
use bytes::Bytes;
use grower_protocol::batch::{Batch, BatchBuilder, Record};
use grower_protocol::compression::Codec;
use grower_protocol::message::ErrorCode;

/// What becomes of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RetryAction {
    /// The same bytes are sent again.
    Resend {
        /// After a wait; otherwise as soon as the batches before it have been.
        after_backoff: bool,
    },
    /// It is surely not in the log and waits for the window to leave its halt.
    Refused,
    /// Likewise, and the producer id can no longer be used for this partition.
    Renumber,
    /// Its two halves are sent instead.
    Split,
    /// Its records fail.
    GiveUp,
}

impl RetryAction {
    /// Whether the error only follows from that of a batch before this one, which says why nothing goes on.
    pub(super) fn follows_from_another(self) -> bool {
        matches!(self, Self::Resend { after_backoff: false } | Self::Refused)
    }
}

/// What counts besides the error.
#[derive(Clone, Copy, Debug)]
pub(super) struct RetryContext {
    /// An attempt, this one included, may have been carried out.
    pub(super) in_doubt: bool,
    /// Nothing unresolved stands before it.
    pub(super) first: bool,
    /// A batch before it was given up, or has to get another number.
    pub(super) behind_gap: bool,
    /// Sending it twice writes it once.
    pub(super) idempotent: bool,
    /// It holds more than one record.
    pub(super) divisible: bool,
}

/// Decides.
pub(super) fn retry_action(error: &RequestError, case: RetryContext) -> RetryAction {
    let RetryContext { in_doubt, first, behind_gap, idempotent, divisible } = case;
    match error.code() {
        // A hole before it: no wonder behind a batch that was refused or given up.
        Some(ErrorCode::OutOfOrderSequence) if !first && !behind_gap => RetryAction::Resend { after_backoff: false },
        Some(ErrorCode::OutOfOrderSequence) if behind_gap && !in_doubt => RetryAction::Refused,
        // Nothing before it is missing, so the broker has forgotten this producer: after a day of silence, say. It may
        // have forgotten this very batch too, therefore not if it is in doubt.
        Some(ErrorCode::OutOfOrderSequence | ErrorCode::FencedProducer) if !in_doubt => RetryAction::Renumber,
        _ if is_too_large(error) && divisible && !in_doubt => RetryAction::Split,
        _ if !error.is_retriable() => RetryAction::GiveUp,
        // Nothing would recognise the second copy.
        _ if in_doubt && !idempotent => RetryAction::GiveUp,
        _ => RetryAction::Resend { after_backoff: true },
    }
}

/// Whether the client may have asked the wrong broker, or for a topic that is another one now.
pub(super) fn looks_outdated(error: &RequestError) -> bool {
    match error {
        RequestError::Connect(_) | RequestError::NotSent(_) | RequestError::Lost(_) => true,
        _ => matches!(
            error.code(),
            Some(
                ErrorCode::NotLeader
                    | ErrorCode::FencedLeaderEpoch
                    | ErrorCode::UnknownLeaderEpoch
                    | ErrorCode::UnknownTopicId
            )
        ),
    }
}

/// The first `count` records of a batch of ours, and the others, as two batches with their sizes before compression.
pub(super) fn halves(batch: &Bytes, codec: Codec, count: u32) -> ((Bytes, usize), (Bytes, usize)) {
    const OURS: &str = "the batch was built here";
    let records = Batch::check(batch.clone()).expect(OURS).records(usize::MAX).expect(OURS);
    let (mut head, mut tail) = (BatchBuilder::new(codec), BatchBuilder::new(codec));
    for view in records {
        let view = view.expect(OURS);
        let record = Record { timestamp: view.timestamp, key: view.key, value: view.value, headers: view.headers };
        if head.count() < count { head.push(&record) } else { tail.push(&record) }
    }
    let built = |half: BatchBuilder| {
        let plain_bytes = half.size();
        (half.build(None).freeze(), plain_bytes)
    };
    (built(head), built(tail))
}

/// Whether a smaller batch may be taken.
pub(super) fn is_too_large(error: &RequestError) -> bool {
    matches!(error, RequestError::TooLarge { .. }) || error.code() == Some(ErrorCode::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ConnectionError;
    use grower_protocol::message::Failure;

    /// First in line, sent once, refused definitely.
    const PLAIN: RetryContext =
        RetryContext { in_doubt: false, first: true, behind_gap: false, idempotent: true, divisible: false };
    const LATER: RetryAction = RetryAction::Resend { after_backoff: true };

    fn says(code: ErrorCode) -> RequestError {
        Failure::new(code, "no").into()
    }

    fn check(error: &RequestError, case: RetryContext, expected: RetryAction) {
        assert_eq!(retry_action(error, case), expected, "{error:?} {case:?}");
    }

    #[test]
    fn a_retriable_error_resends_the_batch() {
        for code in [ErrorCode::NotLeader, ErrorCode::DiskFull, ErrorCode::CorruptBatch, ErrorCode::TimedOut] {
            check(&says(code), PLAIN, LATER);
        }
        let lost = RequestError::Lost(ConnectionError::Closed { address: "b".into() });
        check(&lost, RetryContext { in_doubt: true, ..PLAIN }, LATER);
    }

    #[test]
    fn a_definite_error_gives_up_the_batch() {
        for code in [ErrorCode::InvalidRecord, ErrorCode::UnknownTopic, ErrorCode::Internal, ErrorCode::TooLarge] {
            check(&says(code), PLAIN, RetryAction::GiveUp);
        }
    }

    #[test]
    fn without_idempotence_nothing_in_doubt_is_sent_again() {
        let lost = RequestError::Lost(ConnectionError::Closed { address: "b".into() });
        check(&lost, RetryContext { in_doubt: true, idempotent: false, ..PLAIN }, RetryAction::GiveUp);
        let unsent = RequestError::NotSent(ConnectionError::Closed { address: "b".into() });
        check(&unsent, RetryContext { idempotent: false, ..PLAIN }, LATER);
    }

    #[test]
    fn an_out_of_order_sequence_is_judged_by_the_batches_before_it() {
        let error = says(ErrorCode::OutOfOrderSequence);
        check(&error, RetryContext { first: false, ..PLAIN }, RetryAction::Resend { after_backoff: false });
        check(&error, RetryContext { behind_gap: true, ..PLAIN }, RetryAction::Refused);
        check(&error, PLAIN, RetryAction::Renumber);
        check(&error, RetryContext { in_doubt: true, ..PLAIN }, RetryAction::GiveUp);
        check(&error, RetryContext { in_doubt: true, behind_gap: true, ..PLAIN }, RetryAction::GiveUp);
    }

    #[test]
    fn only_a_batch_certainly_not_in_the_log_is_split() {
        let divisible = RetryContext { divisible: true, ..PLAIN };
        check(&says(ErrorCode::TooLarge), divisible, RetryAction::Split);
        check(&RequestError::TooLarge { bytes: 9, limit: 8 }, divisible, RetryAction::Split);
        check(&says(ErrorCode::TooLarge), RetryContext { in_doubt: true, ..divisible }, RetryAction::GiveUp);
    }
}
