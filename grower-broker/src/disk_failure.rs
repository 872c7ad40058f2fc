//! How an error of the disk is told to clients: what may be tried again has a code that says so.

use crate::log_pace::LogPace;
use grower_protocol::message::ErrorCode;
use grower_storage::disk::{DiskError, ErrorClass};

/// All partitions share one pace: they lack the same descriptors.
static TEMPORARY: LogPace = LogPace::new();
/// And the same room.
static FULL: LogPace = LogPace::new();

/// The code of an error that keeps a durable command from being carried out for now. It will be, by itself; so if the error
/// passes, all that a client misses is the end of it.
pub(crate) fn code_of_delay(error: &DiskError) -> ErrorCode {
    match error.class() {
        ErrorClass::Full | ErrorClass::Temporary => ErrorCode::TimedOut,
        ErrorClass::Refused | ErrorClass::SyncFailed => ErrorCode::StorageFailed,
    }
}

/// The code of an error after which a log is as it was before.
pub(crate) fn code_of(error: &DiskError) -> ErrorCode {
    match error.class() {
        ErrorClass::Full => {
            if let Some(left_out) = FULL.admit() {
                tracing::warn!(%error, left_out, "a request is refused for want of room, and its client sends it again");
            }
            ErrorCode::DiskFull
        }
        ErrorClass::Temporary => {
            if let Some(left_out) = TEMPORARY.admit() {
                tracing::warn!(%error, left_out, "a request is refused for now, and its client sends it again");
            }
            ErrorCode::NotReady
        }
        ErrorClass::Refused | ErrorClass::SyncFailed => ErrorCode::StorageFailed,
    }
}
