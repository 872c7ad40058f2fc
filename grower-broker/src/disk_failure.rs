//! How an error of the disk is told to clients: what may be tried again has a code that says so.

use grower_protocol::message::ErrorCode;
use grower_storage::disk::{DiskError, ErrorClass};

/// The code of an error after which a log is as it was before.
pub(crate) fn code_of(error: &DiskError) -> ErrorCode {
    match error.class() {
        ErrorClass::Full => ErrorCode::DiskFull,
        ErrorClass::Temporary => ErrorCode::NotReady,
        ErrorClass::Refused | ErrorClass::SyncFailed => ErrorCode::StorageFailed,
    }
}
