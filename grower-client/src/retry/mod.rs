//! The retry rules: what each kind of call does after an error, and after which wait. Pure.
//!
//! A call asks this module and carries out the action. The broker promises of each code whether the same request may
//! succeed later ([`ErrorCode::is_retriable`]) and whether it may have taken effect ([`ErrorCode::outcome`]);
//! [`RequestError`] says the same of a broken connection. A call follows these promises, except where a rule here names
//! a code or a fault. The test prints all rules as one table.
//!
//! | rule | call |
//! | --- | --- |
//! | [`after_produce`] | the producer, for one batch |
//! | [`after_fence`] | the producer, for the fence of one partition |
//! | [`is_identity_lost`] | the producer, for the renewal of a named identity |
//! | [`is_topic_deleted`] | the producer, for the lookup of a topic |
//! | [`after_fetch`] | the consumer, for one partition of a fetch |
//! | [`after_start_lookup`] | the consumer, for the start of one partition |
//! | [`after_heartbeat`], [`has_left`] | the member of a group |
//! | [`Attempts`] | all other requests that may be carried out twice; admin calls with an effect are sent once |
//! | [`wait`] | all that are repeated, for the time until the next attempt; dialing has a backoff of its own |

mod attempts;

pub(crate) use attempts::Attempts;

use crate::backoff;
use crate::error::{ConnectError, RequestError};
use grower_protocol::message::{ErrorCode, Failure, FailureContext, Outcome, RecordRange};
use std::time::Duration;

/// Returns the wait before the next attempt, after this many failures in a row, with jitter by `random`. `cause` is the
/// last error, or `None` if the call is repeated for another reason. All errors have the same wait.
pub(crate) fn wait(_cause: Option<&RequestError>, failures: u32, random: u64) -> Duration {
    backoff::delay(failures, random)
}

/// The next action for a batch after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProduceAction {
    /// Send the same bytes again.
    Resend(ResendAfter),
    /// Hold the batch, which is certainly not in the log, until the window's pause ends; then send it under a new
    /// sequence.
    HoldForNewSequence,
    /// Hold the batch until a fence begins the producer's next epoch. The fence tells whether a batch in doubt is in the
    /// log.
    HoldForFence,
    /// Fail the records that the broker names, and send the others under a new sequence.
    FailNamedRecords,
    /// Send its two halves instead.
    Split,
    /// Fail its records.
    GiveUp,
}

/// The event after which a batch is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResendAfter {
    /// The batches before it are sent.
    EarlierBatches,
    /// The [`wait`] is over.
    Wait,
}

impl ProduceAction {
    /// Whether the error only follows from an earlier batch's error, which names the cause.
    pub(crate) fn follows_from_another(self) -> bool {
        matches!(self, Self::Resend(ResendAfter::EarlierBatches) | Self::HoldForNewSequence)
    }
}

/// The state of the batch and its producer that the rule depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProduceContext {
    /// An earlier attempt may have been carried out.
    pub(crate) in_doubt: bool,
    /// The batch was sent to a topic that was deleted and created again since.
    pub(crate) topic_recreated: bool,
    /// No unresolved batch is before it.
    pub(crate) is_first: bool,
    /// A batch before it was given up or needs a new sequence.
    pub(crate) behind_gap: bool,
    /// The broker writes a batch once even if it is sent twice.
    pub(crate) idempotent: bool,
    /// The batch holds more than one record and need not be written whole.
    pub(crate) divisible: bool,
    /// The batch may be split to find the records that the broker refuses without naming them.
    pub(crate) may_search: bool,
}

/// Decides how a batch continues; the second result tells whether it is in doubt from now on.
pub(crate) fn after_produce(error: &RequestError, context: ProduceContext) -> (ProduceAction, bool) {
    if context.topic_recreated {
        return (ProduceAction::HoldForFence, false); // The log that the batch may be in is deleted.
    }
    let in_doubt = context.in_doubt || error.outcome() == Outcome::Unknown;
    (produce_action(error, ProduceContext { in_doubt, ..context }), in_doubt)
}

fn produce_action(error: &RequestError, context: ProduceContext) -> ProduceAction {
    let ProduceContext { in_doubt, is_first, behind_gap, idempotent, divisible, may_search, .. } = context;
    match error.code() {
        // The broker misses an earlier batch, which is still unresolved or was refused or given up.
        Some(ErrorCode::OutOfOrderSequence) if !is_first && !behind_gap => {
            ProduceAction::Resend(ResendAfter::EarlierBatches)
        }
        Some(ErrorCode::OutOfOrderSequence) if behind_gap && !in_doubt => ProduceAction::HoldForNewSequence,
        // No earlier batch is missing: the broker has forgotten this producer, for example after an idle day, or knows a
        // later epoch. A batch in doubt may be in the log.
        Some(ErrorCode::OutOfOrderSequence | ErrorCode::FencedProducer) if idempotent => ProduceAction::HoldForFence,
        // The broker may have forgotten the producer, and the batch itself may have moved the end.
        Some(ErrorCode::UnexpectedEnd) if in_doubt && idempotent => ProduceAction::HoldForFence,
        _ if !refused_records(error).is_empty() && divisible && !in_doubt => ProduceAction::FailNamedRecords,
        _ if is_too_large(error) && divisible && !in_doubt => ProduceAction::Split,
        // A rule that each record must keep, broken by some of them.
        Some(ErrorCode::InvalidRecord | ErrorCode::InvalidTimestamp) if may_search && divisible && !in_doubt => {
            ProduceAction::Split
        }
        _ if !error.is_retriable() => ProduceAction::GiveUp,
        // The broker would not recognise the second copy.
        _ if in_doubt && !idempotent => ProduceAction::GiveUp,
        _ => ProduceAction::Resend(ResendAfter::Wait),
    }
}

