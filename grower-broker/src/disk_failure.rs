//! Error codes that clients get for errors of the disk: retriable where a retry may succeed.

use crate::log_pace::LogPace;
use grower_protocol::message::ErrorCode;
use grower_storage::disk::{DiskError, ErrorClass};

/// One log pace for all partitions: they lack the same file descriptors.
static TEMPORARY: LogPace = LogPace::new();
/// The same for disk space.
static FULL: LogPace = LogPace::new();

/// The code of an error that delays the effect of a durable command. The broker retries by itself, so a passing error
/// costs the client only the answer.
pub(crate) fn code_of_delay(error: &DiskError) -> ErrorCode {
    match error.class() {
        ErrorClass::Full | ErrorClass::Temporary => ErrorCode::TimedOut,
        ErrorClass::Refused | ErrorClass::SyncFailed => ErrorCode::StorageFailed,
    }
}

/// The code of an error that left the log as it was.
pub(crate) fn code_of(error: &DiskError) -> ErrorCode {
    match error.class() {
        ErrorClass::Full => {
            if let Some(left_out) = FULL.admit() {
                tracing::warn!(%error, left_out, "the disk is full: a request was refused, its client retries");
            }
            ErrorCode::DiskFull
        }
        ErrorClass::Temporary => {
            if let Some(left_out) = TEMPORARY.admit() {
                tracing::warn!(%error, left_out, "a request was refused, its client retries");
            }
            ErrorCode::NotReady
        }
        ErrorClass::Refused | ErrorClass::SyncFailed => ErrorCode::StorageFailed,
    }
}
