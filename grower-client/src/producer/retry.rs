//! Decides how a batch continues after an error, and splits batches that are too large.

use crate::error::RequestError;
use bytes::Bytes;
use grower_protocol::batch::{Batch, BatchBuilder, Record};
use grower_protocol::compression::Codec;
use grower_protocol::message::ErrorCode;

/// The next action for a batch after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RetryAction {
    /// Send the same bytes again.
    Resend {
        /// After a backoff; otherwise as soon as the batches before it are sent.
        after_backoff: bool,
    },
    /// Hold the batch, which is certainly not in the log, until the window's pause ends; then send it under a new
    /// sequence.
    HoldForNewSequence,
    /// Hold the batch until the producer has a new id; then send it under that id. The broker refuses the current id.
    HoldForNewProducerId,
    /// Send its two halves instead.
    Split,
    /// Fail its records.
    GiveUp,
}

impl RetryAction {
    /// Whether the error only follows from an earlier batch's error, which names the cause.
    pub(super) fn follows_from_another(self) -> bool {
        matches!(self, Self::Resend { after_backoff: false } | Self::HoldForNewSequence)
    }
}

/// The state of the batch and its producer that the decision depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct RetryContext {
    /// This or an earlier attempt may have been carried out.
    pub(super) in_doubt: bool,
    /// No unresolved batch is before it.
    pub(super) first: bool,
    /// A batch before it was given up or needs a new sequence.
    pub(super) behind_gap: bool,
    /// The broker writes a batch once even if it is sent twice.
    pub(super) idempotent: bool,
    /// The batch holds more than one record.
    pub(super) divisible: bool,
}

/// Decides how the batch continues.
pub(super) fn retry_action(error: &RequestError, case: RetryContext) -> RetryAction {
    let RetryContext { in_doubt, first, behind_gap, idempotent, divisible } = case;
    match error.code() {
        // The broker misses an earlier batch, which is still unresolved or was refused or given up.
        Some(ErrorCode::OutOfOrderSequence) if !first && !behind_gap => RetryAction::Resend { after_backoff: false },
        Some(ErrorCode::OutOfOrderSequence) if behind_gap && !in_doubt => RetryAction::HoldForNewSequence,
        // No earlier batch is missing, so the broker has forgotten this producer, for example after an idle day. The
        // broker may also have forgotten this batch, so a batch in doubt is not renumbered.
        Some(ErrorCode::OutOfOrderSequence | ErrorCode::FencedProducer) if !in_doubt => {
            RetryAction::HoldForNewProducerId
        }
        _ if is_too_large(error) && divisible && !in_doubt => RetryAction::Split,
        _ if !error.is_retriable() => RetryAction::GiveUp,
        // The broker would not recognise the second copy.
        _ if in_doubt && !idempotent => RetryAction::GiveUp,
        _ => RetryAction::Resend { after_backoff: true },
    }
}

/// Whether the error suggests outdated metadata: the wrong broker, or a recreated topic.
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

/// Splits a batch after its first `count` records; returns both halves with their sizes before compression.
pub(super) fn halves(batch: &Bytes, codec: Codec, count: u32) -> ((Bytes, usize), (Bytes, usize)) {
    const OURS: &str = "this producer built the batch";
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

/// Whether the broker may accept a smaller batch.
pub(super) fn is_too_large(error: &RequestError) -> bool {
    matches!(error, RequestError::TooLarge { .. }) || error.code() == Some(ErrorCode::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ConnectionError;
    use grower_protocol::message::Failure;

    /// The first unresolved batch, sent once, definitely refused.
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
        check(&error, RetryContext { behind_gap: true, ..PLAIN }, RetryAction::HoldForNewSequence);
        check(&error, PLAIN, RetryAction::HoldForNewProducerId);
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
