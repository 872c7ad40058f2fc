//! The rules as a table, and the cases that depend on more than the error.

use super::*;
use crate::error::ConnectionError;
use ProduceAction::{FailNamedRecords, GiveUp, HoldForFence, HoldForNewSequence, Resend, Split};
use grower_protocol::message::Failure;
use std::fmt::{Debug, Write as _};

/// The first unresolved batch, sent once, definitely refused.
const PLAIN: ProduceContext = ProduceContext {
    in_doubt: false,
    topic_recreated: false,
    is_first: true,
    behind_gap: false,
    idempotent: true,
    divisible: false,
    may_search: true,
};
const RESEND_LATER: ProduceAction = Resend(ResendAfter::Wait);

fn refusal(code: ErrorCode) -> RequestError {
    Failure::new(code, "no").into()
}

fn closed() -> ConnectionError {
    ConnectionError::Closed { address: "b".into() }
}

fn check(error: &RequestError, context: ProduceContext, expected: ProduceAction) {
    assert_eq!(after_produce(error, context).0, expected, "{error:?} {context:?}");
}

/// Every error code and every other fault, each with its name.
fn errors() -> Vec<(String, RequestError)> {
    let codes = ErrorCode::ALL.iter().copied().chain([ErrorCode::Unrecognised(300)]);
    let mut errors: Vec<_> = codes.map(|code| (format!("{code:?}"), refusal(code))).collect();
    let missing = ConnectError::MissingFeature { address: "b".into(), version: "1".into(), feature: "f".into() };
    let unreachable = ConnectError::Silent { address: "b".into(), after: Duration::ZERO };
    for (name, error) in [
        ("(not connected)", RequestError::Connect(unreachable)),
        ("(missing feature)", RequestError::Connect(missing)),
        ("(not sent)", RequestError::NotSent(closed())),
        ("(not sent in time)", RequestError::NotSentInTime { after: Duration::ZERO }),
        ("(connection lost)", RequestError::Lost(closed())),
        ("(timed out)", RequestError::TimedOut { after: Duration::ZERO }),
        ("(unexpected answer)", RequestError::Unexpected { address: "b".into(), request: "r" }),
        ("(request too large)", RequestError::TooLarge { bytes: 9, limit: 8 }),
    ] {
        errors.push((name.to_owned(), error));
    }
    errors
}

fn row(columns: [&dyn Debug; 5]) -> String {
    let cell = |column: &dyn Debug| format!("{column:?}").replace("Resend(Wait)", "Resend");
    let mut row = String::new();
    for (column, width) in columns.into_iter().zip([21, 13, 15, 10, 0]) {
        let _ = write!(row, "{:width$} ", cell(column).trim_matches('"'));
    }
    row.trim_end().to_owned()
}

