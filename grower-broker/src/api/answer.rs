//! Answers, and where they go.

use super::Permit;
use crate::partition::SendGathered;
use grower_storage::log::Slice;
use tokio_util::sync::CancellationToken;

/// One answer, or several that leave together.
pub(crate) struct Answer {
    /// Frames as they are sent.
    pub(crate) head: Vec<u8>,
    /// Slices of log files that follow, exactly as they are stored.
    pub(crate) slices: Vec<Slice>,
    /// Given back once the answer is sent.
    pub(crate) permits: Vec<Permit>,
}

/// Takes the answers of one connection, from any thread. Lives as long as anything may answer on it.
pub(crate) trait Outbox: SendGathered {
    /// Sends an answer, now or later. Does nothing once the connection is closed.
    fn send(&self, answer: Answer);

    /// Keeps an answer without slices until the gathered ones are sent. True if the caller has to send them.
    fn gather(&self, frame: Vec<u8>, permit: Permit) -> bool;

    /// Closes the connection without the answers that are queued: a panic has taken the answer to one of its requests.
    fn abort(&self);

    /// Set once an answer would reach no client, and when the broker stops: waits of requests end early.
    fn ended(&self) -> &CancellationToken;
}
