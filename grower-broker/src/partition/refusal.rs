//! The failures of changes that a partition's log refuses. Their texts do not name the partition: it is known to the
//! caller, and a client adds it to each part of an answer.

use crate::disk_failure::code_of;
use grower_protocol::message::{ErrorCode, Failure, FailureContext};
use grower_storage::log::{AppendError, FenceError, LogFailed};

pub(super) fn of_append(error: &AppendError) -> Failure {
    let code = match error {
        AppendError::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequence,
        AppendError::FencedProducer { .. } => ErrorCode::FencedProducer,
        AppendError::UnexpectedEnd { end, .. } => {
            return Failure::new(ErrorCode::UnexpectedEnd, error).with_context(FailureContext::LogEnd(*end));
        }
        AppendError::Disk(error) => code_of(error),
        AppendError::StaleEpoch { .. } => ErrorCode::NotLeader,
        AppendError::NoOffsetsLeft { .. } => ErrorCode::LimitReached,
        AppendError::Failed(error) => code_of_failed(error),
    };
    Failure::new(code, error)
}

pub(super) fn of_fence(error: &FenceError) -> Failure {
    let code = match error {
        FenceError::Fenced { .. } => ErrorCode::FencedProducer,
        FenceError::Failed(error) => code_of_failed(error),
    };
    Failure::new(code, error)
}

fn code_of_failed(error: &LogFailed) -> ErrorCode {
    if error.files_gone { ErrorCode::PartitionOffline } else { ErrorCode::StorageFailed }
}