#[test]
fn each_call_has_one_action_for_each_error() {
    let mut table = format!("{:25}{}\n", "", row([&"produce", &"fetch", &"start", &"heartbeat", &"others retry"]));
    for (name, error) in errors() {
        let (produce, fetch) = (after_produce(&error, PLAIN).0, after_fetch(&error));
        let (start, heartbeat) = (after_start_lookup(&error), after_heartbeat(&error, true));
        let columns = row([&produce, &fetch, &start, &heartbeat, &error.is_retriable()]);
        let _ = writeln!(table, "{name:25}{columns}");
    }
    insta::assert_snapshot!(table, @r"
                             produce               fetch         start           heartbeat  others retry
    Internal                 GiveUp                Report        Fail            Report     false
    InvalidRequest           GiveUp                Report        Fail            Report     false
    Unsupported              GiveUp                Report        Fail            Report     false
    ShuttingDown             Resend                Retry         Retry           Retry      true
    NotReady                 Resend                Retry         Retry           Retry      true
    TimedOut                 Resend                Retry         Retry           Retry      true
    LimitReached             GiveUp                Report        Fail            Report     false
    UnknownTopic             GiveUp                RefreshTopic  Fail            Report     false
    UnknownTopicId           Resend                RefreshTopic  Retry           Retry      true
    UnknownPartition         GiveUp                RefreshTopic  Fail            Report     false
    TopicExists              GiveUp                Report        Fail            Report     false
    InvalidName              GiveUp                Report        Fail            Report     false
    InvalidPartitions        GiveUp                Report        Fail            Report     false
    InvalidReplicationFactor GiveUp                Report        Fail            Report     false
    InvalidConfig            GiveUp                Report        Fail            Report     false
    NotLeader                Resend                Retry         Retry           Retry      true
    FencedLeaderEpoch        Resend                Retry         Retry           Retry      true
    UnknownLeaderEpoch       Resend                Retry         Retry           Retry      true
    CorruptBatch             Resend                Retry         Retry           Retry      true
    InvalidRecord            GiveUp                Report        Fail            Report     false
    TooLarge                 GiveUp                Report        Fail            Report     false
    InvalidTimestamp         GiveUp                Report        Fail            Report     false
    OutOfOrderSequence       HoldForFence          Report        Fail            Report     false
    FencedProducer           HoldForFence          Report        Fail            Report     false
    DiskFull                 Resend                Retry         Retry           Retry      true
    StorageFailed            GiveUp                Report        Fail            Report     false
    OffsetOutOfRange         GiveUp                LookUpLog     Fail            Report     false
    CorruptLog               GiveUp                Report        Fail            Report     false
    UnknownGroup             GiveUp                Report        Fail            Report     false
    GroupNotEmpty            GiveUp                Report        Fail            Report     false
    UnknownMember            GiveUp                Report        Fail            Rejoin     false
    FencedMember             GiveUp                Report        Fail            Rejoin     false
    NotAssigned              GiveUp                Report        Fail            Report     false
    TooManyConnections       Resend                Retry         Retry           Retry      true
    PartitionOffline         GiveUp                ReportOnce    ReportAndRetry  Report     false
    FencedInstance           GiveUp                Report        Fail            Leave      false
    NotAllowed               GiveUp                Report        Fail            Report     false
    BackupFailed             GiveUp                Report        Fail            Report     false
    MemoryFull               Resend                Retry         Retry           Retry      true
    UnknownFetchSession      GiveUp                Report        Fail            Report     false
    UnknownProducer          GiveUp                Report        Fail            Report     false
    UnexpectedEnd            GiveUp                Report        Fail            Report     false
    Unrecognised(300)        GiveUp                Report        Fail            Report     false
    (not connected)          Resend                Retry         Retry           Retry      true
    (missing feature)        GiveUp                Report        Fail            Report     false
    (not sent)               Resend                Retry         Retry           Retry      true
    (not sent in time)       Resend                Retry         Retry           Retry      true
    (connection lost)        Resend                Retry         Retry           Retry      true
    (timed out)              Resend                Retry         Retry           Retry      true
    (unexpected answer)      GiveUp                Report        Fail            Report     false
    (request too large)      GiveUp                Report        Fail            Report     false
    ");
}

#[test]
fn an_unknown_outcome_puts_a_batch_in_doubt() {
    for (error, in_doubt) in [
        (RequestError::Lost(closed()), true),
        (refusal(ErrorCode::TimedOut), true),
        (RequestError::NotSent(closed()), false),
        (RequestError::NotSentInTime { after: Duration::ZERO }, false),
        (refusal(ErrorCode::NotLeader), false),
    ] {
        assert_eq!(after_produce(&error, PLAIN), (RESEND_LATER, in_doubt), "{error:?}");
        assert!(after_produce(&error, ProduceContext { in_doubt: true, ..PLAIN }).1, "{error:?}");
    }
}

#[test]
fn a_batch_of_a_recreated_topic_is_never_in_doubt() {
    let context = ProduceContext { in_doubt: true, topic_recreated: true, ..PLAIN };
    assert_eq!(after_produce(&RequestError::Lost(closed()), context), (HoldForFence, false));
}

#[test]
fn without_idempotence_nothing_in_doubt_is_sent_again() {
    let context = ProduceContext { idempotent: false, ..PLAIN };
    check(&RequestError::Lost(closed()), context, GiveUp);
    check(&RequestError::NotSent(closed()), context, RESEND_LATER);
}

#[test]
fn an_out_of_order_sequence_depends_on_the_batches_before_it() {
    let error = refusal(ErrorCode::OutOfOrderSequence);
    check(&error, ProduceContext { is_first: false, ..PLAIN }, Resend(ResendAfter::EarlierBatches));
    check(&error, ProduceContext { behind_gap: true, ..PLAIN }, HoldForNewSequence);
    check(&error, PLAIN, HoldForFence);
    check(&error, ProduceContext { in_doubt: true, ..PLAIN }, HoldForFence);
    check(&error, ProduceContext { in_doubt: true, behind_gap: true, ..PLAIN }, HoldForFence);
    check(&error, ProduceContext { idempotent: false, ..PLAIN }, GiveUp);
}

#[test]
fn an_unexpected_end_is_definite_only_without_a_doubt() {
    let error = refusal(ErrorCode::UnexpectedEnd);
    check(&error, PLAIN, GiveUp);
    check(&error, ProduceContext { in_doubt: true, ..PLAIN }, HoldForFence);
    check(&error, ProduceContext { in_doubt: true, idempotent: false, ..PLAIN }, GiveUp);
}

#[test]
fn only_a_batch_certainly_not_in_the_log_is_split() {
    let divisible = ProduceContext { divisible: true, ..PLAIN };
    check(&refusal(ErrorCode::TooLarge), divisible, Split);
    check(&RequestError::TooLarge { bytes: 9, limit: 8 }, divisible, Split);
    check(&refusal(ErrorCode::TooLarge), ProduceContext { in_doubt: true, ..divisible }, GiveUp);
}

#[test]
fn named_records_fail_alone() {
    let named = FailureContext::Records(vec![RecordRange { first: 3, count: 2 }]);
    let error = Failure::new(ErrorCode::InvalidTimestamp, "no").with_context(named).into();
    let divisible = ProduceContext { divisible: true, ..PLAIN };
    check(&error, divisible, FailNamedRecords);
    check(&error, PLAIN, GiveUp);
    check(&error, ProduceContext { in_doubt: true, ..divisible }, GiveUp);
}

#[test]
fn a_batch_with_an_invalid_record_without_a_name_is_split_while_that_pays() {
    let divisible = ProduceContext { divisible: true, ..PLAIN };
    for code in [ErrorCode::InvalidRecord, ErrorCode::InvalidTimestamp] {
        check(&refusal(code), divisible, Split);
        check(&refusal(code), ProduceContext { may_search: false, ..divisible }, GiveUp);
        check(&refusal(code), ProduceContext { in_doubt: true, ..divisible }, GiveUp);
    }
    check(&refusal(ErrorCode::InvalidName), divisible, GiveUp);
}

#[test]
fn a_fenced_member_rejoins_once_it_has_joined() {
    for code in [ErrorCode::UnknownMember, ErrorCode::FencedMember] {
        assert_eq!(after_heartbeat(&refusal(code), true), HeartbeatAction::Rejoin);
        assert_eq!(after_heartbeat(&refusal(code), false), HeartbeatAction::Report);
    }
    assert_eq!(after_heartbeat(&refusal(ErrorCode::MemoryFull), false), HeartbeatAction::WarnAndRetry);
}
