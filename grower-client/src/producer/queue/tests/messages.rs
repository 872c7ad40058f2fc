//! The messages between the queue and the broker.

use super::mini_broker::MiniBroker;
use super::*;

/// A message to the broker.
#[derive(Clone, Debug)]
pub(super) enum Message {
    Batch(SendAttempt),
    Fence(FenceAttempt),
}

/// An answer that the queue has not received yet.
#[derive(Debug)]
pub(super) enum Answer {
    Batch(BatchId, AttemptResult),
    Fence(FenceAttempt, FenceResult),
}

impl Message {
    pub(super) fn handle(self, broker: &mut MiniBroker) -> Answer {
        match self {
            Self::Batch(attempt) => Answer::Batch(attempt.id, broker.append(&attempt.bytes)),
            Self::Fence(attempt) => Answer::Fence(attempt, broker.fence(attempt.producer)),
        }
    }

    pub(super) fn failed(self, error: RequestError) -> Answer {
        match self {
            Self::Batch(attempt) => Answer::Batch(attempt.id, Err(error)),
            Self::Fence(attempt) => Answer::Fence(attempt, Err(error)),
        }
    }
}

impl Answer {
    pub(super) fn lost(self) -> Self {
        match self {
            Self::Batch(id, _) => Self::Batch(id, Err(lost())),
            Self::Fence(attempt, _) => Self::Fence(attempt, Err(lost())),
        }
    }
}