/// The next action of a producer after it could not fence a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FenceAction {
    /// Fence again after a backoff.
    Retry,
    /// Request another identity: the broker refuses this one.
    NewIdentity,
}

/// Decides how a producer continues after it could not fence a partition.
pub(crate) fn after_fence(error: &RequestError, is_named: bool) -> FenceAction {
    let lacks_fences = matches!(error, RequestError::Connect(ConnectError::MissingFeature { .. }));
    match error.code() {
        Some(ErrorCode::FencedProducer) => FenceAction::NewIdentity,
        Some(ErrorCode::Unsupported) if !is_named => FenceAction::NewIdentity,
        _ if lacks_fences && !is_named => FenceAction::NewIdentity,
        _ => FenceAction::Retry, // The records wait as long as they may.
    }
}

/// Whether a failed renewal means that the producer's name has another holder, or was deleted.
pub(crate) fn is_identity_lost(error: &RequestError) -> bool {
    matches!(error.code(), Some(ErrorCode::FencedProducer | ErrorCode::UnknownProducer))
}

/// Returns the records that the broker names as the reason for which it refused a batch, as ranges in order.
pub(crate) fn refused_records(error: &RequestError) -> &[RecordRange] {
    match error {
        RequestError::Failed(Failure { context: Some(FailureContext::Records(records)), .. }) => records,
        _ => &[],
    }
}

/// Whether the broker may accept a smaller batch.
pub(crate) fn is_too_large(error: &RequestError) -> bool {
    matches!(error, RequestError::TooLarge { .. }) || error.code() == Some(ErrorCode::TooLarge)
}

/// Whether the error suggests that the cached metadata is outdated: the wrong broker, or a recreated topic.
pub(crate) fn suggests_outdated_metadata(error: &RequestError) -> bool {
    use ErrorCode as E;
    let is_fault = matches!(error, RequestError::Connect(_) | RequestError::NotSent(_) | RequestError::Lost(_));
    let codes = [E::NotLeader, E::FencedLeaderEpoch, E::UnknownLeaderEpoch, E::UnknownTopicId];
    is_fault || error.code().is_some_and(|code| codes.contains(&code))
}

/// Whether a failed lookup means that the topic is deleted: its records fail. Other failed lookups are repeated.
pub(crate) fn is_topic_deleted(error: &RequestError) -> bool {
    error.code() == Some(ErrorCode::UnknownTopic)
}

/// The next action for a partition after its fetch failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FetchAction {
    /// Fetch again after a backoff.
    Retry,
    /// Refresh the topic, which was deleted, recreated or changed.
    RefreshTopic,
    /// Look up where the log starts and ends, and compare the position.
    LookUpLog,
    /// Report the error to the reader, and fetch again after a pause.
    Report,
    /// Report the first such error to the reader, and stay silent until the partition is served again.
    ReportOnce,
}

/// Decides how a partition continues after its fetch failed.
pub(crate) fn after_fetch(error: &RequestError) -> FetchAction {
    match error.code() {
        Some(ErrorCode::OffsetOutOfRange) => FetchAction::LookUpLog,
        Some(ErrorCode::UnknownTopic | ErrorCode::UnknownTopicId | ErrorCode::UnknownPartition) => {
            FetchAction::RefreshTopic
        }
        Some(ErrorCode::PartitionOffline) => FetchAction::ReportOnce,
        _ if error.is_retriable() => FetchAction::Retry,
        _ => FetchAction::Report,
    }
}

/// The next action for a partition after the lookup of its start failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StartAction {
    /// Look the start up again.
    Retry,
    /// Report the error to the reader, and look the start up again: other partitions are served.
    ReportAndRetry,
    /// Fail a consumer that is being built.
    Fail,
}

/// Decides how a partition continues after the lookup of its start failed.
pub(crate) fn after_start_lookup(error: &RequestError) -> StartAction {
    match error.code() {
        Some(ErrorCode::PartitionOffline) => StartAction::ReportAndRetry,
        _ if error.is_retriable() => StartAction::Retry,
        _ => StartAction::Fail,
    }
}

/// Whether the group leaves the start to this consumer: the group has members and this consumer is not one of them.
pub(crate) fn leaves_start_to_consumer(error: &RequestError) -> bool {
    error.code() == Some(ErrorCode::GroupNotEmpty)
}

/// The next action of a member after its heartbeat failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeartbeatAction {
    /// Send another one after a backoff.
    Retry,
    /// Warn once, and send another one after a backoff: the wait may be long.
    WarnAndRetry,
    /// Drop all partitions and join again at once.
    Rejoin,
    /// Drop all partitions and leave for good: another process has the instance name.
    Leave,
    /// Report the error to the reader, and send another one after a backoff. Joining fails.
    Report,
}

/// Decides how a member continues after its heartbeat failed.
pub(crate) fn after_heartbeat(error: &RequestError, has_joined: bool) -> HeartbeatAction {
    match error.code() {
        Some(ErrorCode::FencedInstance) => HeartbeatAction::Leave,
        Some(ErrorCode::UnknownMember | ErrorCode::FencedMember) if has_joined => HeartbeatAction::Rejoin,
        Some(ErrorCode::MemoryFull) if !has_joined => HeartbeatAction::WarnAndRetry,
        _ if error.is_retriable() => HeartbeatAction::Retry,
        _ => HeartbeatAction::Report,
    }
}

/// Whether a failed leave request means that the member has left: an earlier answer may have been lost.
pub(crate) fn has_left(error: &RequestError) -> bool {
    matches!(error.code(), Some(ErrorCode::UnknownMember | ErrorCode::UnknownGroup))
}

#[cfg(test)]
mod tests;
